//! A peer's bytes where HTTP should be: at most one request, and an end.
#![no_main]

#[path = "../../tests/hostile/drive.rs"]
#[allow(dead_code, reason = "each target plays a part of it")]
mod drive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::http(data));
