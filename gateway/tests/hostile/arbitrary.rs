//! The short form of the fuzz targets in `gateway/fuzz`: arbitrary bytes, and what fuzzing found.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::{drive, frames};

fn config(cases: u32) -> Config {
    Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn frames_say_the_same_when_written_again_and_in_pieces(
        parts in vec((1_u8..12, 0_u8..2, 0_u32..4, vec(any::<u8>(), 0..300)), 0..6),
        rest in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        for (kind, flags, tunnel, body) in parts {
            bytes.extend([kind, flags]);
            bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
            bytes.extend(tunnel.to_be_bytes());
            bytes.extend(body);
        }
        bytes.extend(rest);
        frames::read(&bytes);
    }

    #[test]
    fn a_connection_bears_whatever_its_other_side_does(script in vec(any::<u8>(), 0..400)) {
        drive::connection(&script);
    }

    #[test]
    fn an_http_connection_bears_any_bytes(
        method in "(GET|POST|CONNECT|[A-Z]{0,9}) ?",
        path in "(/healthz|\\*|[ -~]{0,40})",
        version in "( HTTP/1\\.[01]\r\n)?",
        rest in vec(any::<u8>(), 0..300),
        headers in "((host|content-length|transfer-encoding|expect|upgrade): ?[ -~]{0,20}\r\n){0,4}(\r\n)?",
    ) {
        let text = format!("{method}{path}{version}{headers}");
        drive::http(&[text.as_bytes(), &rest].concat());
    }
}

#[test]
fn requests_of_all_sizes_come_to_an_end() {
    for length in [0, 1, 100, 8_000, 16_000, 17_000, 70_000] {
        let request = format!(
            "GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n",
            "h".repeat(length)
        );
        drive::http(request.as_bytes());
        drive::http(&vec![b'\n'; length]);
        let many = "a: b\r\n".repeat(length / 6);
        drive::http(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes());
    }
}
