//! The reconciler against real repositories, real servers and a real disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in its helpers"
)]

mod cache;
mod http;
mod local;
mod origin;
mod reconcile;
mod server;
mod ssh;
mod store;
mod tree;
