//! The harness of the end-to-end tests: real processes, real Git, real TLS, real sockets.
//!
//! Each test stands by itself: it gets loopback addresses that no other test has
//! ([`Loopback`](network::Loopback)), folders of its own, and processes that end with it. When a test fails, what
//! its processes said is printed.
//!
//! Everything blocks, so that a test reads from top to bottom; what waits has a deadline.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::print_stderr,
    reason = "code that only tests call fails by panicking, and talks to whoever runs the tests"
)]

pub mod api_proxy;
pub mod api_server;
pub mod binary;
pub mod certificates;
pub mod cluster;
pub mod clusterlink;
pub mod fabric;
pub mod forge;
pub mod generator;
pub mod git_server;
pub mod impostor;
pub mod installation;
pub mod namespace;
pub mod network;
pub mod node;
pub mod peer;
pub mod picture;
pub mod process;
pub mod reference;
pub mod repository;
pub mod role;
pub mod services;
pub mod wait;
pub mod workflow;
pub mod yaml;
