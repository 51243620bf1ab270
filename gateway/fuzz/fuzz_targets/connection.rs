//! A peer that sends whatever it likes over a connection: it ends, and leaves nothing behind.
#![no_main]

use gateway::tunnel::drive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| drive::connection(data));
