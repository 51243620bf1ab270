//! ClusterLink's own end-to-end scenarios that need no Kubernetes object, over real processes.
//!
//! Each peer is a `weft run`, the fabric a Git repository, and what their tests do with `kubectl` is
//! a commit here. The others are in `clusterlink.rs`, on clusters. Beside them is what they don't try:
//! a relay that keeps the client's identity, and a peer that nobody can connect to.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "scenarios"]
mod scenarios {
    mod balance;
    mod common;
    mod connect;
    mod outbound;
    mod peers;
    mod policies;
}
