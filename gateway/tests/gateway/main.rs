//! Gateways over real sockets and real TLS, all in one process.

#[path = "../common/mod.rs"]
mod common;
mod carry;
mod world;
