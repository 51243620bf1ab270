//! The frames of `weft/1`: bytes to values and back, without any input or output of its own.
//!
//! `docs/adr/0001-weft-tunnel-protocol.md` says what they mean.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fabric::attributes::{Client, Labels};
use fabric::name::{ObjectName, PeerName};

use super::reason::Reason;
pub use super::trace::TraceContext;

/// The length of a frame's header.
pub const HEADER_LENGTH: usize = 8;

/// The most bytes of one DATA: with the header 64 KiB, four full TLS records.
pub const MAX_DATA: usize = 64 * 1024 - HEADER_LENGTH;

/// The longest payload of every other frame: a pod's labels fit many times over.
pub const MAX_CONTROL: usize = 16 * 1024;

/// The longest text beside a reason: a sentence.
pub const MAX_TEXT: usize = 256;

/// The most labels of a client: far more than any workload carries.
pub const MAX_LABELS: usize = 256;

/// The most peers that may have relayed a connection: more hops than that are a mistake.
pub const MAX_VIA: usize = 8;

/// The capability to take connections that other peers relay.
pub const RELAYS: u64 = 1 << 2;

const MAGIC: [u8; 4] = *b"weft";
const END: u8 = 0x01;
const CLIENT_KNOWN: u8 = 0x01;
/// The bytes of a trace: two names and the flags.
const TRACE_LENGTH: u8 = 25;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first frame of each side.
    Hello(Hello),
    /// Opens a tunnel.
    Open(u32, Box<Open>),
    /// The tunnel reaches the service.
    Accept(u32),
    /// The tunnel isn't opened.
    Refuse(u32, Reason, String),
    /// Bytes of a tunnel.
    Data {
        /// The tunnel.
        tunnel: u32,
        /// The bytes; empty only together with `end`.
        payload: Bytes,
        /// Whether the sender's direction ends here.
        end: bool,
    },
    /// So many more bytes may be sent.
    Window(u32, u32),
    /// The tunnel is broken off.
    Reset(u32, Reason, String),
    /// Asks for a PONG.
    Ping(Beat),
    /// Answers a PING with its token.
    Pong(Beat),
    /// The sender takes no more OPEN on this connection.
    Goaway(Reason, String),
    /// A frame that may be skipped.
    Skipped,
}

/// What each side says of itself at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The minor version; for logs, since features go by capabilities.
    pub minor: u16,
    /// One bit for each feature that the sender has.
    pub capabilities: u64,
    /// The credit with which each tunnel towards the sender starts.
    pub window: u32,
    /// How many tunnels the receiver may have open towards the sender.
    pub tunnels: u32,
}

/// What a tunnel is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Names the connection in the logs of both sides.
    pub request: [u8; 16],
    /// The service.
    pub export: ObjectName,
    /// The client, where it is known.
    pub client: Option<Arc<Client>>,
    /// The peers that relayed the connection so far.
    pub via: Vec<PeerName>,
    /// The trace that the connection belongs to, where there is one.
    pub trace: Option<TraceContext>,
}

/// A heartbeat or its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// What tells answers apart.
    pub token: u64,
    /// The revision that the sender has in force; empty without one.
    pub revision: String,
}

/// Why bytes are no frame, or a value doesn't fit in one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A type that isn't known and mustn't be skipped.
    #[error("frame of unknown type {0:#04x}")]
    UnknownType(u8),
    /// A payload that is longer than its type allows.
    #[error("frame of type {0:#04x} with {1} bytes, which is too long")]
    TooLong(u8, usize),
    /// A payload that ends before its last field, or a field that isn't what it should be.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A tunnel where there is none, or none where there must be one.
    #[error("{0} with tunnel {1}")]
    Tunnel(&'static str, u32),
    /// A value that doesn't fit in a frame.
    #[error("{0} doesn't fit in a frame")]
    DoesNotFit(&'static str),
}

/// A frame's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) length: usize,
    pub(super) tunnel: u32,
}

// === impl Header ===

