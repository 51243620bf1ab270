//! Bytes read as frames, which a fuzz target does, too.

use bytes::{Bytes, BytesMut};
use gateway::tunnel::frame::{Frame, FrameError};
use gateway::tunnel::parser::Parser;

/// What a stream says, however its bytes are parted.
#[derive(Debug, PartialEq)]
enum Said {
    Frame(Frame),
    Bytes(u32, Vec<u8>),
    End(u32),
}

/// Reads any bytes as frames: they say the same when written again, and when they come in pieces.
pub(crate) fn read(data: &[u8]) {
    let (whole, end) = parse([data]);
    for frame in whole.iter().filter(|frame| **frame != Frame::Skipped) {
        let bytes = frame.encode().expect("what was read fits");
        let again = Frame::decode(&mut BytesMut::from(&bytes[..]));
        assert_eq!(again, Ok(Some(frame.clone())));
    }
    let (parted, again) = parse(pieces(data));
    assert_eq!((said(parted), again), (said(whole), end));
}

/// The frames that a stream begins with, and what makes the rest of it none.
fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<FrameError>) {
    let (mut parser, mut frames) = (Parser::default(), Vec::new());
    for piece in pieces {
        let mut piece = Bytes::copy_from_slice(piece);
        loop {
            match parser.next(&mut piece) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// Parts bytes as they say themselves: each is the length of a piece.
fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut lengths = data.iter().cycle();
    std::iter::from_fn(move || {
        let length = (1 + usize::from(*lengths.next()?)).min(data.len());
        data.split_off(..length).filter(|piece| !piece.is_empty())
    })
}

fn said(frames: Vec<Frame>) -> Vec<Said> {
    let mut said = Vec::new();
    for frame in frames {
        let Frame::Data {
            tunnel,
            payload,
            end,
        } = frame
        else {
            said.push(Said::Frame(frame));
            continue;
        };
        match said.last_mut() {
            Some(Said::Bytes(same, bytes)) if *same == tunnel => bytes.extend_from_slice(&payload),
            _ => said.push(Said::Bytes(tunnel, payload.to_vec())),
        }
        if end {
            said.push(Said::End(tunnel));
        }
    }
    said
}
