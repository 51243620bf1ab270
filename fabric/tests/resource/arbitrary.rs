//! The short form of the fuzz targets in `fabric/fuzz`: arbitrary bytes, and what fuzzing found.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::drive;

/// What means something to somebody, in any order.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..20),
        "(\n|\r\n| |  |- |: |\\? |---\n|\\.\\.\\.\n|# |&a |\\*a |<<: |!!str |\\[|\\]|\\{|\\}|,|\\||>|\"|')"
            .prop_map(String::into_bytes),
        "(apiVersion: (clusterlink.net|weft.dev)/v1alpha1\n|kind: (Peer|Export|Fabric|AccessPolicy)\n|metadata:\n  name: [a-z]{1,3}\n|spec:\n)"
            .prop_map(String::into_bytes),
        "(-----(BEGIN|END) ((EC|RSA) )?PRIVATE KEY-----\n|[A-Za-z0-9+/]{1,64}={0,2}\n)"
            .prop_map(String::into_bytes),
    ];
    vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_bytes_are_read_or_refused_with_places_inside(bytes in pieces()) {
        drive::document(&bytes);
        drive::objects(&bytes);
        drive::secrets(&bytes);
    }
}

/// The parser has the place of a list that isn't indented behind its first dash.
#[test]
fn an_item_that_is_not_written_lies_inside_its_list() {
    for text in [
        "u:\n-",
        "u:\n-\nv: 1\n",
        "u:\n- \n-\n",
        "u:\n- # x\n- a",
        "u:\n  -",
        "- -\n",
    ] {
        drive::document(text.as_bytes());
    }
}
