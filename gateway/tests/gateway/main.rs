//! Gateways over real sockets and real TLS, all in one process.

mod carry;
#[path = "../common/mod.rs"]
mod common;
mod world;
