//! Decisions: against a naive oracle, in ClusterLink's own scenarios, and without allocation.
#![expect(
    clippy::unwrap_used,
    reason = "what a test lays down is right or it must fail"
)]

#[path = "policy/allocation.rs"]
mod allocation;
#[path = "policy/decide.rs"]
mod decide;
#[path = "policy/drawn.rs"]
mod drawn;
#[path = "policy/effects.rs"]
mod effects;
#[path = "policy/expiry.rs"]
mod expiry;
#[path = "policy/oracle.rs"]
mod oracle;
#[path = "policy/possible.rs"]
mod possible;
#[path = "policy/scenarios.rs"]
mod scenarios;
#[path = "policy/unknown_client.rs"]
mod unknown_client;
#[path = "policy/world.rs"]
mod world;
