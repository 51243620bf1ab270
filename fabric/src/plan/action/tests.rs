use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::Metadata;
use crate::origin::Revision;

fn object(kind: &str, name: &str, spec: &Value) -> PlannedObject {
    let namespaced = !matches!(kind, "Peer" | "PrivilegedAccessPolicy");
    let key = ObjectKey {
        kind: kind.parse().unwrap(),
        namespace: namespaced.then(|| "shop".into()),
        name: name.into(),
    };
    let value = json!({
        "kind": kind,
        "metadata": {"name": name, "namespace": key.namespace},
        "spec": spec,
    });
    PlannedObject {
        key,
        origin: Origin {
            revision: Revision::commit("c1"),
            path: "peers/east/a.yaml".into(),
            line: 1,
        },
        object: serde_json::from_value(value).unwrap(),
    }
}

fn export(name: &str, port: u16) -> PlannedObject {
    object("Export", name, &json!({ "port": port }))
}

fn peer(name: &str) -> PlannedObject {
    object("Peer", name, &json!({ "gateways": [] }))
}

fn policy(kind: &str, name: &str, action: &str) -> PlannedObject {
    let any = json!([{ "workloadSelector": {} }]);
    object(
        kind,
        name,
        &json!({"action": action, "from": any, "to": any}),
    )
}

fn instance(name: &str) -> PlannedObject {
    object("Instance", name, &json!({}))
}

/// As it lives after it was applied and counted as in force.
fn applied(planned: &PlannedObject) -> Live {
    let wanted = Wanted::new(planned.clone());
    Live {
        owner: Owner::Us,
        object: Some(Arc::new(planned.object.clone())),
        effect: Some(wanted.effect),
        content: Some(wanted.content),
        origin: Some(planned.origin.clone()),
        is_terminating: false,
        listed: Some(wanted.effect),
    }
}

fn cluster(objects: &[PlannedObject]) -> BTreeMap<ObjectKey, Live> {
    let objects = objects.iter();
    objects.map(|o| (o.key.clone(), applied(o))).collect()
}

fn wanted(objects: &[PlannedObject]) -> BTreeMap<ObjectKey, Wanted> {
    Wanted::of(objects.to_vec(), &BTreeMap::new(), None)
}

fn rules(max_count: u32, max_percent: u32, approved: Option<u32>) -> Rules {
    Rules {
        prune: Prune {
            max_count,
            max_percent,
        },
        approved,
        adoption: Adoption::Adopt,
    }
}

fn usual() -> Rules {
    rules(25, 20, None)
}

#[test]
fn what_one_object_calls_for() {
    let here = export("a", 80);
    let wanted = Wanted::new(here.clone());
    let live = |change: fn(&mut Live)| {
        let mut live = applied(&here);
        change(&mut live);
        Some(live)
    };
    let adopt = [Adoption::Adopt, Adoption::Refuse];
    let both = |step: Step| [step.clone(), step];
    let owned = || Step::Refuse(Refusal::Owned("x".to_owned()));
    for (what, live, steps) in [
        ("absent", None, both(Step::Create)),
        ("as it should be", live(|_| {}), both(Step::Keep)),
        (
            "another effect",
            live(|l| l.effect = Some(Digest::of_bytes(b"x"))),
            both(Step::Update),
        ),
        (
            "not understood",
            live(|l| (l.effect, l.object) = (None, None)),
            both(Step::Update),
        ),
        (
            "content mark gone",
            live(|l| l.content = None),
            both(Step::Update),
        ),
        ("origin gone", live(|l| l.origin = None), both(Step::Update)),
        (
            "label gone",
            live(|l| l.owner = Owner::Unmarked),
            both(Step::Update),
        ),
        (
            "by hand",
            live(|l| l.owner = Owner::Nobody),
            [Step::Adopt, Step::Refuse(Refusal::Exists)],
        ),
        (
            "another's",
            live(|l| l.owner = Owner::Other("x".to_owned())),
            both(owned()),
        ),
        (
            "another's, going",
            live(|l| (l.owner, l.is_terminating) = (Owner::Other("x".to_owned()), true)),
            both(owned()),
        ),
        ("going", live(|l| l.is_terminating = true), both(Step::Wait)),
        (
            "by hand, going",
            live(|l| (l.owner, l.is_terminating) = (Owner::Nobody, true)),
            [Step::Wait, Step::Refuse(Refusal::Exists)],
        ),
    ] {
        let got = adopt.map(|adoption| step(&wanted, live.as_ref(), adoption));
        assert_eq!(got, steps, "{what}");
    }
}

