//! Any bytes searched for private keys: no panic, and places that lie inside the bytes.

#![no_main]

use fabric::secret::find_private_keys;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for finding in find_private_keys(bytes) {
        assert!(!finding.shows_source);
        for (span, _) in &finding.labels {
            assert!(span.start <= span.end && span.end as usize <= bytes.len());
        }
    }
});
