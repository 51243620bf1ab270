//! The gateway's side of a cluster: snapshots out of watches, who connects from which address, what
//! stands behind a Service, and the report that a gateway writes of itself.
