//! Bytes of a peer: they are frames that say the same when written again, or an error.
#![no_main]

use bytes::BytesMut;
use gateway::tunnel::frame::Frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(frame)) = Frame::decode(&mut buffer) {
        if frame == Frame::Skipped {
            continue;
        }
        let bytes = frame.encode().expect("what was read fits");
        let again = Frame::decode(&mut BytesMut::from(&bytes[..]));
        assert_eq!(again, Ok(Some(frame)));
    }
});
