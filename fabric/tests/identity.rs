//! Certificates of every kind, read and judged.
#![expect(
    clippy::unwrap_used,
    reason = "what a test lays down is right or it must fail"
)]

#[path = "identity/authorities.rs"]
mod authorities;
#[path = "identity/handshake.rs"]
mod handshake;
#[path = "identity/issuer.rs"]
mod issuer;
#[path = "identity/peers.rs"]
mod peers;