#[test]
fn an_annotation_that_is_wanted_must_be_there_and_others_may() {
    let mut here = export("a", 80);
    let annotate = |planned: &mut PlannedObject, name: &str| {
        let Object::Export(export) = &mut planned.object else {
            unreachable!()
        };
        let Metadata { annotations, .. } = &mut export.metadata;
        annotations.insert(name.to_owned(), "x".to_owned());
    };
    annotate(&mut here, "wanted");
    let wanted = Wanted::new(here.clone());
    let mut more = here.clone();
    annotate(&mut more, "foreign");
    let with = |object: &PlannedObject| Live {
        object: Some(Arc::new(object.object.clone())),
        ..applied(&here)
    };
    assert!(wanted.is_met_by(&with(&more)));
    assert!(!wanted.is_met_by(&with(&export("a", 80))));
}

#[test]
fn an_object_that_only_moved_keeps_its_origin() {
    let before = export("a", 80);
    let mut moved = before.clone();
    moved.origin.path = "peers/east/b.yaml".into();
    moved.origin.revision = Revision::commit("c2");
    let live = cluster(std::slice::from_ref(&before));
    let wanted = Wanted::of(vec![moved.clone()], &live, None);
    assert_eq!(wanted[&before.key].planned.origin, before.origin);
    assert_eq!(actions(Some(&wanted), &live, &usual()).unchanged, 1);

    let mut changed = moved;
    changed.object = export("a", 81).object;
    let wanted = Wanted::of(vec![changed.clone()], &live, Some(&wanted));
    assert_eq!(wanted[&before.key].planned.origin, changed.origin);
}

#[test]
fn only_ours_is_pruned_and_never_an_instance() {
    let gone = [
        export("a", 1),
        export("b", 1),
        export("c", 1),
        export("d", 1),
    ];
    let stays = export("e", 1);
    let mut live = cluster(&[&gone[..], &[stays.clone(), instance("i")]].concat());
    let mut set = |index: usize, change: fn(&mut Live)| {
        change(live.get_mut(&gone[index].key).unwrap());
    };
    set(1, |l| l.owner = Owner::Nobody);
    set(2, |l| l.owner = Owner::Other("x".to_owned()));
    set(3, |l| l.is_terminating = true);
    let actions = actions(Some(&wanted(&[stays])), &live, &usual());
    assert_eq!(actions.delete, [gone[0].key.clone()].into());
    assert_eq!((actions.unchanged, actions.blocked.len()), (1, 0));
}

#[test]
fn the_prune_budget() {
    let all: Vec<_> = (0..100).map(|n| export(&format!("e{n:03}"), 1)).collect();
    // How many of 100 go, the budget, the approval, and whether it is held back.
    for (gone, max_count, max_percent, approved, is_held) in [
        (25, 25, 20, None, false),
        (26, 25, 20, None, true),
        (20, 10, 20, None, false),
        (21, 10, 20, None, true),
        (30, 40, 20, None, false),
        (1, 0, 0, None, true),
        (0, 0, 0, None, false),
        (99, 100, 0, None, false),
        (90, 25, 20, Some(89), true),
        (90, 25, 20, Some(90), false),
        (90, 25, 20, Some(91), false),
        // Nothing at all would be left, whatever the budget.
        (100, 1000, 100, None, true),
        (100, 1000, 100, Some(100), false),
    ] {
        let rules = rules(max_count, max_percent, approved);
        let actions = actions(Some(&wanted(&all[gone..])), &cluster(&all), &rules);
        let expected = if is_held { (0, gone) } else { (gone, 0) };
        assert_eq!(
            (actions.delete.len(), actions.blocked.len()),
            expected,
            "{gone} {rules:?}"
        );
        assert_eq!(actions.unchanged, 100 - gone);
    }
}

