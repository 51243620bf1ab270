//! A peer that does whatever some bytes say: its connection ends, and leaves nothing behind.
#![no_main]

#[path = "../../tests/hostile/drive.rs"]
#[allow(dead_code, reason = "each target plays a part of it")]
mod drive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::connection(data));
