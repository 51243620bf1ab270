//! The tunnel protocol `weft/1`: many connections over one that is mutually authenticated.

pub mod connection;
pub mod frame;
pub mod outbox;
/// Why tunnels are refused and reset.
pub mod reason;
pub mod stream;

pub use connection::{Accept, Connection, ConnectionFacts};
pub use reason::Reason;
pub use stream::{Broken, Tunnel};