#[test]
fn what_takes_access_away_is_never_held_back() {
    let all = [
        peer("west"),
        policy("AccessPolicy", "allow", "allow"),
        policy("AccessPolicy", "deny", "deny"),
        policy("PrivilegedAccessPolicy", "allow", "allow"),
        policy("PrivilegedAccessPolicy", "deny", "deny"),
        export("a", 1),
    ];
    for desired in [None, Some(wanted(&[])), Some(wanted(&[instance("i")]))] {
        let actions = actions(desired.as_ref(), &cluster(&all), &rules(0, 0, None));
        let keys = |kept: &[usize]| kept.iter().map(|&n| all[n].key.clone()).collect();
        assert_eq!(actions.delete, keys(&[0, 1, 3]));
        assert_eq!(actions.blocked, keys(&[2, 4, 5]));
    }
    // A policy that can't be understood might be a denying one.
    let mut live = cluster(&all);
    live.get_mut(&all[1].key).unwrap().object = None;
    let actions = actions(None, &live, &rules(0, 0, None));
    assert!(actions.blocked.contains(&all[1].key));
}

#[test]
fn what_takes_access_away_comes_first_and_what_gives_it_last() {
    let (allow, deny) = (
        policy("AccessPolicy", "a", "allow"),
        policy("AccessPolicy", "a", "deny"),
    );
    let (peer, export) = (peer("a"), export("a", 1));
    for (wanted, live, phase) in [
        (Some(&deny), None, Phase::Deny),
        (Some(&deny), Some(&deny), Phase::Deny),
        (Some(&deny), Some(&allow), Phase::Deny),
        (None, Some(&allow), Phase::Withdraw),
        (None, Some(&peer), Phase::Withdraw),
        (Some(&allow), Some(&allow), Phase::Change),
        (Some(&peer), Some(&peer), Phase::Change),
        (Some(&export), Some(&export), Phase::Change),
        (Some(&allow), None, Phase::Give),
        (Some(&peer), None, Phase::Give),
        (Some(&export), None, Phase::Give),
        (Some(&allow), Some(&deny), Phase::Give),
        (None, Some(&deny), Phase::Remove),
        (None, Some(&export), Phase::Remove),
    ] {
        let key = &wanted.or(live).unwrap().key;
        let there = live.map(applied);
        let got = Phase::of(key, wanted.map(|wanted| &wanted.object), there.as_ref());
        assert_eq!(got, phase, "{wanted:?} {live:?}");
    }
    let order = [
        Phase::Deny,
        Phase::Withdraw,
        Phase::Change,
        Phase::Give,
        Phase::Remove,
    ];
    assert!(order.is_sorted());
}

#[test]
fn nothing_desired_takes_everything_within_its_approval() {
    let all = [export("a", 1), export("b", 1), instance("i")];
    let held = actions(None, &cluster(&all), &usual());
    assert_eq!((held.delete.len(), held.blocked.len()), (0, 2));
    let free = actions(None, &cluster(&all), &rules(25, 20, Some(2)));
    assert_eq!((free.delete.len(), free.blocked.len()), (2, 0));
    assert_eq!(
        actions(None, &BTreeMap::new(), &usual()),
        Actions::default()
    );
}

#[test]
fn what_was_taken_out_of_force_before_is_deleted_without_asking_again() {
    let all: Vec<_> = (0..9).map(|n| export(&format!("e{n}"), 1)).collect();
    let mut live = cluster(&all);
    // An approved deletion was counted, the FabricState written, and the process killed.
    for gone in &all[..8] {
        live.get_mut(&gone.key).unwrap().listed = None;
    }
    let actions = actions(Some(&wanted(&all[8..])), &live, &rules(0, 0, None));
    assert_eq!((actions.delete.len(), actions.blocked.len()), (8, 0));
}

fn listed(live: &BTreeMap<ObjectKey, Live>) -> BTreeMap<ObjectKey, Digest> {
    let listed = live.iter();
    let listed = listed.filter_map(|(key, live)| Some((key.clone(), live.listed?)));
    listed.collect()
}

/// The version of one object that is in force where `new` is wanted, `listed` was counted and
/// `live` lives.
fn version_in_force(
    new: &PlannedObject,
    listed: Option<&PlannedObject>,
    live: Option<&Live>,
    is_lost: bool,
) -> Option<Version> {
    let key = &new.key;
    let effect = |planned: &PlannedObject| Wanted::new(planned.clone()).effect;
    let listed = listed.map(|listed| (key.clone(), effect(listed)));
    let live = live.map(|live| (key.clone(), live.clone()));
    let standing = Standing {
        live: &live.into_iter().collect(),
        listed: &listed.into_iter().collect(),
        blocked: &BTreeSet::new(),
        lost: &is_lost.then(|| key.clone()).into_iter().collect(),
    };
    let wanted = Wanted::of(vec![new.clone()], &BTreeMap::new(), None);
    in_force(&wanted, standing).into_values().next()
}

