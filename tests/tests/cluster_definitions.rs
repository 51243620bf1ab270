//! The definitions of our kinds in a real API server: what it accepts, and what `kubectl` shows.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

#[path = "cluster_definitions/columns.rs"]
mod columns;
#[path = "cluster_definitions/conditions.rs"]
mod conditions;
#[path = "cluster_definitions/corpus.rs"]
mod corpus;
#[path = "cluster_definitions/samples.rs"]
mod samples;
#[path = "cluster_definitions/server.rs"]
mod server;
#[path = "cluster_definitions/subresource.rs"]
mod subresource;
#[path = "cluster_definitions/verdicts.rs"]
mod verdicts;
