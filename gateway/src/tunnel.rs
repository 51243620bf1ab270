//! The tunnel protocol `weft/1`: many connections over one that is mutually authenticated.

pub mod connection;
pub mod frame;
pub mod link;
mod outbox;
pub mod parser;
/// Why tunnels are refused and reset.
pub mod reason;
pub mod stream;
mod trace;

pub use connection::{Accept, Connection, ConnectionFacts};
pub use link::Link;
pub use outbox::BATCH as MAX_TURN;
pub use reason::Reason;
pub use stream::{Broken, PassedOn, Sink, Tunnel};
