//! The records of a TLS 1.3 connection whose handshake is over.
//!
//! rustls makes the handshake, derives every key and seals and opens each record; here are the
//! buffers around that, so that many records go with one system call and none is copied on its way
//! in. `docs/adr/0011-cost-of-the-data-path.md` says what that is worth.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::kernel::KernelConnection;
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, ExtractedSecrets,
    PeerMisbehaved, ProtocolVersion, Tls13CipherSuite,
};

use crate::tunnel::link::{Opened, Seal, Unseal};

/// The most bytes in one record.
const MAX_PLAIN: usize = 16 * 1024;

/// The header of a record.
const HEADER: usize = 5;

/// The longest payload of a record: what RFC 8446 allows beyond the plain bytes.
const MAX_SEALED: usize = MAX_PLAIN + 256;

/// Records without a byte of data that may follow each other, as many as rustls allows: a new key
/// costs more to make than to ask for.
const MAX_EMPTY: u8 = 32;

/// How every sealed record begins: as application data of TLS 1.2.
const SEALED: [u8; 3] = [23, 3, 3];

const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
const WARNING: u8 = 1;
const FATAL: u8 = 2;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Both directions of a connection whose handshake is over.
pub(super) fn records<Side: Send + 'static>(
    secrets: ExtractedSecrets,
    connection: KernelConnection<Side>,
) -> Result<(Sealer, Opener), Error> {
    let Some(suite) = connection.negotiated_cipher_suite().tls13() else {
        return Err(Error::General("a cipher suite of TLS 1.2".to_owned()));
    };
    let ((0, sealing), (0, opening)) = (secrets.tx, secrets.rx) else {
        return Err(Error::General("records behind the handshake".to_owned()));
    };
    let shared = Arc::new(Shared {
        suite,
        secrets: Mutex::new(Box::new(connection)),
        update_asked: AtomicBool::new(false),
        alert: AtomicU8::new(CLOSE_NOTIFY),
    });
    let sealer = Sealer {
        encrypter: encrypter(suite, sealing)?,
        sequence: 0,
        // The last one under a key tells of the next key.
        limit: suite.common.confidentiality_limit.saturating_sub(1),
        shared: Arc::clone(&shared),
    };
    let opener = Opener {
        decrypter: decrypter(suite, opening)?,
        sequence: 0,
        empty: 0,
        shared,
    };
    Ok((sealer, opener))
}

/// Seals what is sent.
pub(crate) struct Sealer {
    encrypter: Box<dyn MessageEncrypter>,
    /// The number of the next record under this key.
    sequence: u64,
    /// Records that a key may seal.
    limit: u64,
    shared: Arc<Shared>,
}

/// Opens what is received.
pub(crate) struct Opener {
    decrypter: Box<dyn MessageDecrypter>,
    /// The number of the next record under this key.
    sequence: u64,
    /// Records without a byte of data in a row.
    empty: u8,
    shared: Arc<Shared>,
}

/// What both directions need.
struct Shared {
    suite: &'static Tls13CipherSuite,
    secrets: Mutex<Box<dyn Secrets>>,
    /// The other side wants this side to change its key, too.
    update_asked: AtomicBool,
    /// With which alert the connection is closed.
    alert: AtomicU8,
}

/// Where the next keys come from.
trait Secrets: Send {
    fn next_sealing(&mut self) -> Result<ConnectionTrafficSecrets, Error>;
    fn next_opening(&mut self) -> Result<ConnectionTrafficSecrets, Error>;
}

impl<Side: Send> Secrets for KernelConnection<Side> {
    fn next_sealing(&mut self) -> Result<ConnectionTrafficSecrets, Error> {
        self.update_tx_secret().map(|(_, secrets)| secrets)
    }

    fn next_opening(&mut self) -> Result<ConnectionTrafficSecrets, Error> {
        self.update_rx_secret().map(|(_, secrets)| secrets)
    }
}

fn encrypter(
    suite: &Tls13CipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Result<Box<dyn MessageEncrypter>, Error> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            Ok(suite.aead_alg.encrypter(key, iv))
        }
        _ => Err(unknown_cipher()),
    }
}

fn decrypter(
    suite: &Tls13CipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Result<Box<dyn MessageDecrypter>, Error> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            Ok(suite.aead_alg.decrypter(key, iv))
        }
        _ => Err(unknown_cipher()),
    }
}

fn unknown_cipher() -> Error {
    Error::General("a cipher that isn't known".to_owned())
}

fn failed(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

// === impl Sealer ===

impl Sealer {
    fn record(&mut self, typ: ContentType, payload: OutboundChunks<'_>) -> Result<Vec<u8>, Error> {
        let plain = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload,
        };
        let record = self.encrypter.encrypt(plain, self.sequence)?;
        self.sequence += 1;
        Ok(record.encode())
    }

    /// Goes on with the next key, where this one has sealed enough or the other side asked.
    fn update(&mut self, out: &mut VecDeque<Vec<u8>>) -> Result<(), Error> {
        let asked = self.shared.update_asked.swap(false, Ordering::AcqRel);
        if !asked && self.sequence < self.limit {
            return Ok(());
        }
        let message = [KEY_UPDATE, 0, 0, 1, 0];
        out.push_back(self.record(ContentType::Handshake, OutboundChunks::Single(&message))?);
        let secrets = self.shared.secrets.lock().next_sealing()?;
        self.encrypter = encrypter(self.shared.suite, secrets)?;
        self.sequence = 0;
        Ok(())
    }
}

