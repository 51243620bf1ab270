//! What carries a connection's bytes: a stream, and what seals and opens what goes over it.

use std::collections::VecDeque;
use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// The first buffer for reading: heartbeats and the frames of a few quiet tunnels.
const MIN_READ: usize = 16 * 1024;

/// The largest: 16 records with one system call. More than that falls out of a core's own cache.
const MAX_READ: usize = 256 * 1024;

/// Room for the record that a read ends in the middle of.
const PARTIAL: usize = 18 * 1024;

/// Small reads in a row after which a smaller buffer will do.
const SMALL_READS: u32 = 64;

/// Seals what is to be written.
pub trait Seal: Send {
    /// Seals plain bytes, and appends what is to be written.
    fn seal(&mut self, plain: &[&[u8]], out: &mut VecDeque<Vec<u8>>) -> io::Result<()>;

    /// Appends the last words of this direction.
    fn close(&mut self, out: &mut VecDeque<Vec<u8>>) -> io::Result<()>;
}

/// Opens what was read.
pub trait Unseal: Send {
    /// Takes the next piece off the front of what was read, when it is there as a whole.
    fn unseal(&mut self, received: &mut BytesMut) -> io::Result<Option<Opened>>;

    /// Whether the stream's end says as much as [`Opened::Closed`].
    fn trusts_end(&self) -> bool {
        false
    }
}

/// What was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Plain bytes.
    Data(Bytes),
    /// The other side has said that nothing follows.
    Closed,
}

/// A stream between two gateways that is ready to carry frames.
#[derive(Debug)]
pub struct Link {
    pub(super) receiver: Receiver,
    pub(super) transmitter: Transmitter,
}

/// The receiving half.
pub(super) struct Receiver {
    stream: Box<dyn AsyncRead + Send + Sync + Unpin>,
    unseal: Box<dyn Unseal>,
    received: BytesMut,
    /// How much is read with one call.
    size: usize,
    small: u32,
}

/// The sending half.
pub(super) struct Transmitter {
    pub(super) stream: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    pub(super) seal: Box<dyn Seal>,
}

/// A stream that needs no protection, or has its own.
struct Plain;

// === impl Link ===

impl Link {
    /// A link over the halves of a stream, of which `received` was read already.
    pub fn new<R, W>(
        (reader, writer): (R, W),
        seal: impl Seal + 'static,
        unseal: impl Unseal + 'static,
        received: BytesMut,
    ) -> Self
    where
        R: AsyncRead + Send + Sync + Unpin + 'static,
        W: AsyncWrite + Send + Sync + Unpin + 'static,
    {
        Self {
            receiver: Receiver {
                stream: Box::new(reader),
                unseal: Box::new(unseal),
                received,
                size: MIN_READ,
                small: 0,
            },
            transmitter: Transmitter {
                stream: Box::new(writer),
                seal: Box::new(seal),
            },
        }
    }

    /// A link over a stream that has its own protection, or, in a test, needs none.
    pub fn plain<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
    {
        Self::new(tokio::io::split(stream), Plain, Plain, BytesMut::new())
    }
}

// === impl Receiver ===

impl Receiver {
    /// The next plain bytes of what was read.
    pub(super) fn next(&mut self) -> io::Result<Option<Opened>> {
        self.unseal.unseal(&mut self.received)
    }

    /// Whether the stream's end is one that the other side meant.
    pub(super) fn trusts_end(&self) -> bool {
        self.unseal.trusts_end()
    }

    /// Reads more; false at the end of the stream.
    pub(super) async fn read(&mut self) -> io::Result<bool> {
        // In place, unless somebody still holds a part of the buffer.
        if self.received.capacity() - self.received.len() < self.size {
            self.received.reserve(self.size + PARTIAL);
        }
        // What is reserved may be twice what was asked for, which is more than a core's own cache takes.
        let room = self.received.capacity() - self.received.len();
        let mut room = (&mut self.received).limit(room.min(self.size + PARTIAL));
        let most = room.remaining_mut();
        let length = self.stream.read_buf(&mut room).await?;
        if length >= most.min(self.size) {
            self.size = (self.size * 4).min(MAX_READ);
            self.small = 0;
        } else if length < self.size / 8 && self.size > MIN_READ {
            self.small += 1;
            if self.small >= SMALL_READS {
                (self.size, self.small) = (MIN_READ, 0);
                // The large one goes when nobody holds a part of it any more.
                self.received = BytesMut::from(&self.received[..]);
            }
        } else {
            self.small = 0;
        }
        Ok(length > 0)
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Transmitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transmitter").finish_non_exhaustive()
    }
}

// === impl Plain ===

impl Seal for Plain {
    fn seal(&mut self, plain: &[&[u8]], out: &mut VecDeque<Vec<u8>>) -> io::Result<()> {
        out.push_back(plain.concat());
        Ok(())
    }

    fn close(&mut self, _: &mut VecDeque<Vec<u8>>) -> io::Result<()> {
        Ok(())
    }
}

impl Unseal for Plain {
    fn unseal(&mut self, received: &mut BytesMut) -> io::Result<Option<Opened>> {
        Ok((!received.is_empty()).then(|| Opened::Data(received.split().freeze())))
    }

    fn trusts_end(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn the_read_buffer_grows_under_bulk_and_is_given_back() {
        let (near, mut far) = tokio::io::duplex(MAX_READ);
        let mut receiver = Link::plain(near).receiver;
        let mut read = async |length: usize| {
            far.write_all(&vec![7; length]).await.unwrap();
            let mut left = length;
            while left > 0 {
                assert!(receiver.read().await.unwrap());
                while let Some(Opened::Data(bytes)) = receiver.next().unwrap() {
                    left -= bytes.len();
                }
            }
            (receiver.size, receiver.received.capacity())
        };
        for _ in 0..8 {
            read(MAX_READ).await;
        }
        let (size, _) = read(MAX_READ).await;
        assert_eq!(size, MAX_READ);
        for _ in 0..=SMALL_READS {
            read(100).await;
        }
        let (size, capacity) = read(100).await;
        assert_eq!(size, MIN_READ);
        assert!(capacity <= MIN_READ + PARTIAL, "{capacity}");
    }
}
