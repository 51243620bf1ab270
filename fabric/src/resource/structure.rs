//! The schema's verdict in words, each at the offending key or value.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use super::certain;
use super::draft::Draft;
use crate::diagnostic::{Code, Finding, nearest_or_same};
use crate::schema::{self, Schema};

/// Reports everything that the schema refuses.
pub(super) fn check(draft: &mut Draft<'_>) {
    let schema = schema::of(draft.kind);
    for error in schema.errors(draft.value) {
        report(draft, schema, &error);
    }
}

fn report(draft: &mut Draft<'_>, schema: &Schema, error: &ValidationError<'_>) {
    let pointer = error.instance_path().as_str();
    // A number where one of a few words is wanted breaks two rules, and is one mistake.
    if draft.is_refused(pointer) {
        return;
    }
    let rule = schema.rule(error);
    let value = error.instance().as_ref();
    let code = |default: Code| {
        rule["x-weft-code"]
            .as_str()
            .and_then(|code| code.parse().ok())
            .unwrap_or(default)
    };
    let at_value =
        |draft: &Draft<'_>, code, message| Finding::new(code, draft.value_span(pointer), message);
    let what = field(pointer);
    let finding = match error.kind() {
        Kind::Required { property } => {
            let property = property.as_str().unwrap_or_default();
            let span = draft.key_span(pointer);
            let message = format!("{what} has no `{property}`");
            draft.push(Finding::new(Code::MissingField, span, message));
            return;
        }
        Kind::AdditionalProperties { unexpected } => {
            for key in unexpected {
                refuse_field(draft, pointer, key, rule);
            }
            return;
        }
        Kind::Type { kind } => wrong_type(
            draft,
            pointer,
            value,
            kind,
            rule["patternErrorMessage"].as_str(),
        ),
        Kind::Minimum { limit } => {
            let message = match rule.get("maximum") {
                Some(maximum) if maximum.as_u64() <= Some(65_535) => {
                    format!("{value} isn't between {limit} and {maximum}")
                }
                _ => format!("{value} is less than {limit}"),
            };
            at_value(draft, Code::OutOfRange, message)
        }
        Kind::Maximum { limit } => {
            let message = match rule.get("minimum") {
                Some(minimum) => format!("{value} isn't between {minimum} and {limit}"),
                None => format!("{value} is more than {limit}"),
            };
            at_value(draft, Code::OutOfRange, message)
        }
        Kind::Enum { options } => one_of(draft, pointer, value, options.as_array()),
        Kind::Constant { expected_value } => one_of(
            draft,
            pointer,
            value,
            Some(&vec![expected_value.as_ref().clone()]),
        ),
        Kind::Pattern { .. } => {
            let written = quote(value.as_str().unwrap_or_default());
            let finding = at_value(
                draft,
                code(Code::OutOfRange),
                format!("{written} isn't what {what} takes"),
            );
            match rule["patternErrorMessage"].as_str() {
                Some(words) => finding.with_help(words),
                None => finding,
            }
        }
        Kind::MinLength { .. } => {
            at_value(draft, code(Code::OutOfRange), format!("{what} is empty"))
        }
        Kind::MinItems { .. } => {
            let message = format!("{what} is empty, and at least one entry is wanted");
            Finding::new(code(Code::OutOfRange), draft.key_span(pointer), message)
        }
        Kind::MaxItems { .. } | Kind::MaxProperties { .. } => {
            let code = code(Code::OutOfRange);
            let message = match code {
                Code::WorkloadSets => "workload sets are not supported".to_owned(),
                _ => format!("{what} has too many entries"),
            };
            let finding = Finding::new(code, draft.key_span(pointer), message);
            match code {
                Code::WorkloadSets => finding.with_help("use `workloadSelector`"),
                _ => finding,
            }
        }
        // No schema of ours says anything else; its own words are better than none.
        _ => at_value(
            draft,
            Code::OutOfRange,
            format!("{what}: {}", error.masked()),
        ),
    };
    draft.push(finding);
    draft.refuse(pointer.to_owned());
}

/// A field that the kind doesn't have.
fn refuse_field(draft: &mut Draft<'_>, parent: &str, key: &str, rule: &Value) {
    let pointer = format!("{parent}/{}", escape(key));
    let known = rule["properties"].as_object();
    let meant = known.and_then(|known| nearest_or_same(key, known.keys().map(String::as_str)));
    let message = format!("{} has no field {}", field(parent), quote(key));
    let finding = Finding::new(Code::UnknownField, draft.key_span(&pointer), message);
    let finding = match (parent, key, meant, known) {
        ("/metadata", "generateName", ..) => finding.with_help(
            "a server makes up a name for each generateName; in a repository each object has its name",
        ),
        (_, _, Some(meant), _) => {
            let there = draft.at(&format!("{parent}/{}", escape(meant))).is_some();
            let span = draft.key_span(&pointer);
            let fix = certain::other_case(draft.text, span, key, meant);
            finding
                .with_help(format!("did you mean `{meant}`?"))
                .with_fix(fix.filter(|_| !there))
        }
        (_, _, None, Some(known)) => {
            let ours = known
                .keys()
                .filter(|name| !schema::SERVER_METADATA.contains(&name.as_str()))
                .map(String::as_str)
                .collect::<Vec<_>>();
            finding.with_help(format!("its fields are {}", ours.join(", ")))
        }
        _ => finding,
    };
    draft.push(finding);
    draft.refuse(pointer);
}

