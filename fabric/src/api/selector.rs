use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::label::{LabelError, check_label_key, check_label_value};
use crate::attributes::Labels;

/// A Kubernetes label selector: all its terms must hold; an empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Keys that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions on keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// One condition on a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requirement {
    /// The key that the condition is about.
    #[schemars(length(min = 1), extend("x-weft-code" = "WEFT0113"))]
    pub key: String,
    /// How key and values relate.
    pub operator: Operator,
    /// The values, for `In` and `NotIn` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How a key and values relate.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Operator {
    /// The key is there, and its value is one of the values.
    In,
    /// The key isn't there, or its value is none of the values.
    NotIn,
    /// The key is there.
    Exists,
    /// The key isn't there.
    DoesNotExist,
}

/// Why a text is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Nothing stands between two commas, or behind the last one.
    #[error("a condition is empty")]
    Empty,
    /// The values of `in` or `notin` don't stand in parentheses.
    #[error("the values of {0:?} stand in parentheses, such as 'env in (dev, prod)'")]
    Parentheses(String),
    /// What follows the key is no operator.
    #[error("{0:?} is no condition; conditions are k=v, k!=v, k in (v, w), k notin (v, w), k, !k")]
    Syntax(String),
    /// Not a label's key.
    #[error("{0:?} is no label key: {1}")]
    Key(String, LabelError),
    /// Not a label's value.
    #[error("{0:?} is no label value: {1}")]
    Value(String, LabelError),
}

// === impl LabelSelector ===

impl LabelSelector {
    /// Whether all the terms hold for these labels.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.matches(labels))
    }
}

// === impl Requirement ===

impl Requirement {
    /// Whether the condition holds for these labels.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let listed = || value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// Reads a selector as Kubernetes writes it in one line: `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
///
/// An empty text selects everything.
pub fn parse_selector(text: &str) -> Result<LabelSelector, SelectorError> {
    let mut match_expressions = Vec::new();
    if !text.trim().is_empty() {
        for condition in conditions(text) {
            match_expressions.push(parse_condition(condition.trim())?);
        }
    }
    Ok(LabelSelector {
        // Two values for one key must both hold, which a map couldn't say.
        match_labels: BTreeMap::new(),
        match_expressions,
    })
}

/// Splits at the commas that don't stand in parentheses.
fn conditions(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.split(move |c| {
        match c {
            '(' => inside = true,
            ')' => inside = false,
            _ => {}
        }
        c == ',' && !inside
    })
}

fn parse_condition(text: &str) -> Result<Requirement, SelectorError> {
    if text.is_empty() {
        return Err(SelectorError::Empty);
    }
    if let Some(key) = text.strip_prefix('!') {
        return requirement(key, Operator::DoesNotExist, []);
    }
    if let Some((key, value)) = text.split_once("!=") {
        return requirement(key, Operator::NotIn, [value]);
    }
    if let Some((key, value)) = text.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return requirement(key, Operator::In, [value]);
    }
    let Some((key, rest)) = text.split_once(char::is_whitespace) else {
        return requirement(text, Operator::Exists, []);
    };
    let rest = rest.trim_start();
    let word = rest
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let (word, values) = rest.split_at(word);
    let operator = match word {
        "in" => Operator::In,
        "notin" => Operator::NotIn,
        _ => return Err(SelectorError::Syntax(text.to_owned())),
    };
    let values = values
        .trim()
        .strip_prefix('(')
        .and_then(|values| values.strip_suffix(')'))
        .ok_or_else(|| SelectorError::Parentheses(word.to_owned()))?;
    requirement(key, operator, values.split(','))
}

fn requirement<'a>(
    key: &str,
    operator: Operator,
    values: impl IntoIterator<Item = &'a str>,
) -> Result<Requirement, SelectorError> {
    let key = key.trim().to_owned();
    if let Err(error) = check_label_key(&key) {
        return Err(SelectorError::Key(key, error));
    }
    let value = |value: &str| {
        let value = value.trim().to_owned();
        match check_label_value(&value) {
            Ok(()) => Ok(value),
            Err(error) => Err(SelectorError::Value(value, error)),
        }
    };
    Ok(Requirement {
        key,
        operator,
        values: values.into_iter().map(value).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        text.split_whitespace()
            .filter_map(|label| label.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn selectors_match_labels() {
        for (selector, matching, other) in [
            ("", "", None),
            ("  ", "env=prod", None),
            ("env=prod", "env=prod", Some("env=dev")),
            ("env==prod", "env=prod", Some("")),
            ("env=", "env=", Some("env=prod")),
            ("env!=prod", "", Some("env=prod")),
            ("env in (dev, prod)", "env=prod", Some("env=test")),
            ("env in(dev,prod)", "env=dev", Some("")),
            ("env notin (dev,prod)", "env=test", Some("env=dev")),
            ("env notin (dev)", "", Some("env=dev")),
            ("env", "env=", Some("")),
            ("!env", "", Some("env=")),
            ("in", "in=x", Some("")),
            (
                "example.com/env=prod",
                "example.com/env=prod",
                Some("env=prod"),
            ),
            (
                "a=b,c!=d,e in (x,y),!f,g",
                "a=b e=y g=1",
                Some("a=b e=y g=1 f="),
            ),
            ("a=b,a=c", "", None),
        ] {
            let parsed = parse_selector(selector).unwrap();
            let expected = selector != "a=b,a=c";
            assert_eq!(parsed.matches(&labels(matching)), expected, "{selector:?}");
            if let Some(other) = other {
                assert!(!parsed.matches(&labels(other)), "{selector:?}");
            }
        }
    }

    #[test]
    fn what_is_no_selector() {
        for text in [
            ",",
            "a=b,",
            "=b",
            "!",
            "a b",
            "a in",
            "a in dev",
            "a in (dev",
            "a in dev)",
            "a gt 5",
            "a=b c",
            "a=b=c",
            "a=(b)",
            "-a=b",
            "a in (b)) , c",
            "a in ((b))",
        ] {
            assert!(parse_selector(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn map_and_expressions_must_both_hold() {
        let selector: LabelSelector = serde_json::from_value(serde_json::json!({
            "matchLabels": { "env": "prod" },
            "matchExpressions": [{ "key": "tier", "operator": "Exists" }],
        }))
        .unwrap();
        assert!(selector.matches(&labels("env=prod tier=1")));
        assert!(!selector.matches(&labels("env=prod")));
        assert!(!selector.matches(&labels("env=dev tier=1")));
    }
}
