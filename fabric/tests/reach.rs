//! Who can reach what, and what a change opens and closes.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[allow(dead_code, reason = "other tests need the rest")]
mod common;
#[allow(dead_code, reason = "other tests need the rest")]
#[path = "policy/drawn.rs"]
mod drawn;
#[path = "reach/exact.rs"]
mod exact;
#[allow(dead_code, reason = "other tests need the rest")]
#[path = "policy/oracle.rs"]
mod oracle;
#[path = "reach/selectors.rs"]
mod selectors;
#[path = "reach/told.rs"]
mod told;
#[allow(dead_code, reason = "other tests need the rest")]
#[path = "policy/world.rs"]
mod world;
