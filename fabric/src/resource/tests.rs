//! Whatever the schema accepts decodes: random objects in the shape that the schemas describe.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Union};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use super::read::decode;
use crate::name::Kind;
use crate::schema;

/// Values that a schema describes, and now and then one that it doesn't.
fn values(schema: &Value, root: &Value) -> BoxedStrategy<Value> {
    let odd = select(vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(80.5),
        json!(u64::MAX),
        json!("x"),
        json!([]),
        json!({}),
    ]);
    prop_oneof![200 => described(schema, root), 1 => odd].boxed()
}

fn described(schema: &Value, root: &Value) -> BoxedStrategy<Value> {
    if let Some(target) = schema["$ref"].as_str() {
        return described(root.pointer(&target[1..]).unwrap(), root);
    }
    if let Some(constant) = schema.get("const") {
        return Just(constant.clone()).boxed();
    }
    if let Some(options) = schema["enum"].as_array() {
        return select(options.clone()).boxed();
    }
    match schema["type"].as_str() {
        Some("string") => match schema["pattern"].as_str() {
            Some(pattern) => proptest::string::string_regex(pattern.trim_matches(['^', '$']))
                .unwrap()
                .prop_map(Value::from)
                .boxed(),
            None => select(vec!["", "a", "10.0.0.0/8", "10.0.0.1", "A b", "é", "no"])
                .prop_map(Value::from)
                .boxed(),
        },
        Some("integer") => {
            let minimum = schema["minimum"].as_u64().unwrap();
            let maximum = schema["maximum"].as_u64().unwrap();
            let outside = maximum + 1;
            prop_oneof![
                20 => Just(minimum),
                20 => Just(maximum),
                20 => minimum..=maximum,
                1 => Just(outside),
            ]
            .prop_map(Value::from)
            .boxed()
        }
        Some("array") => {
            let least = schema["minItems"].as_u64().unwrap_or(0) as usize;
            // Many items would hardly ever be right, all of them.
            let most = schema["maxItems"].as_u64().unwrap_or(2).min(2) as usize;
            proptest::collection::vec(values(&schema["items"], root), least..=most)
                .prop_map(Value::from)
                .boxed()
        }
        Some("object") => object(schema, root),
        _ => select(vec![json!(null), json!(1), json!({"a": ["b"]})]).boxed(),
    }
}

fn object(schema: &Value, root: &Value) -> BoxedStrategy<Value> {
    if schema["additionalProperties"].is_object() {
        let value = values(&schema["additionalProperties"], root);
        let key = select(vec!["a", "", "b/c", "é"]).prop_map(str::to_owned);
        return proptest::collection::btree_map(key, value, 0..3)
            .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into())
            .boxed();
    }
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut map: BoxedStrategy<Map<String, Value>> = Just(Map::new()).boxed();
    for (name, property) in schema["properties"].as_object().unwrap() {
        let is_required = required.iter().any(|required| required == name);
        let present = values(property, root).prop_map(Some);
        let value = Union::new_weighted(vec![
            (if is_required { 300 } else { 1 }, present.boxed()),
            (1, Just(None).boxed()),
        ]);
        let name = name.clone();
        map = (map, value)
            .prop_map(move |(mut map, value)| {
                map.extend(value.map(|value| (name.clone(), value)));
                map
            })
            .boxed();
    }
    map.prop_map(Value::Object).boxed()
}

#[test]
fn whatever_the_schema_accepts_decodes() {
    for kind in Kind::ALL {
        let document: Value = serde_json::from_str(schema::text(kind)).unwrap();
        let strategy = described(&document, &document);
        let mut runner = TestRunner::new_with_rng(
            Config {
                failure_persistence: None,
                ..Config::with_cases(300)
            },
            proptest::test_runner::TestRng::deterministic_rng(
                proptest::test_runner::RngAlgorithm::ChaCha,
            ),
        );
        let accepted = std::cell::Cell::new(0);
        let refused = std::cell::Cell::new(0);
        let result = runner.run(&strategy, |value| {
            if !schema::of(kind).errors(&value).is_empty() {
                refused.set(refused.get() + 1);
                return Ok(());
            }
            accepted.set(accepted.get() + 1);
            match decode(kind, value.clone()) {
                Ok(_) => Ok(()),
                // What the schema can't say of a string, the rules do.
                Err(error) if is_left_to_rules(&error.to_string()) => Ok(()),
                Err(error) => Err(TestCaseError::fail(format!("{error}: {value:#}"))),
            }
        });
        result.unwrap();
        assert!(accepted.get() > 30, "{kind}: {}", accepted.get());
        assert!(refused.get() > 0, "{kind}");
    }
}

/// The two kinds of string that the rules check before anything is decoded.
fn is_left_to_rules(error: &str) -> bool {
    error.contains("is neither an IP address nor a range") || error.contains("not a duration")
}
