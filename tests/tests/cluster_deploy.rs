//! The installation: what `deploy/` holds, what `weft deploy peer` and `weft delete peer` say and leave,
//! and what the operator makes of an Instance, with its own account's token.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy knows only functions marked as tests"
)]

#[path = "cluster_deploy"]
mod deploy {
    mod base;
    mod commands;
    pub(crate) mod common;
    mod operator;
    mod removal;
}