#[test]
fn in_force_is_what_can_be_found() {
    let (new, old, other) = (export("a", 81), export("a", 80), export("a", 99));
    let owned = |live: &PlannedObject, owner: Owner| Live {
        owner,
        ..applied(live)
    };
    let us = |live: &PlannedObject| Some(applied(live));
    let theirs = Owner::Other("x".to_owned());
    for (what, live, listed, expected) in [
        ("applied", us(&new), Some(&old), Some(Version::Wanted)),
        ("new", us(&new), None, Some(Version::Wanted)),
        ("as it was", us(&old), Some(&old), Some(Version::Before)),
        ("refused: changed by hand", us(&other), Some(&old), None),
        ("refused: never counted", us(&old), None, None),
        ("refused: absent", None, None, None),
        ("refused: gone", None, Some(&old), None),
        ("another's", Some(owned(&new, theirs)), Some(&new), None),
        (
            "the label is gone",
            Some(owned(&new, Owner::Unmarked)),
            Some(&new),
            Some(Version::Wanted),
        ),
    ] {
        let got = version_in_force(&new, listed, live.as_ref(), true);
        assert_eq!(got, expected, "{what}");
    }
}

#[test]
fn nobody_takes_an_object_out_of_force_by_changing_it() {
    let (new, other) = (export("a", 81), export("a", 99));
    for live in [None, Some(applied(&other))] {
        let live = live.as_ref();
        assert!(version_in_force(&new, Some(&new), live, false).is_some());
        // Not where it can't be put back: who begins now would never find it.
        assert!(version_in_force(&new, Some(&new), live, true).is_none());
        // Nor where it never was in force.
        assert!(version_in_force(&new, None, live, false).is_none());
    }
}

#[test]
fn a_denying_policy_that_was_in_force_is_never_done_without() {
    let deny = policy("AccessPolicy", "a", "deny");
    let privileged = policy("PrivilegedAccessPolicy", "a", "deny");
    let allow = policy("AccessPolicy", "a", "allow");
    let (before, edited) = (policy("AccessPolicy", "a", "allow"), export("a", 1));
    let live = Some(applied(&edited));
    for (what, new, listed, live, stays) in [
        ("changed by hand", &deny, Some(&deny), &live, true),
        ("and refused", &deny, Some(&before), &live, true),
        ("never in force", &deny, None, &live, false),
        ("its namespace is gone", &deny, Some(&deny), &None, false),
        (
            "of the cluster",
            &privileged,
            Some(&privileged),
            &None,
            true,
        ),
        ("an allowing one", &allow, Some(&allow), &live, false),
    ] {
        let got = version_in_force(new, listed, live.as_ref(), true);
        assert_eq!(got.is_some(), stays, "{what}");
    }
}

#[test]
fn what_is_held_back_stays_in_force_as_it_lives() {
    let (stays, held) = (export("a", 80), export("b", 80));
    let wanted = wanted(std::slice::from_ref(&stays));
    let live = cluster(&[stays.clone(), held.clone()]);
    let standing = Standing {
        live: &live,
        listed: &listed(&live),
        blocked: &[held.key.clone()].into(),
        lost: &BTreeSet::new(),
    };
    let expected = [
        (stays.key, Version::Wanted),
        (held.key.clone(), Version::Before),
    ];
    assert_eq!(in_force(&wanted, standing), expected.into());
}

#[test]
fn what_goes_in_any_case_is_no_part_of_what_the_budget_counts() {
    let (gone, allow) = (export("a", 80), policy("AccessPolicy", "a", "allow"));
    let stays = peer("a");
    let rules = rules(0, 50, None);
    let wanted = wanted(std::slice::from_ref(&stays));
    for live in [
        cluster(&[gone.clone(), allow]),
        // The same after a round that was interrupted once the policy was gone.
        cluster(std::slice::from_ref(&gone)),
    ] {
        let actions = actions(Some(&wanted), &live, &rules);
        assert_eq!(actions.blocked, [gone.key.clone()].into());
    }
}

