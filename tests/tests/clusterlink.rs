//! ClusterLink's own end-to-end scenarios, by the names that they have there, on real clusters.
//!
//! Each cluster has a genuine API server; `weft reconcile` and `weft gateway` run as Pods of
//! Deployments with their own service accounts' tokens and roles, and all traffic is real, from a
//! Pod's network through two gateways and a node port to a Pod of the other cluster.
//!
//! One thing differs from ClusterLink: there, any certificate of the fabric's CA is let in; here the
//! exporter has to have a Peer of the importer's name, if only one without gateways.
//!
//! Played, since there is neither a kubelet nor a cloud: what `weft_tests::node` lists. A client's
//! Pod has no program of its own: the test opens its connections inside the Pod's network namespace.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "clusterlink"]
mod scenarios {
    mod common;
    mod deployed;
    mod exports;
    mod imports;
    mod peers;
    mod policies;
}
