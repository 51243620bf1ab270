//! JUnit's XML, for services that show the results of tests: a case for each file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::remark::{Level, Remark};
use super::{count, escape};

/// Remarks of a level that are listed in a case; more is counted. Nobody mends more at once.
const LISTED: usize = 20;

/// Remarks' text in a file. Services refuse reports of tens of megabytes (GitLab: 30); the names of
/// 100,000 cases take most of that.
const TEXT_BYTES: usize = 8_000_000;

/// What there are cases for, and what is said of each.
pub(crate) type Cases<'a> = BTreeMap<Cow<'a, str>, Vec<&'a Remark>>;

/// A case for each of the files, and for each other place that something is said of.
pub(crate) fn cases<'a>(
    files: impl IntoIterator<Item = &'a str>,
    remarks: impl IntoIterator<Item = &'a Remark>,
) -> Cases<'a> {
    let files = files.into_iter().map(|file| (file.into(), Vec::new()));
    let mut cases: Cases<'a> = files.collect();
    for remark in remarks {
        let path: &str = &remark.place.path;
        cases.entry(path.into()).or_default().push(remark);
    }
    cases
}

/// Writes the cases of a command.
pub(crate) fn write(command: &str, mut cases: Cases<'_>, out: &mut dyn Write) -> io::Result<()> {
    for remarks in cases.values_mut() {
        remarks.sort_by(|a, b| a.importance().cmp(&b.importance()));
    }
    let is_failure = |remarks: &Vec<&Remark>| remarks.iter().any(|r| r.level == Level::Error);
    let failures = cases.values().filter(|remarks| is_failure(remarks)).count();
    let (tests, failures) = (cases.len().to_string(), failures.to_string());

    let mut xml = Writer::new_with_indent(out, b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let title = format!("weft {command}");
    let totals = [
        ("name", &*title),
        ("tests", &*tests),
        ("failures", &*failures),
        ("errors", "0"),
        ("time", "0"),
    ];
    let suites = BytesStart::new("testsuites").with_attributes(totals);
    xml.write_event(Event::Start(suites))?;
    let suite = BytesStart::new("testsuite").with_attributes(totals);
    xml.write_event(Event::Start(suite.with_attributes([("skipped", "0")])))?;
    let mut room = TEXT_BYTES;
    for (name, remarks) in cases {
        write_case(command, &name, &remarks, &mut room, &mut xml)?;
    }
    xml.write_event(Event::End(BytesEnd::new("testsuite")))?;
    xml.write_event(Event::End(BytesEnd::new("testsuites")))?;
    writeln!(xml.get_mut())
}

fn write_case(
    command: &str,
    name: &str,
    remarks: &[&Remark],
    room: &mut usize,
    xml: &mut Writer<&mut dyn Write>,
) -> io::Result<()> {
    let name = escape::path(name);
    let class = format!("weft.{command}");
    let case = BytesStart::new("testcase").with_attributes([
        ("classname", &*class),
        ("name", &*name),
        ("time", "0"),
    ]);
    if remarks.is_empty() {
        return xml.write_event(Event::Empty(case));
    }
    xml.write_event(Event::Start(case))?;
    let of = |is_error: bool| {
        let of = remarks
            .iter()
            .filter(move |r| (r.level == Level::Error) == is_error);
        of.copied().collect::<Vec<_>>()
    };
    let (errors, others) = (of(true), of(false));
    if let Some(first) = errors.first() {
        let message = escape::text(&first.message);
        let failure = BytesStart::new("failure")
            .with_attributes([("message", &*message), ("type", first.rule.id)]);
        xml.write_event(Event::Start(failure))?;
        xml.write_event(Event::Text(BytesText::new(&listed(&errors, room))))?;
        xml.write_event(Event::End(BytesEnd::new("failure")))?;
    }
    if !others.is_empty() {
        xml.write_event(Event::Start(BytesStart::new("system-out")))?;
        xml.write_event(Event::Text(BytesText::new(&listed(&others, room))))?;
        xml.write_event(Event::End(BytesEnd::new("system-out")))?;
    }
    xml.write_event(Event::End(BytesEnd::new("testcase")))
}

/// The remarks as text, as far as there is room.
fn listed(remarks: &[&Remark], room: &mut usize) -> String {
    let mut text = String::new();
    let mut number = 0;
    for remark in remarks.iter().take(LISTED) {
        let place = remark.place.shown();
        let (level, id) = (remark.level.word(), remark.rule.id);
        let entry = format!("{place}: {level}[{id}]: {}\n", remark.lines().join("\n  "));
        let Some(left) = room.checked_sub(entry.len()) else {
            break;
        };
        *room = left;
        text.push_str(&entry);
        number += 1;
    }
    if let Some(more @ 1..) = remarks.len().checked_sub(number) {
        text.push_str(&format!("{} not listed\n", count(more, "more remark")));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roxmltree::Document;

    use super::*;
    use crate::render::sample;

    fn written(names: &[&str], remarks: &[Remark]) -> String {
        let mut out = Vec::new();
        let cases = cases(names.iter().copied(), remarks);
        write("validate", cases, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_case_for_each_file() {
        let mut warning = sample::remark("odd");
        warning.level = Level::Warning;
        let mut missing = sample::remark("isn't there");
        missing.place.path = "fabric.yaml".into();
        missing.place.region = None;
        let wrong = sample::remark("`spec` has no field <portt> & \u{1b}[2J]]>");
        let remarks = [warning, wrong, missing];
        insta::assert_snapshot!(written(
            &["peers/east/exports.yaml", "peers/east/peer.yaml"],
            &remarks
        ));
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let text = written(&[], &vec![sample::remark("wrong"); LISTED + 5]);
        assert!(text.contains("5 more remarks not listed"), "{text}");

        let mut large = sample::remark(&"x".repeat(1_000));
        large.notes = vec!["y".repeat(1_000); 3];
        let many: Vec<_> = (0..5_000)
            .map(|number| {
                let mut remark = large.clone();
                remark.place.path = format!("peers/east/{number}.yaml").into();
                remark
            })
            .collect();
        let text = written(&[], &many);
        // Each case has its name, and in its attribute one message.
        assert!(text.len() < TEXT_BYTES + 5_000 * 1_500, "{}", text.len());
        assert!(text.contains("1 more remark not listed"));
    }

    proptest! {
        #![proptest_config(sample::config())]

        #[test]
        fn hostile_text_is_a_text(remark in sample::hostile_remark(), name in sample::hostile_text()) {
            let text = written(&[&name], std::slice::from_ref(&remark));
            let document = Document::parse(&text).unwrap();
            let suite = document.root_element().first_element_child().unwrap();
            let cases: Vec<_> = suite.children().filter(|node| node.is_element()).collect();
            let mut wanted: Vec<_> = [&*name, &*remark.place.path].map(escape::path).into();
            wanted.sort();
            wanted.dedup();
            let mut names: Vec<_> = cases.iter().map(|case| case.attribute("name").unwrap()).collect();
            names.sort_unstable();
            prop_assert_eq!(names, wanted);
            let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
            let message = escape::text(&remark.message);
            prop_assert_eq!(failure.attribute("message"), Some(&*message));
            prop_assert!(failure.text().unwrap().contains(&*message));
        }
    }
}
