//! Forms of texts: what the rules of a repository say of them, said in the words of a definition.
//!
//! A field names its form by `x-weft-format`. In a repository the rules check it and say what is
//! wrong; a server knows patterns and expressions alone. A test holds both against each other.

use serde_json::{Map, Value, json};

/// An RFC 1123 label.
const LABEL: &str = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";

/// A part of an object's name, which may be longer.
const NAME_PART: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

/// A label of a name that a resolver is asked for, which is the same in capitals.
const HOST_LABEL: &str = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?";

/// What stands behind the prefix of a label's key, and, where it isn't empty, a label's value.
const LABEL_NAME: &str = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?";

/// Replaces the name of a form by what a server is to check.
pub(super) fn apply(schema: &mut Map<String, Value>) {
    let Some(Value::String(format)) = schema.shift_remove("x-weft-format") else {
        return;
    };
    match format.as_str() {
        "label" => text(schema, &format!("^{LABEL}$"), 63),
        "subdomain" => text(schema, &format!(r"^{LABEL}(\.{LABEL})*$"), 253),
        "host" => host(schema),
        "name" => text(schema, &format!(r"^{NAME_PART}(\.{NAME_PART})*$"), 253),
        "labels" => labels(schema),
        "annotations" => annotations(schema),
        "interval" => interval(schema),
        other => unreachable!("no form is named {other}"),
    }
}

fn text(schema: &mut Map<String, Value>, pattern: &str, longest: u32) {
    schema.insert("maxLength".to_owned(), longest.into());
    schema.insert("pattern".to_owned(), pattern.into());
}

/// An IP address in its canonical spelling, or a DNS name that no resolver takes for an address.
///
/// Definitions may ask `isIP` since Kubernetes 1.31.
fn host(schema: &mut Map<String, Value>) {
    // A name may have a dot at its end beside its 253 characters.
    schema.insert("maxLength".to_owned(), 254.into());
    let name = format!(r"^({HOST_LABEL}\.)*{HOST_LABEL}\.?$");
    let number = r"(^|\.)([0-9]+|0[xX][0-9a-fA-F]*)\.?$";
    rule(
        schema,
        &format!(
            "isIP(self) ? ip.isCanonical(self) : self.matches(r'{name}') \
             && !self.matches(r'{number}') && (size(self) < 254 || self.endsWith('.'))"
        ),
        "a host is a DNS name, or an IP address in its usual spelling",
    );
}

/// A duration that is some time.
fn interval(schema: &mut Map<String, Value>) {
    // Nine parts of eight digits never make more than the longest duration that can be read.
    text(schema, "^([0-9]{1,8}(ms|s|m|h)){1,9}$", 90);
    let some = "an interval is more than no time at all";
    rule(schema, "self.matches('[1-9]')", some);
}

fn labels(schema: &mut Map<String, Value>) {
    let of = "a label's key is an optional DNS name and a slash, then at most 63 letters, digits, \
              '-', '_' and '.'";
    keys(schema, "key", of);
    schema["additionalProperties"] = json!({
        "type": "string",
        "maxLength": 63,
        "pattern": format!("^({LABEL_NAME})?$"),
    });
}

/// Those of an object that is made; capitals count as small letters in the prefix.
fn annotations(schema: &mut Map<String, Value>) {
    let of = "an annotation's key is an optional DNS name and a slash, then at most 63 letters, \
              digits, '-', '_' and '.'";
    keys(schema, "key.lowerAscii()", of);
}

fn keys(schema: &mut Map<String, Value>, key: &str, message: &str) {
    let pattern = format!(r"^({NAME_PART}(\.{NAME_PART})*/)?{LABEL_NAME}$");
    let text = format!("self.all(key, {key}.matches(r'{pattern}') && key.indexOf('/') <= 253)");
    rule(schema, &text, message);
}

fn rule(schema: &mut Map<String, Value>, rule: &str, message: &str) {
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([{ "rule": rule, "message": message }]),
    );
}
