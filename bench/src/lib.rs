//! What Weft's gateway costs beside others.
//!
//! Pairs of gateways run as processes on loopback, each between the same clients and the same
//! service; what is measured is the CPU time and the memory of the pair, and what the client sees.

pub mod chapter;
pub mod cipher;
pub mod descriptors;
pub mod load;
pub mod machine;
pub mod pair;
pub mod ports;
pub mod process;
pub mod results;
pub mod rounds;
pub mod service;
pub mod stage;
pub mod statistics;
pub mod swap;
pub mod table;
pub mod usage;
