//! Gateways over real sockets and real TLS, all in one process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures,
    reason = "a test fails by panicking, and its futures live once"
)]

mod carry;
mod change;
mod clusterlink;
#[path = "../common/mod.rs"]
mod common;
mod lifecycle;
mod sources;
mod trust;
mod wire;
mod world;
