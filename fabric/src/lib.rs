//! The pure model of a Weft fabric: text and values in, values out.
//!
//! No clock, no disk, no network and no randomness: whoever calls passes bytes and `now`.
//!
//! ```text
//!  Tree ──▶ document ──▶ schema, api ──▶ fabric ──▶ plan ──▶ snapshot ──▶ policy
//! (bytes)   (located)    (typed)        (linked,   (objects  (compiled    (decide)
//!                                        checked)   of a      for one
//!                                                   peer)     gateway)
//! ```
//!
//! `weft validate`, `weft plan`, `weft explain`, the reconciler, the gateway and the tests all run
//! these same functions over the same bytes, so that a check can't disagree with what is enforced.

pub mod api;
pub mod attributes;
pub mod cluster;
pub mod crd;
pub mod diagnostic;
pub mod digest;
pub mod document;
mod effort;
pub mod fabric;
mod findings;
pub mod format;
pub mod gate;
pub mod guard;
pub mod host;
pub mod identity;
pub mod invariant;
pub mod judge;
pub mod mark;
pub mod name;
pub mod origin;
pub mod plan;
pub mod policy;
pub mod port;
pub mod reach;
pub mod report;
pub mod resource;
pub mod schema;
pub mod secret;
pub mod snapshot;
pub mod tree;
