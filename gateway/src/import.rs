//! The source: listeners of imports, and what happens to a client's connection.

pub mod balance;
pub mod connection;
pub mod listener;