impl Header {
    pub(super) fn read(bytes: [u8; HEADER_LENGTH]) -> Result<Self, FrameError> {
        let [kind, flags, high, low, t0, t1, t2, t3] = bytes;
        let header = Self {
            kind,
            flags,
            length: usize::from(u16::from_be_bytes([high, low])),
            tunnel: u32::from_be_bytes([t0, t1, t2, t3]),
        };
        let limit = if header.is_data() {
            MAX_DATA
        } else {
            MAX_CONTROL
        };
        if header.length > limit {
            return Err(FrameError::TooLong(kind, header.length));
        }
        Ok(header)
    }

    pub(super) const fn is_data(self) -> bool {
        self.kind == kind::DATA
    }

    pub(super) const fn is_end(self) -> bool {
        self.flags & END != 0
    }
}

// === impl Frame ===

impl Frame {
    /// Takes the next frame from the front of the buffer, when it is there as a whole.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some(header) = buffer.first_chunk() else {
            return Ok(None);
        };
        let Header {
            kind,
            flags,
            length,
            tunnel,
        } = Header::read(*header)?;
        if buffer.len() < HEADER_LENGTH + length {
            return Ok(None);
        }
        buffer.advance(HEADER_LENGTH);
        let payload = buffer.split_to(length).freeze();
        Self::read(kind, flags, tunnel, payload).map(Some)
    }

    pub(super) fn read(
        kind: u8,
        flags: u8,
        tunnel: u32,
        payload: Bytes,
    ) -> Result<Self, FrameError> {
        let name = match kind {
            kind::HELLO => "HELLO",
            kind::OPEN => "OPEN",
            kind::ACCEPT => "ACCEPT",
            kind::REFUSE => "REFUSE",
            kind::DATA => "DATA",
            kind::WINDOW => "WINDOW",
            kind::RESET => "RESET",
            kind::PING => "PING",
            kind::PONG => "PONG",
            kind::GOAWAY => "GOAWAY",
            0x80.. => return Ok(Self::Skipped),
            other => return Err(FrameError::UnknownType(other)),
        };
        let of_connection = matches!(kind, kind::HELLO | kind::PING | kind::PONG | kind::GOAWAY);
        if of_connection != (tunnel == 0) {
            return Err(FrameError::Tunnel(name, tunnel));
        }
        if kind == kind::DATA {
            let end = flags & END != 0;
            if payload.is_empty() && !end {
                return Err(FrameError::Malformed(name));
            }
            return Ok(Self::Data {
                tunnel,
                payload,
                end,
            });
        }
        let mut fields = Fields(&payload);
        let frame = match kind {
            kind::HELLO => fields.hello().map(Self::Hello),
            kind::OPEN => fields.open().map(|open| Self::Open(tunnel, Box::new(open))),
            kind::ACCEPT => Some(Self::Accept(tunnel)),
            kind::REFUSE => fields
                .reason()
                .map(|(reason, text)| Self::Refuse(tunnel, reason, text)),
            kind::WINDOW => fields
                .u32()
                .filter(|credit| *credit > 0)
                .map(|credit| Self::Window(tunnel, credit)),
            kind::RESET => fields
                .reason()
                .map(|(reason, text)| Self::Reset(tunnel, reason, text)),
            kind::PING => fields.beat().map(Self::Ping),
            kind::PONG => fields.beat().map(Self::Pong),
            _ => fields
                .reason()
                .map(|(reason, text)| Self::Goaway(reason, text)),
        };
        frame.ok_or(FrameError::Malformed(name))
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        let mut out = BytesMut::with_capacity(64);
        self.put(&mut out)?;
        Ok(out.freeze())
    }

    /// Appends the frame's bytes; what is behind the old end is worth nothing after an error.
    pub fn put(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        let start = out.len();
        out.put_bytes(0, HEADER_LENGTH);
        let (kind, flags, tunnel) = self.write(out)?;
        let limit = if kind == kind::DATA {
            MAX_DATA
        } else {
            MAX_CONTROL
        };
        let length = out.len() - start - HEADER_LENGTH;
        if length > limit {
            return Err(FrameError::DoesNotFit("payload"));
        }
        let room = out.get_mut(start..start + HEADER_LENGTH);
        room.ok_or(FrameError::DoesNotFit("header"))?
            .copy_from_slice(&header(kind, flags, length, tunnel));
        Ok(())
    }

    fn write(&self, out: &mut BytesMut) -> Result<(u8, u8, u32), FrameError> {
        Ok(match self {
            Self::Hello(hello) => {
                out.put_slice(&MAGIC);
                out.put_u16(hello.minor);
                out.put_u64(hello.capabilities);
                out.put_u32(hello.window);
                out.put_u32(hello.tunnels);
                (kind::HELLO, 0, 0)
            }
            Self::Open(tunnel, open) => {
                open.write(out)?;
                (kind::OPEN, 0, *tunnel)
            }
            Self::Accept(tunnel) => (kind::ACCEPT, 0, *tunnel),
            Self::Refuse(tunnel, reason, text) => {
                put_reason(out, *reason, text);
                (kind::REFUSE, 0, *tunnel)
            }
            Self::Data {
                tunnel,
                payload,
                end,
            } => {
                out.put_slice(payload);
                (kind::DATA, u8::from(*end) * END, *tunnel)
            }
            Self::Window(tunnel, credit) => {
                out.put_u32(*credit);
                (kind::WINDOW, 0, *tunnel)
            }
            Self::Reset(tunnel, reason, text) => {
                put_reason(out, *reason, text);
                (kind::RESET, 0, *tunnel)
            }
            Self::Ping(beat) => {
                beat.write(out)?;
                (kind::PING, 0, 0)
            }
            Self::Pong(beat) => {
                beat.write(out)?;
                (kind::PONG, 0, 0)
            }
            Self::Goaway(reason, text) => {
                put_reason(out, *reason, text);
                (kind::GOAWAY, 0, 0)
            }
            Self::Skipped => (0x80, 0, 0),
        })
    }
}

