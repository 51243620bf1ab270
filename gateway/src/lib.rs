//! Carries the traffic between peers and enforces the fabric's policies.
//!
//! ```text
//! client ──▶ import ──▶ policy ──▶ pool ══ weft/1 over TLS 1.3 ══▶ policy ──▶ guard ──▶ service
//!           (listener)  (source)  (tunnel)                      (destination) rails     (export)
//! ```
//!
//! Everything goes by one immutable [`Snapshot`](fabric::snapshot::Snapshot), which is swapped
//! whole; without one, nothing is let through. A changed snapshot judges live connections anew.

pub mod config;
pub mod gateway;
pub mod tunnel;

pub use config::{Config, IdentityFiles, StatusProvider, Timeouts};
pub use gateway::{Gateway, ImportListener, Running, Snapshots, StartError};
