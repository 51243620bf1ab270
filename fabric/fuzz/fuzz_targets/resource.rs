//! Any bytes read as objects: no panic, and something is said when nothing is understood.

#![no_main]

use fabric::document::Limits;
use fabric::resource;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = resource::read(bytes, &Limits::default());
    for finding in &file.findings {
        assert!(!finding.labels.is_empty());
        for (span, _) in &finding.labels {
            assert!(span.start <= span.end && span.end as usize <= bytes.len());
        }
    }
    let again = resource::read(bytes, &Limits::default());
    assert_eq!(file.findings, again.findings);
});