/// The header of a DATA with so many bytes, which [`MAX_DATA`] bounds.
#[must_use]
pub fn data_header(tunnel: u32, length: usize, end: bool) -> [u8; HEADER_LENGTH] {
    header(kind::DATA, u8::from(end) * END, length, tunnel)
}

mod kind {
    pub(super) const HELLO: u8 = 0x01;
    pub(super) const OPEN: u8 = 0x02;
    pub(super) const ACCEPT: u8 = 0x03;
    pub(super) const REFUSE: u8 = 0x04;
    pub(super) const DATA: u8 = 0x05;
    pub(super) const WINDOW: u8 = 0x06;
    pub(super) const RESET: u8 = 0x07;
    pub(super) const PING: u8 = 0x08;
    pub(super) const PONG: u8 = 0x09;
    pub(super) const GOAWAY: u8 = 0x0a;
}

/// A header; no payload is longer than two bytes can say.
fn header(kind: u8, flags: u8, length: usize, tunnel: u32) -> [u8; HEADER_LENGTH] {
    let [high, low] = (length as u16).to_be_bytes();
    let [t0, t1, t2, t3] = tunnel.to_be_bytes();
    [kind, flags, high, low, t0, t1, t2, t3]
}

fn put_reason(out: &mut BytesMut, reason: Reason, text: &str) {
    out.put_u16(reason.code());
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    // At most MAX_TEXT, which two bytes hold.
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

fn put_short(out: &mut BytesMut, text: &str, what: &'static str) -> Result<(), FrameError> {
    let length = u8::try_from(text.len()).map_err(|_| FrameError::DoesNotFit(what))?;
    out.put_u8(length);
    out.put_slice(text.as_bytes());
    Ok(())
}

fn put_long(out: &mut BytesMut, text: &str, what: &'static str) -> Result<(), FrameError> {
    let length = u16::try_from(text.len()).map_err(|_| FrameError::DoesNotFit(what))?;
    out.put_u16(length);
    out.put_slice(text.as_bytes());
    Ok(())
}

// === impl Open ===

impl Open {
    fn write(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        out.put_u8(if self.client.is_some() {
            CLIENT_KNOWN
        } else {
            0
        });
        out.put_slice(&self.request);
        put_short(out, self.export.namespace(), "export's namespace")?;
        put_short(out, self.export.name(), "export's name")?;
        if let Some(client) = &self.client {
            put_short(out, &client.namespace, "client's namespace")?;
            put_short(out, &client.service_account, "client's service account")?;
            if client.labels.len() > MAX_LABELS {
                return Err(FrameError::DoesNotFit("client's labels"));
            }
            out.put_u16(client.labels.len() as u16);
            for (key, value) in &client.labels {
                put_long(out, key, "client's label")?;
                put_long(out, value, "client's label")?;
            }
        }
        if self.via.len() > MAX_VIA {
            return Err(FrameError::DoesNotFit("via"));
        }
        out.put_u8(self.via.len() as u8);
        for peer in &self.via {
            put_short(out, peer.as_str(), "via")?;
        }
        // A later field; where there is no trace, what an older gateway says.
        if let Some(trace) = &self.trace {
            out.put_u8(TRACE_LENGTH);
            out.put_slice(&trace.trace);
            out.put_slice(&trace.span);
            out.put_u8(trace.flags);
        }
        Ok(())
    }
}

// === impl Beat ===

impl Beat {
    fn write(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        out.put_u64(self.token);
        put_short(out, &self.revision, "revision")
    }
}

/// What is left to read of a payload.
struct Fields<'a>(&'a [u8]);

