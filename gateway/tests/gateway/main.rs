//! Gateways over real sockets and real TLS, all in one process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures,
    reason = "a test fails by panicking, and its futures live once"
)]

mod attributes;
mod carry;
mod change;
mod clusterlink;
#[path = "../common/mod.rs"]
mod common;
mod expiry;
mod health;
mod ipv6;
mod lifecycle;
mod limits;
mod observed;
mod relay;
mod renewed;
mod sources;
mod traced;
mod trust;
mod wire;
mod world;
