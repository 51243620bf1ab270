//! Carries the traffic between peers and enforces the fabric's policies.
//!
//! ```text
//! client ──▶ import ──▶ policy ──▶ pool ══ weft/1 over TLS 1.3 ══▶ policy ──▶ guard ──▶ service
//!           (listener)  (source)  (tunnel)                      (destination) rails     (export)
//! ```
//!
//! Everything goes by one immutable [`Snapshot`](fabric::snapshot::Snapshot), which is swapped
//! whole; without one, nothing is let through. A changed snapshot judges live connections anew.

mod admin;
mod budget;
mod compat;
pub mod config;
mod copy;
pub mod decision;
mod dial;
mod export;
pub mod gateway;
pub mod health;
mod heartbeat;
mod import;
pub mod judge;
mod limits;
mod link;
mod listen;
mod live;
mod metrics;
mod pool;
mod reach;
mod relay;
mod resolve;
#[cfg(test)]
mod simulation;
mod state;
mod tls;
mod told;
mod trace;
pub mod tunnel;
mod world;

pub use config::{
    Config, DecisionLog, IdentityFiles, OtlpEndpoint, OtlpEndpointError, StatusProvider, Timeouts,
    TraceExport,
};
pub use gateway::{Gateway, ImportListener, Running, Snapshots, StartError};
