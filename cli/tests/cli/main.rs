//! The real binary, in temporary directories.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where its world isn't as it should be"
)]

mod create;
mod explain;
mod fmt;
mod formats;
mod help;
mod init;
mod plan;
mod pull_request;
mod run;
mod sandbox;
mod template;
mod validate;
mod who_can;
