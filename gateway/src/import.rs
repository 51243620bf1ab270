//! The source: listeners of imports, and what happens to a client's connection.

pub(crate) mod balance;
pub(crate) mod connection;
pub(crate) mod listener;
pub(crate) mod source;
