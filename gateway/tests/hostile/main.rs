//! Hostile and unlucky conditions, each with somebody beside it whose traffic must go on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::large_futures,
    reason = "a test fails by panicking, measures for people, and its futures live once"
)]

mod arbitrary;
#[path = "../common/mod.rs"]
mod common;
mod drive;
mod flood;
mod frames;
mod handshake;
mod identity;
mod intruder;
mod path;
mod proxy;
mod rules;
mod service;
mod siege;
mod slow;