impl Seal for Sealer {
    fn seal(&mut self, plain: &[&[u8]], out: &mut VecDeque<Vec<u8>>) -> io::Result<()> {
        let mut rest = OutboundChunks::new(plain);
        while !rest.is_empty() {
            self.update(out).map_err(failed)?;
            let (payload, behind) = rest.split_at(MAX_PLAIN);
            let record = self.record(ContentType::ApplicationData, payload);
            out.push_back(record.map_err(failed)?);
            rest = behind;
        }
        Ok(())
    }

    fn close(&mut self, out: &mut VecDeque<Vec<u8>>) -> io::Result<()> {
        let alert = self.shared.alert.load(Ordering::Acquire);
        let level = if alert == CLOSE_NOTIFY {
            WARNING
        } else {
            FATAL
        };
        self.update(out).map_err(failed)?;
        let record = self.record(ContentType::Alert, OutboundChunks::Single(&[level, alert]));
        out.push_back(record.map_err(failed)?);
        Ok(())
    }
}

// === impl Opener ===

impl Opener {
    fn next(&mut self, received: &mut BytesMut) -> Result<Option<Opened>, Error> {
        loop {
            let Some(&[kind, major, minor, high, low]) = received.first_chunk() else {
                return Ok(None);
            };
            // Nothing is sent in the clear once there are keys. What stands there is sealed by
            // what it must be, not by what was received.
            if [kind, major, minor] != SEALED {
                return Err(unexpected());
            }
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length > MAX_SEALED {
                return Err(Error::PeerSentOversizedRecord);
            }
            if received.len() < HEADER + length {
                return Ok(None);
            }
            let mut record = received.split_to(HEADER + length);
            record.advance(HEADER);
            let sealed = InboundOpaqueMessage::new(
                ContentType::ApplicationData,
                ProtocolVersion::TLSv1_2,
                &mut record,
            );
            // Opened in place, at the front: a record of TLS 1.3 has nothing before its bytes.
            let plain = self.decrypter.decrypt(sealed, self.sequence)?;
            let (typ, length) = (plain.typ, plain.payload.len());
            self.sequence += 1;
            record.truncate(length);
            let is_data = typ == ContentType::ApplicationData && length > 0;
            self.empty = if is_data { 0 } else { self.empty + 1 };
            if self.empty > MAX_EMPTY {
                return Err(PeerMisbehaved::TooManyEmptyFragments.into());
            }
            match typ {
                ContentType::ApplicationData if length == 0 => {}
                ContentType::ApplicationData => return Ok(Some(Opened::Data(record.freeze()))),
                ContentType::Alert => match record[..] {
                    [_, CLOSE_NOTIFY] => return Ok(Some(Opened::Closed)),
                    [_, USER_CANCELED] => {}
                    [_, alert] => return Err(Error::AlertReceived(alert.into())),
                    _ => return Err(malformed()),
                },
                ContentType::Handshake => self.handshake(&record)?,
                _ => return Err(unexpected()),
            }
        }
    }

    /// What a handshake may still say when it is over: a new key, or a ticket, which isn't wanted.
    fn handshake(&mut self, mut messages: &[u8]) -> Result<(), Error> {
        while let [kind, a, b, c, rest @ ..] = messages {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let Some((body, rest)) = rest.split_at_checked(length) else {
                return Err(unexpected());
            };
            match (*kind, body) {
                // Nothing may stand behind it in its record: that would have the new key.
                (KEY_UPDATE, [request @ (0 | 1)]) if rest.is_empty() => {
                    let secrets = self.shared.secrets.lock().next_opening()?;
                    self.decrypter = decrypter(self.shared.suite, secrets)?;
                    self.sequence = 0;
                    if *request == 1 {
                        self.shared.update_asked.store(true, Ordering::Release);
                    }
                }
                (NEW_SESSION_TICKET, _) => {}
                _ => return Err(unexpected()),
            }
            messages = rest;
        }
        if messages.is_empty() {
            Ok(())
        } else {
            Err(unexpected())
        }
    }
}

impl Unseal for Opener {
    fn unseal(&mut self, received: &mut BytesMut) -> io::Result<Option<Opened>> {
        self.next(received).map_err(|error| {
            let alert = match &error {
                // The other side knows, and listens no more.
                Error::AlertReceived(_) => None,
                Error::DecryptError => Some(AlertDescription::BadRecordMac),
                Error::PeerSentOversizedRecord => Some(AlertDescription::RecordOverflow),
                Error::InvalidMessage(_) => Some(AlertDescription::DecodeError),
                Error::PeerMisbehaved(_) => Some(AlertDescription::UnexpectedMessage),
                _ => Some(AlertDescription::InternalError),
            };
            if let Some(alert) = alert {
                self.shared.alert.store(alert.into(), Ordering::Release);
            }
            failed(error)
        })
    }
}

fn unexpected() -> Error {
    PeerMisbehaved::MessageInterleavedWithHandshakeMessage.into()
}

fn malformed() -> Error {
    rustls::InvalidMessage::MessageTooShort.into()
}

#[cfg(test)]
pub(crate) mod tests;