// === impl Fields ===

impl Fields<'_> {
    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn short(&mut self) -> Option<&str> {
        let length = self.u8()?;
        std::str::from_utf8(self.take(length.into())?).ok()
    }

    fn long(&mut self) -> Option<&str> {
        let length = self.u16()?;
        std::str::from_utf8(self.take(length.into())?).ok()
    }

    fn hello(&mut self) -> Option<Hello> {
        if self.array()? != MAGIC {
            return None;
        }
        Some(Hello {
            minor: self.u16()?,
            capabilities: self.u64()?,
            window: self.u32()?,
            tunnels: self.u32()?,
        })
    }

    fn open(&mut self) -> Option<Open> {
        let flags = self.u8()?;
        let request = self.array()?;
        let namespace = self.short()?.to_owned();
        let export = ObjectName::new(&namespace, self.short()?).ok()?;
        let client = if flags & CLIENT_KNOWN == 0 {
            None
        } else {
            Some(Arc::new(self.client()?))
        };
        let hops = usize::from(self.u8()?);
        if hops > MAX_VIA {
            return None;
        }
        let via = (0..hops)
            .map(|_| self.short()?.parse().ok())
            .collect::<Option<_>>()?;
        Some(Open {
            request,
            export,
            client,
            via,
            trace: self.trace(),
        })
    }

    /// A later field: absent, or something else, it is none.
    fn trace(&mut self) -> Option<TraceContext> {
        if self.u8()? != TRACE_LENGTH {
            return None;
        }
        let context = TraceContext {
            trace: self.array()?,
            span: self.array()?,
            flags: self.u8()?,
        };
        // Nothing but zeros names nothing.
        let is_valid = context.trace != [0; 16] && context.span != [0; 8];
        is_valid.then_some(context)
    }

    fn client(&mut self) -> Option<Client> {
        let namespace = self.short()?.to_owned();
        let service_account = self.short()?.to_owned();
        let count = usize::from(self.u16()?);
        if count > MAX_LABELS {
            return None;
        }
        let mut labels = Labels::new();
        for _ in 0..count {
            let key = self.long()?.to_owned();
            let value = self.long()?.to_owned();
            // Twice the same key would mean one thing here and another elsewhere.
            if labels.insert(key, value).is_some() {
                return None;
            }
        }
        Some(Client {
            namespace,
            service_account,
            labels,
        })
    }

    fn reason(&mut self) -> Option<(Reason, String)> {
        let reason = Reason::from_code(self.u16()?);
        let text = self.long().filter(|text| text.len() <= MAX_TEXT)?;
        Some((reason, text.to_owned()))
    }

    fn beat(&mut self) -> Option<Beat> {
        Some(Beat {
            token: self.u64()?,
            revision: self.short()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = String> {
        "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?"
    }

    fn client() -> impl Strategy<Value = Client> {
        (
            name(),
            name(),
            proptest::collection::btree_map("[a-z./-]{1,40}", "\\PC{0,20}", 0..8),
        )
            .prop_map(|(namespace, service_account, labels)| Client {
                namespace,
                service_account,
                labels,
            })
    }

    fn open() -> impl Strategy<Value = Open> {
        let via = proptest::collection::vec(name(), 0..=MAX_VIA);
        let client = proptest::option::of(client().prop_map(Arc::new));
        let trace = (1..=u128::MAX, 1..=u64::MAX, any::<u8>());
        let trace = trace.prop_map(|(trace, span, flags)| TraceContext {
            trace: trace.to_be_bytes(),
            span: span.to_be_bytes(),
            flags,
        });
        let trace = proptest::option::of(trace);
        (any::<[u8; 16]>(), name(), name(), client, via, trace).prop_map(
            |(request, namespace, export, client, via, trace)| Open {
                trace,
                request,
                export: ObjectName::new(&namespace, &export).unwrap(),
                client,
                via: via.iter().map(|peer| peer.parse().unwrap()).collect(),
            },
        )
    }

    fn beat() -> impl Strategy<Value = Beat> {
        (any::<u64>(), "[0-9a-f]{0,64}").prop_map(|(token, revision)| Beat { token, revision })
    }

    fn reason() -> impl Strategy<Value = (Reason, String)> {
        (any::<u16>(), "\\PC{0,60}").prop_map(|(code, text)| (Reason::from_code(code), text))
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let tunnel = 1..=u32::MAX;
        prop_oneof![
            (any::<u16>(), any::<u64>(), any::<u32>(), any::<u32>()).prop_map(
                |(minor, capabilities, window, tunnels)| Frame::Hello(Hello {
                    minor,
                    capabilities,
                    window,
                    tunnels
                })
            ),
            (tunnel.clone(), open()).prop_map(|(tunnel, open)| Frame::Open(tunnel, Box::new(open))),
            tunnel.clone().prop_map(Frame::Accept),
            (tunnel.clone(), reason()).prop_map(|(t, (r, text))| Frame::Refuse(t, r, text)),
            (tunnel.clone(), reason()).prop_map(|(t, (r, text))| Frame::Reset(t, r, text)),
            (
                tunnel.clone(),
                proptest::collection::vec(any::<u8>(), 1..2000),
                any::<bool>()
            )
                .prop_map(|(tunnel, payload, end)| Frame::Data {
                    tunnel,
                    payload: payload.into(),
                    end
                }),
            (tunnel, 1..=u32::MAX).prop_map(|(tunnel, credit)| Frame::Window(tunnel, credit)),
            beat().prop_map(Frame::Ping),
            beat().prop_map(Frame::Pong),
            reason().prop_map(|(reason, text)| Frame::Goaway(reason, text)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            frames in proptest::collection::vec(frame(), 1..6),
            step in 1_usize..500,
        ) {
            let mut bytes = Vec::new();
            for frame in &frames {
                bytes.extend_from_slice(&frame.encode().unwrap());
            }
            let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
            // In pieces, as a socket would give them.
            for piece in bytes.chunks(step) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                    read.push(frame);
                }
            }
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(frame)) = Frame::decode(&mut buffer) {
                if frame != Frame::Skipped {
                    prop_assert!(frame.encode().is_ok());
                }
            }
        }

        #[test]
        fn a_payload_cut_short_or_altered_never_panics(
            frame in frame(), cut in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut bytes = frame.encode().unwrap().to_vec();
            let at = cut.index(bytes.len());
            bytes[at] = byte;
            let _ = Frame::decode(&mut BytesMut::from(&bytes[..]));
        }
    }

    fn raw(kind: u8, tunnel: u32, payload: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::from(&header(kind, 0, payload.len(), tunnel)[..]);
        bytes.put_slice(payload);
        bytes
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        for (bytes, error) in [
            (raw(0x7f, 1, b""), FrameError::UnknownType(0x7f)),
            (raw(kind::DATA, 1, b""), FrameError::Malformed("DATA")),
            (raw(kind::DATA, 0, b"x"), FrameError::Tunnel("DATA", 0)),
            (raw(kind::PING, 3, &[0; 9]), FrameError::Tunnel("PING", 3)),
            (
                raw(kind::WINDOW, 1, &[0; 4]),
                FrameError::Malformed("WINDOW"),
            ),
            (
                raw(kind::HELLO, 0, &[0; 22]),
                FrameError::Malformed("HELLO"),
            ),
            (raw(kind::OPEN, 1, &[1; 30]), FrameError::Malformed("OPEN")),
        ] {
            let mut buffer = bytes.clone();
            assert_eq!(Frame::decode(&mut buffer), Err(error), "{bytes:?}");
        }
        let mut long = BytesMut::from(&[kind::OPEN, 0, 0x40, 0x01, 0, 0, 0, 1][..]);
        let error = Frame::decode(&mut long).unwrap_err();
        assert_eq!(error, FrameError::TooLong(kind::OPEN, 0x4001));
    }

    #[test]
    fn what_a_newer_gateway_adds_is_skipped() {
        let mut buffer = raw(0x80, 9, b"anything");
        assert_eq!(Frame::decode(&mut buffer), Ok(Some(Frame::Skipped)));
        let mut accept = raw(kind::ACCEPT, 5, b"a later field");
        assert_eq!(Frame::decode(&mut accept), Ok(Some(Frame::Accept(5))));
    }

    #[test]
    fn a_trace_is_a_later_field_that_others_need_not_know() {
        let traced = Open {
            request: [7; 16],
            export: ObjectName::new("shop", "ledger").unwrap(),
            client: None,
            via: Vec::new(),
            trace: Some(TraceContext {
                trace: [1; 16],
                span: [2; 8],
                flags: 1,
            }),
        };
        let plain = Open {
            trace: None,
            ..traced.clone()
        };
        let encoded = |open: &Open| Frame::Open(1, Box::new(open.clone())).encode().unwrap();
        let (long, short) = (encoded(&traced), encoded(&plain));
        // Beside the length, an older gateway reads just what it knows.
        assert_eq!(long[HEADER_LENGTH..short.len()], short[HEADER_LENGTH..]);
        assert_eq!(long.len(), short.len() + 26);
        // What isn't understood behind the known fields is no reason to refuse.
        let payload = &short[HEADER_LENGTH..];
        for tail in [
            &b"\x19cut"[..],
            b"\x05other",
            &[0x19; 26][..1],
            &[&[25][..], &[0; 25]].concat(),
        ] {
            let mut buffer = raw(kind::OPEN, 1, &[payload, tail].concat());
            let read = Frame::decode(&mut buffer).unwrap();
            assert_eq!(
                read,
                Some(Frame::Open(1, Box::new(plain.clone()))),
                "{tail:?}"
            );
        }
    }

    #[test]
    fn a_client_that_is_too_big_does_not_fit() {
        let labels = (0..MAX_LABELS).map(|n| (format!("{n:0300}"), "x".repeat(63)));
        let open = Open {
            request: [0; 16],
            export: ObjectName::new("shop", "ledger").unwrap(),
            client: Some(Arc::new(Client {
                labels: labels.collect(),
                ..Client::default()
            })),
            via: Vec::new(),
            trace: None,
        };
        let frame = Frame::Open(1, Box::new(open));
        assert_eq!(frame.encode(), Err(FrameError::DoesNotFit("payload")));
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let text = "ä".repeat(200);
        let frame = Frame::Reset(1, Reason::Limit, text).encode().unwrap();
        let read = Frame::decode(&mut BytesMut::from(&frame[..])).unwrap();
        assert_eq!(read, Some(Frame::Reset(1, Reason::Limit, "ä".repeat(128))));
    }
}
