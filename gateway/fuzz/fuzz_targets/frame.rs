//! Bytes of a peer: they are frames that say the same when written again and when they come in
//! pieces, or an error.
#![no_main]

#[path = "../../tests/hostile/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|data: &[u8]| frames::read(data));