fn planned() -> impl Strategy<Value = PlannedObject> {
    let name = "[a-d]";
    prop_oneof![
        (name, 1..3_u16).prop_map(|(name, port)| export(&name, port)),
        name.prop_map(|name| peer(&name)),
        (name, any::<bool>()).prop_map(|(name, allow)| {
            policy("AccessPolicy", &name, if allow { "allow" } else { "deny" })
        }),
        name.prop_map(|name| instance(&name)),
    ]
}

fn objects() -> impl Strategy<Value = Vec<PlannedObject>> {
    let unique = |objects: Vec<PlannedObject>| {
        let by_key: BTreeMap<_, _> = objects.into_iter().map(|o| (o.key.clone(), o)).collect();
        by_key.into_values().collect()
    };
    vec(planned(), 0..12).prop_map(unique)
}

fn lives() -> impl Strategy<Value = BTreeMap<ObjectKey, Live>> {
    let owner = prop_oneof![
        4 => Just(Owner::Us),
        1 => Just(Owner::Unmarked),
        1 => Just(Owner::Nobody),
        1 => Just(Owner::Other("another".to_owned())),
    ];
    let one = (planned(), owner, any::<[bool; 4]>()).prop_map(
        |(planned, owner, [is_terminating, is_listed, is_read, is_marked])| {
            let live = applied(&planned);
            let effect = live.effect.filter(|_| is_read);
            let live = Live {
                owner,
                object: live.object.clone().filter(|_| is_read),
                effect,
                content: live.content.filter(|_| is_marked),
                is_terminating,
                listed: live.listed.filter(|_| is_listed),
                ..live
            };
            (planned.key, live)
        },
    );
    vec(one, 0..16).prop_map(|lives| lives.into_iter().collect())
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let approved = proptest::option::of(0..5_u32);
    (0..4_u32, 0..=100_u32, approved, any::<bool>()).prop_map(
        |(count, percent, approved, adopts)| Rules {
            adoption: if adopts {
                Adoption::Adopt
            } else {
                Adoption::Refuse
            },
            ..rules(count, percent, approved)
        },
    )
}

/// What the actions leave behind where all of them succeed.
fn perform(
    live: &BTreeMap<ObjectKey, Live>,
    wanted: Option<&BTreeMap<ObjectKey, Wanted>>,
    actions: &Actions,
) -> BTreeMap<ObjectKey, Live> {
    let mut after = live.clone();
    after.retain(|key, _| !actions.delete.contains(key));
    for key in [&actions.create, &actions.update, &actions.adopt]
        .into_iter()
        .flatten()
    {
        let wanted = &wanted.unwrap()[key];
        after.insert(key.clone(), applied(&wanted.planned));
    }
    after
}