/// A value of another type than is wanted; `pattern` says what a string would have to look like.
fn wrong_type(
    draft: &Draft<'_>,
    pointer: &str,
    value: &Value,
    kind: &TypeKind,
    pattern: Option<&str>,
) -> Finding {
    let what = field(pointer);
    let span = draft.value_span(pointer);
    let (wanted, words) = match kind {
        TypeKind::Single(JsonType::String) => (Some(JsonType::String), "a string"),
        TypeKind::Single(JsonType::Integer) => (Some(JsonType::Integer), "a whole number"),
        TypeKind::Single(JsonType::Boolean) => (Some(JsonType::Boolean), "true or false"),
        TypeKind::Single(JsonType::Object) => (Some(JsonType::Object), "a mapping"),
        TypeKind::Single(JsonType::Array) => (Some(JsonType::Array), "a sequence"),
        _ => (None, "another type of value"),
    };
    let message = format!("{what} is {}, and {words} is wanted", name(value));
    let finding = Finding::new(Code::WrongType, span, message);
    // Quotes alone don't make a duration of a number.
    if let (Some(JsonType::String), Value::Number(_) | Value::Bool(_), Some(pattern)) =
        (wanted, value, pattern)
    {
        return finding.with_help(pattern);
    }
    match (wanted, value) {
        (Some(JsonType::String), Value::Number(_) | Value::Bool(_)) => {
            let finding = finding.with_fix(certain::quoted(draft.text, span));
            // A number with a fraction doesn't print as it was written; the note knows how it was.
            match draft
                .note(pointer)
                .and_then(|note| note.finding.help.clone())
            {
                Some(help) => finding.with_help(help),
                None => finding.with_help(format!("quote it: \"{value}\"")),
            }
        }
        (Some(JsonType::String), Value::Null) => finding.with_help("an empty string is \"\""),
        (Some(JsonType::Integer), Value::String(text)) => {
            let digits = text.trim_start_matches('-');
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            match draft.note(pointer) {
                Some(_) => finding
                    .with_help("write a decimal number: digits alone, none of them a leading 0"),
                None if plain => finding
                    .with_help(format!("write it without quotes: {text}"))
                    .with_fix(certain::unquoted_number(draft.text, span, text)),
                None => finding,
            }
        }
        (Some(JsonType::Array), Value::Object(_)) => {
            finding.with_help("begin each entry with a hyphen")
        }
        _ => finding,
    }
}

fn one_of(
    draft: &Draft<'_>,
    pointer: &str,
    value: &Value,
    options: Option<&Vec<Value>>,
) -> Finding {
    let options: Vec<&str> = options
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let what = field(pointer);
    let span = draft.value_span(pointer);
    let Value::String(written) = value else {
        let message = format!("{what} is {}, and a string is wanted", name(value));
        return Finding::new(Code::WrongType, span, message).with_help(write_one_of(&options));
    };
    let message = format!("{} is not one of the values of {what}", quote(written));
    let finding = Finding::new(Code::NotOneOf, span, message);
    match nearest_or_same(written, options.iter().copied()) {
        Some(meant) => finding
            .with_help(format!("did you mean `{meant}`?"))
            .with_fix(certain::other_case(draft.text, span, written, meant)),
        None => finding.with_help(write_one_of(&options)),
    }
}

fn write_one_of(options: &[&str]) -> String {
    match options {
        [only] => format!("write `{only}`"),
        _ => format!("write one of {}", options.join(", ")),
    }
}

/// What a value is, in the words of YAML.
pub(super) const fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a sequence",
        Value::Object(_) => "a mapping",
    }
}

/// The field that a pointer names, as people write it: `spec.gateways[0].port`.
pub(super) fn field(pointer: &str) -> String {
    let mut text = String::new();
    for part in pointer.split('/').skip(1) {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            text.push('[');
            text.push_str(part);
            text.push(']');
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&part.replace("~1", "/").replace("~0", "~"));
        }
    }
    match text.as_str() {
        "" => "the object".to_owned(),
        _ => quote(&text),
    }
}

/// A text from a file as it may stand in a message: between backticks, escaped, and not too long.
pub(super) fn quote(text: &str) -> String {
    // More than any label's name; the place shows the rest.
    const SHOWN: usize = 64;
    let mut quoted = String::from("`");
    let mut letters = text.chars();
    for letter in letters.by_ref().take(SHOWN) {
        match letter {
            '"' | '\'' | '\\' => quoted.push(letter),
            _ => quoted.extend(letter.escape_debug()),
        }
    }
    if letters.next().is_some() {
        quoted.push('…');
    }
    quoted.push('`');
    quoted
}

/// A key as a JSON pointer holds it.
pub(super) fn escape(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) {
        key.replace('~', "~0").replace('/', "~1").into()
    } else {
        key.into()
    }
}
