//! Any bytes searched for private keys: no panic, and places that lie inside the bytes.
#![no_main]

#[path = "../../tests/resource/drive.rs"]
#[allow(dead_code, reason = "each target plays a part of it")]
mod drive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::secrets(data));
