//! The trace that a connection belongs to, as gateways tell each other of it.

/// The trace that a connection belongs to, as W3C's Trace Context has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Names the trace.
    pub trace: [u8; 16],
    /// Names the span that the peer's own belongs below.
    pub span: [u8; 8],
    /// Bit 0: the trace is recorded.
    pub flags: u8,
}
