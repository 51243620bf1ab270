//! `decide` against the oracle, asked of random policies and requests.

use std::collections::BTreeMap;

use fabric::policy::Outcome;
use proptest::prelude::*;

use super::drawn::{named_specs, world};
use super::oracle::{Answer, answer, oracle};
use super::world::{policies, told};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decide_is_the_oracle(specs in named_specs(), world in world()) {
        let expected = oracle(&specs, &world.request());
        let forward = policies(specs.iter().map(|(name, spec)| (name.as_str(), spec)));
        prop_assert_eq!(told(forward.decide(&world.request())), expected.clone());
        // In whatever order they came.
        let backward = policies(specs.iter().rev().map(|(name, spec)| (name.as_str(), spec)));
        prop_assert_eq!(told(backward.decide(&world.request())), expected);
    }

    #[test]
    fn steps_agree_with_decide(specs in named_specs(), world in world()) {
        let policies = policies(specs.iter().map(|(name, spec)| (name.as_str(), spec)));
        let request = world.request();
        let steps = policies.steps(&request);
        let decisions: Vec<_> = steps.iter().filter_map(|step| step.decision).collect();
        prop_assert_eq!(decisions, vec![policies.decide(&request)]);
        for considered in steps.iter().flat_map(|step| &step.policies) {
            let key = &considered.rule.key;
            let name = match &key.namespace {
                Some(namespace) => format!("{namespace}/{}", key.name),
                None => key.name.to_string(),
            };
            let expected = answer(&specs[&name], &request);
            let agrees = match &considered.outcome {
                Outcome::Matched => expected == Answer::Matches,
                Outcome::UnknownClient => expected == Answer::Could,
                Outcome::Missed { side, mismatches } => {
                    let spec = &specs[&name];
                    let entries = if side.field() == "to" { &spec.to } else { &spec.from };
                    expected == Answer::Misses && mismatches.len() == entries.len()
                }
            };
            prop_assert!(agrees, "{:?} against {:?}", considered, expected);
        }
    }
}

/// The alphabets are small enough for every kind of decision to be drawn.
#[test]
fn every_kind_of_decision_is_drawn() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..1000 {
        let (specs, world) = (named_specs(), world())
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let decided = oracle(&specs, &world.request());
        let kind = match decided
            .split_once(" by ")
            .or_else(|| decided.split_once(" to "))
        {
            Some((verdict, name)) => format!("{verdict} {}", &name[..2.min(name.len())]),
            None => decided,
        };
        *seen.entry(kind).or_default() += 1;
    }
    for kind in [
        "deny /p",
        "allow /p",
        "deny a/",
        "allow a/",
        "deny de",
        "deny, unknown /p",
        "deny, unknown a/",
    ] {
        assert!(
            seen.get(kind).is_some_and(|count| *count >= 10),
            "{kind}: {seen:?}"
        );
    }
}
