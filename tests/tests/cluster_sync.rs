//! `weft reconcile` and a real API server: what is applied, at which cost, and what failures do.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "cluster_sync"]
mod sync {
    mod change;
    mod control;
    mod cost;
    mod failure;
    mod stage;
}
