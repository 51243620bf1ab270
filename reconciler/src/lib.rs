//! Brings a Git commit into force: fetch, build, plan, apply, report.
//!
//! ```text
//!  remote ──fetch──▶ git::Repository ──tree──▶ fabric::build ──plan──▶ store ──▶ snapshots
//!                    (one bare store,          (pure)                  (last good state,
//!                     no checkout)                                      survives restarts)
//! ```
//!
//! The gateway is not known here: it reads the snapshots that the store hands out.

pub mod cluster;
pub mod controller;
pub mod git;
pub mod kubernetes;
mod lock;
pub mod metrics;
pub mod operator;
pub mod reconcile;
pub mod status;
pub mod store;
pub mod sync;