proptest! {
    #[test]
    fn nobody_elses_object_is_ever_touched(
        desired in proptest::option::of(objects()), live in lives(), rules in any_rules(),
    ) {
        let wanted = desired.map(|objects| Wanted::of(objects, &live, None));
        let actions = actions(wanted.as_ref(), &live, &rules);
        for (key, live) in &live {
            let written = actions.update.contains(key) || actions.adopt.contains(key);
            let deleted = actions.delete.contains(key);
            match live.owner {
                Owner::Other(_) => prop_assert!(!written && !deleted),
                Owner::Nobody => {
                    prop_assert!(!deleted && !actions.update.contains(key));
                    prop_assert!(!written || rules.adoption == Adoption::Adopt);
                }
                Owner::Unmarked => prop_assert!(!deleted),
                Owner::Us => {}
            }
            if live.is_terminating || key.kind == Kind::Instance {
                prop_assert!(!deleted);
            }
        }
    }

    #[test]
    fn every_object_has_one_fate(
        desired in proptest::option::of(objects()), live in lives(), rules in any_rules(),
    ) {
        let wanted = desired.map(|objects| Wanted::of(objects, &live, None));
        let actions = actions(wanted.as_ref(), &live, &rules);
        let sets = [
            &actions.create, &actions.update, &actions.adopt, &actions.waiting,
        ];
        let count: usize = sets.iter().map(|set| set.len()).sum();
        let all = wanted.as_ref().map_or(0, BTreeMap::len);
        prop_assert_eq!(count + actions.refused.len() + actions.unchanged, all);
        prop_assert!(actions.delete.is_disjoint(&actions.blocked));
        let is_wanted = |key: &ObjectKey| wanted.as_ref().is_some_and(|w| w.contains_key(key));
        for key in actions.delete.iter().chain(&actions.blocked) {
            prop_assert!(!is_wanted(key));
        }
    }

    #[test]
    fn the_budget_is_kept_unless_approved(
        desired in proptest::option::of(objects()), live in lives(), rules in any_rules(),
    ) {
        let wanted = desired.map(|objects| Wanted::of(objects, &live, None));
        let actions = actions(wanted.as_ref(), &live, &rules);
        let is_counted = |key: &&ObjectKey| {
            let live = &live[*key];
            live.listed.is_some() && !live.gives_access(key)
        };
        let counted = actions.delete.iter().filter(is_counted).count() as u64;
        let is_wanted = |key: &ObjectKey| wanted.as_ref().is_some_and(|w| w.contains_key(key));
        let total = live.iter().filter(|(key, live)| is_prunable(key, live));
        let total = total.filter(|(key, live)| {
            live.listed.is_some() && (is_wanted(key) || !live.gives_access(key))
        });
        let total = total.count() as u64;
        let approved = rules.approved.is_some_and(|approved| u64::from(approved) >= counted);
        let within = counted <= u64::from(rules.prune.max_count)
            || counted * 100 <= u64::from(rules.prune.max_percent) * total;
        prop_assert!(counted == 0 || within || approved);
        // What takes access away isn't held back.
        prop_assert!(actions.blocked.iter().all(|key| is_counted(&key)));
    }

    #[test]
    fn a_second_look_finds_nothing_to_do(
        desired in proptest::option::of(objects()), live in lives(), rules in any_rules(),
    ) {
        let wanted = desired.map(|objects| Wanted::of(objects, &live, None));
        let first = actions(wanted.as_ref(), &live, &rules);
        let after = perform(&live, wanted.as_ref(), &first);
        let second = actions(wanted.as_ref(), &after, &rules);
        prop_assert!(second.create.is_empty() && second.update.is_empty());
        prop_assert!(second.adopt.is_empty());
        prop_assert_eq!(&second.waiting, &first.waiting);
        prop_assert_eq!(&second.refused, &first.refused);
    }

    /// Killed after any part of it, the actions that are left lead to the same.
    #[test]
    fn an_interruption_changes_nothing(
        desired in proptest::option::of(objects()), live in lives(), rules in any_rules(),
        done in btree_map(0..32_usize, any::<()>(), 0..16),
    ) {
        let wanted = desired.map(|objects| Wanted::of(objects, &live, None));
        let all = actions(wanted.as_ref(), &live, &rules);
        let whole = perform(&live, wanted.as_ref(), &all);
        let part = |set: &BTreeSet<ObjectKey>| -> BTreeSet<ObjectKey> {
            let kept = set.iter().enumerate().filter(|(index, _)| done.contains_key(index));
            kept.map(|(_, key)| key.clone()).collect()
        };
        let some = Actions {
            create: part(&all.create),
            update: part(&all.update),
            adopt: part(&all.adopt),
            delete: part(&all.delete),
            ..Actions::default()
        };
        let between = perform(&live, wanted.as_ref(), &some);
        let rest = actions(wanted.as_ref(), &between, &rules);
        // Deletions that are done no longer count, so never more is held back than at first.
        prop_assert!(rest.blocked.is_subset(&all.blocked));
        let end = perform(&between, wanted.as_ref(), &rest);
        for (key, live) in &end {
            if !all.delete.contains(key) {
                prop_assert_eq!(Some(live), whole.get(key));
            }
        }
        prop_assert!(whole.keys().filter(|key| !all.blocked.contains(*key)).all(|key| end.contains_key(key)));
    }

    #[test]
    fn whatever_is_in_force_can_be_found(
        desired in objects(), live in lives(), rules in any_rules(),
    ) {
        let wanted = Wanted::of(desired, &live, None);
        let actions = actions(Some(&wanted), &live, &rules);
        let listed = listed(&live);
        let standing = Standing {
            live: &live,
            listed: &listed,
            blocked: &actions.blocked,
            lost: &wanted.keys().cloned().collect(),
        };
        for (key, version) in in_force(&wanted, standing) {
            let digest = match version {
                Version::Before => listed[&key],
                Version::Wanted if takes_access(&wanted[&key].planned.object) => continue,
                Version::Wanted => wanted[&key].effect,
            };
            prop_assert_eq!(live[&key].effect, Some(digest));
            prop_assert!(wanted.contains_key(&key) || actions.blocked.contains(&key));
        }
    }
}
