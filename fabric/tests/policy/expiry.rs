//! Policies that end by the clock.

use fabric::api::{Action, Expiry};
use fabric::policy::{Clock, Policies, Rule};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use super::drawn::{named_specs, world};
use super::oracle::oracle;
use super::world::{World, key, one, origin, told};

fn hour(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn at_any_moment_those_decide_that_have_not_ended(
        specs in named_specs(), world in world(), ends in prop::collection::vec(prop::option::of(0..5_i64), 16),
        now in 0..6_i64, was in 0..6_i64,
    ) {
        let mut policies = Policies::default();
        let mut left = specs.clone();
        // The clock was once later than it is now, or not.
        let clock = Clock::at(hour(was)).read(hour(now));
        for ((name, spec), end) in specs.iter().zip(ends.iter().cycle()) {
            let expiry = end.map_or(Expiry::Never, |end| Expiry::At(hour(end)));
            policies.add_rule(Rule::new(key(name), origin(), expiry, spec.action), spec);
            let by = if spec.action == Action::Allow { now.max(was) } else { now };
            if end.is_some_and(|end| end <= by) {
                left.remove(name);
            }
        }
        let over = specs.len() - left.len();
        prop_assert_eq!(policies.over(&clock).len(), over);
        let then = policies.at(&clock);
        prop_assert_eq!(told(then.decide(&world.request())), oracle(&left, &world.request()));
        // Twice is as good as once, and the ends are still known.
        let again = told(then.at(&clock).decide(&world.request()));
        prop_assert_eq!(again, told(then.decide(&world.request())));
        prop_assert_eq!(then.ends().count(), policies.ends().count());
    }
}

#[test]
fn a_clock_that_is_set_back_opens_nothing() {
    let decided = |action: &str, clock: &Clock| {
        let spec = one(action, json!({}), json!({}));
        let other = one("allow", json!({}), json!({}));
        let mut policies = Policies::default();
        let expiry = Expiry::At(hour(1));
        policies.add_rule(
            Rule::new(key("bank/x"), origin(), expiry, spec.action),
            &spec,
        );
        if action == "deny" {
            policies.add(key("bank/y"), origin(), &other);
        }
        told(policies.at(clock).decide(&World::new().request()))
    };
    let before = Clock::at(hour(0));
    let after = before.read(hour(1));
    let back = after.read(hour(0));
    assert_eq!(decided("allow", &before), "allow by bank/x");
    assert_eq!(decided("allow", &after), "deny by default");
    assert_eq!(decided("allow", &back), "deny by default");
    assert_eq!(decided("deny", &before), "deny by bank/x");
    assert_eq!(decided("deny", &after), "allow by bank/y");
    assert_eq!(decided("deny", &back), "deny by bank/x");
}

#[test]
fn an_end_that_is_not_understood_fails_closed() {
    for (action, expected) in [("allow", "deny by default"), ("deny", "deny by bank/x")] {
        let spec = one(action, json!({}), json!({}));
        let mut policies = Policies::default();
        let rule = Rule::new(key("bank/x"), origin(), Expiry::NotUnderstood, spec.action);
        policies.add_rule(rule, &spec);
        let now = policies.at(&Clock::at(hour(0)));
        assert_eq!(told(now.decide(&World::new().request())), expected);
    }
}
