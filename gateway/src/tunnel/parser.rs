//! Frames out of pieces of a stream: the bytes of a DATA are passed on as they come, uncopied.

use bytes::{Bytes, BytesMut};

use super::frame::{Frame, FrameError, HEADER_LENGTH, Header};

/// What is known of the frame that a piece ended in.
#[derive(Debug, Default)]
pub struct Parser {
    /// A part of a header, or of a frame that isn't a DATA.
    begun: BytesMut,
    /// The DATA whose bytes follow.
    data: Option<Data>,
}

#[derive(Clone, Copy, Debug)]
struct Data {
    tunnel: u32,
    left: usize,
    end: bool,
}

// === impl Parser ===

impl Parser {
    /// Takes the next frame, or the next part of a DATA, off the front of a piece; none when
    /// nothing of the piece is left.
    pub fn next(&mut self, piece: &mut Bytes) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(data) = &mut self.data {
                if piece.is_empty() {
                    return Ok(None);
                }
                let payload = piece.split_to(data.left.min(piece.len()));
                data.left -= payload.len();
                let frame = Frame::Data {
                    tunnel: data.tunnel,
                    payload,
                    end: data.end && data.left == 0,
                };
                if data.left == 0 {
                    self.data = None;
                }
                return Ok(Some(frame));
            }
            if !self.fill(HEADER_LENGTH, piece) {
                return Ok(None);
            }
            let Some(bytes) = self.front(piece) else {
                return Ok(None);
            };
            let header = Header::read(bytes)?;
            if header.is_data() && header.length > 0 && header.tunnel != 0 {
                self.take(HEADER_LENGTH, piece);
                self.data = Some(Data {
                    tunnel: header.tunnel,
                    left: header.length,
                    end: header.is_end(),
                });
                continue;
            }
            let length = HEADER_LENGTH + header.length;
            if !self.fill(length, piece) {
                return Ok(None);
            }
            let payload = self.take(length, piece).slice(HEADER_LENGTH..);
            return Frame::read(header.kind, header.flags, header.tunnel, payload).map(Some);
        }
    }

    /// Whether so many bytes are there; what is there of them is kept where they aren't.
    fn fill(&mut self, length: usize, piece: &mut Bytes) -> bool {
        if self.begun.is_empty() && piece.len() >= length {
            return true;
        }
        let lacks = length.saturating_sub(self.begun.len()).min(piece.len());
        self.begun.extend_from_slice(&piece.split_to(lacks));
        self.begun.len() >= length
    }

    fn front(&self, piece: &Bytes) -> Option<[u8; HEADER_LENGTH]> {
        let bytes = if self.begun.is_empty() {
            &piece[..]
        } else {
            &self.begun[..]
        };
        bytes.first_chunk().copied()
    }

    /// The bytes that [`fill`](Self::fill) said to be there.
    fn take(&mut self, length: usize, piece: &mut Bytes) -> Bytes {
        if self.begun.is_empty() {
            piece.split_to(length)
        } else {
            self.begun.split().freeze()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Frames of one stream, with the parts of each DATA put together again.
    fn parse(bytes: &[u8], steps: &[usize]) -> Result<Vec<Frame>, FrameError> {
        let (mut parser, mut frames) = (Parser::default(), Vec::<Frame>::new());
        let mut partial = BytesMut::new();
        let (mut rest, mut steps) = (bytes, steps.iter().cycle());
        while !rest.is_empty() {
            let (head, tail) = rest.split_at((*steps.next().unwrap()).min(rest.len()));
            rest = tail;
            let mut piece = Bytes::copy_from_slice(head);
            while let Some(frame) = parser.next(&mut piece)? {
                match frame {
                    Frame::Data {
                        tunnel,
                        payload,
                        end,
                    } => {
                        partial.extend_from_slice(&payload);
                        if parser.data.is_none() {
                            let payload = partial.split().freeze();
                            frames.push(Frame::Data {
                                tunnel,
                                payload,
                                end,
                            });
                        }
                    }
                    other => frames.push(other),
                }
            }
        }
        Ok(frames)
    }

    fn whole(bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
        let (mut buffer, mut frames) = (BytesMut::from(bytes), Vec::new());
        while let Some(frame) = Frame::decode(&mut buffer)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let data = (
            1_u32..5,
            proptest::collection::vec(any::<u8>(), 1..3000),
            any::<bool>(),
        )
            .prop_map(|(tunnel, payload, end)| Frame::Data {
                tunnel,
                payload: payload.into(),
                end,
            });
        let frame = prop_oneof![
            data,
            (1_u32..5).prop_map(|tunnel| Frame::Data {
                tunnel,
                payload: Bytes::new(),
                end: true
            }),
            (1_u32..5, 1_u32..9).prop_map(|(tunnel, credit)| Frame::Window(tunnel, credit)),
            (1_u32..5).prop_map(Frame::Accept),
        ];
        proptest::collection::vec(frame, 1..12).prop_map(|frames| {
            let mut bytes = BytesMut::new();
            for frame in frames {
                frame.put(&mut bytes).unwrap();
            }
            bytes.to_vec()
        })
    }

    proptest! {
        #[test]
        fn pieces_are_read_as_the_whole_is(
            bytes in stream(),
            steps in proptest::collection::vec(1_usize..2000, 1..6),
        ) {
            prop_assert_eq!(parse(&bytes, &steps), whole(&bytes));
        }

        #[test]
        fn altered_bytes_are_judged_as_the_whole_is(
            mut bytes in stream(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            steps in proptest::collection::vec(1_usize..2000, 1..6),
        ) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let (pieces, whole) = (parse(&bytes, &steps), whole(&bytes));
            prop_assert_eq!(pieces.is_err(), whole.is_err());
            if let (Ok(pieces), Ok(whole)) = (pieces, whole) {
                prop_assert_eq!(pieces, whole);
            }
        }
    }
}
