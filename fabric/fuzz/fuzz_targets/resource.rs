//! Any bytes read as objects: no panic, the same answer twice, and places that lie inside.
#![no_main]

#[path = "../../tests/resource/drive.rs"]
#[allow(dead_code, reason = "each target plays a part of it")]
mod drive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::objects(data));
