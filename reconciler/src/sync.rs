//! FabricSyncs: which repository a cluster keeps to, and how that goes.
