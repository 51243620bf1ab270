//! What goes through two gateways arrives as it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;

use weft_tests::fabric::TwoPeers;
use weft_tests::network::{connect, exchange, http_get};
use weft_tests::services::{Service, exchange_patterns};

#[test]
fn http_requests_on_one_kept_connection() {
    let service = Service::http();
    let mut fabric = TwoPeers::new(service.address());
    fabric.start();

    let answer = http_get(fabric.import(), "/hello").unwrap();
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "GET /hello HTTP/1.0\n")
    );

    let mut stream = connect(fabric.import()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for number in 0..10 {
        let body = format!("body {number}");
        let length = body.len();
        write!(
            stream,
            "POST /{number} HTTP/1.1\r\nHost: service\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" || line.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(answer, format!("POST /{number} HTTP/1.1\n{body}"));
    }
    assert_eq!(service.accepted(), 2, "one connection for each of ours");
}

#[test]
fn a_server_that_speaks_first() {
    let service = Service::banner("220 mail.example.org ready\r\n");
    let mut fabric = TwoPeers::new(service.address());
    fabric.start();

    let mut stream = connect(fabric.import()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    // Nothing was sent yet.
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "220 mail.example.org ready\r\n");

    stream.write_all(b"EHLO client\r\n").unwrap();
    line.clear();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "EHLO client\r\n");
}

#[test]
fn one_half_ends_before_the_other() {
    let service = Service::echo_after_end();
    let mut fabric = TwoPeers::new(service.address());
    fabric.start();

    // The service answers only once our end has reached it; its own end must reach us after that.
    let sent = b"the end of this reaches the service".repeat(10_000);
    let answer = exchange(fabric.import(), &sent).unwrap();
    assert!(
        answer == sent,
        "{} bytes came back of {}",
        answer.len(),
        sent.len()
    );

    let answer = exchange(fabric.import(), b"").unwrap();
    assert_eq!(answer, b"");
}

#[test]
fn a_hundred_mebibytes_each_way_at_once() {
    const BYTES: u64 = 100 << 20;
    let service = Service::exchange(1, BYTES);
    let mut fabric = TwoPeers::new(service.address());
    fabric.start();

    let mut stream = connect(fabric.import()).unwrap();
    exchange_patterns(&stream, 2, 1, BYTES).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut verdict = String::new();
    stream.read_to_string(&mut verdict).unwrap();
    assert_eq!(verdict, "intact");
}
