//! A cluster's API server: the connection, what is watched there, and what is written.
//!
//! ```text
//!  watches ──▶ Cache ──▶ decisions (pure, in `fabric`) ──▶ Writer ──▶ server-side apply
//! ```
//!
//! Types of the client library stay inside this module and those that build on it; what comes out of
//! a cache is a value of `fabric`'s or one of a few fields.

pub(crate) mod brake;
pub mod cache;
pub mod client;
pub mod count;
pub mod election;
pub mod event;
pub mod lease;
pub mod object;
pub mod objects;
pub mod resource;
pub mod write;
