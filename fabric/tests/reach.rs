//! Who can reach what, and what a change opens and closes.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;
#[path = "reach/selectors.rs"]
mod selectors;
#[path = "reach/told.rs"]
mod told;
