//! Remarks for the tests of the forms, ordinary and hostile ones.

use fabric::diagnostic::Code;
use proptest::prelude::*;

use super::remark::{Level, Place, Region, Remark, Rule};

/// What other readers than ours give a meaning to.
const HOSTILE: &[&str] = &[
    "%0A",
    "%25",
    "%",
    "::",
    "::set-output name=x::y",
    "##[error]",
    "\n",
    "\r\n",
    "\r",
    ",",
    ":",
    "=",
    "`",
    "``",
    "```",
    "~~~",
    "```\n",
    "\n```\n",
    "<!--",
    "-->",
    "<details>",
    "</details>",
    "</summary>",
    "<script>",
    "</code>",
    "&lt;",
    "&",
    "<",
    ">",
    "\"",
    "'",
    "]]>",
    "<![CDATA[",
    "<?xml",
    "@team",
    "@org/team",
    "#12",
    "GH-12",
    "https://evil.example",
    "www.evil.example",
    "[a](b)",
    "![a](b)",
    "|",
    "\\",
    "*",
    "_",
    "$x$",
    "\0",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{feff}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{fffd}",
    "\u{10ffff}",
    "😀",
    "é",
    "e\u{301}",
    " ",
    "\t",
    "a",
    "b/",
    "../",
    "/",
    "C:\\",
    "%2F",
    "?",
    "# ",
    "- ",
    "1. ",
    "    ",
];

/// As many cases as there are hostile pieces, a few times; nothing is written beside the sources.
pub(super) fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A usual remark.
pub(super) fn remark(message: &str) -> Remark {
    let place = Place {
        path: "peers/east/exports.yaml".into(),
        region: Some(Region {
            line: 2,
            column: 3,
            end_line: 2,
            end_column: 7,
        }),
    };
    Remark::new(
        Rule::of(Code::UnknownField),
        Level::Error,
        message.to_owned(),
        place,
    )
}

/// Text that wants to be more than text.
pub(super) fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => proptest::sample::select(HOSTILE).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z]{1,8}",
    ];
    proptest::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

/// A remark of which every text is hostile.
pub(super) fn hostile_remark() -> impl Strategy<Value = Remark> {
    let texts = (
        hostile_text(),
        hostile_text(),
        hostile_text(),
        hostile_text(),
        hostile_text(),
    );
    texts.prop_map(|(message, path, note, other, text)| {
        let mut remark = remark(&message);
        remark.place.path = path.into();
        remark.notes.push(note);
        let place = Place {
            path: other.into(),
            region: remark.place.region,
        };
        remark.related.push((place, text.clone()));
        remark.line = Some(text);
        remark
    })
}
