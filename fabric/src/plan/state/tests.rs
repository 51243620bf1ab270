use super::*;
use crate::api::{Fingerprint, Object};
use crate::name::PeerName;
use crate::origin::Origin;
use crate::plan::Certificate;

fn peer() -> PeerName {
    "east".parse().unwrap()
}

fn export(name: &str, port: u16) -> PlannedObject {
    let object: Object = serde_json::from_value(serde_json::json!({
        "kind": "Export",
        "metadata": { "name": name, "namespace": "shop" },
        "spec": { "port": port },
    }))
    .unwrap();
    PlannedObject {
        key: ObjectKey {
            kind: Kind::Export,
            namespace: Some("shop".into()),
            name: name.into(),
        },
        origin: Origin {
            revision: Revision::commit("c"),
            path: "f.yaml".into(),
            line: 1,
        },
        object,
    }
}

fn plan(revision: &str, objects: Vec<PlannedObject>) -> Plan {
    Plan {
        peer: peer(),
        revision: Revision::commit(revision),
        units: BTreeMap::from([(peer(), Revision::commit(revision))]),
        objects,
        state: State {
            fabric: "acme".to_owned(),
            labels: BTreeMap::new(),
            authorities: Vec::new(),
            certificates: BTreeMap::new(),
            revoked: BTreeSet::new(),
            export_labels: BTreeMap::new(),
            workloads: Vec::new(),
            export_hosts: crate::api::ExportHosts::default(),
            heartbeat: crate::api::Heartbeat::default(),
            limits: crate::api::Limits::default(),
            prune: crate::api::Prune::default(),
        },
    }
}

fn states(plan: &Plan) -> Vec<FabricStateSpec> {
    FabricStateSpec::of(plan, &Good::default(), Unmanaged::Ignore)
}

fn live(objects: &[PlannedObject]) -> BTreeMap<ObjectKey, PlannedObject> {
    objects
        .iter()
        .map(|planned| (planned.key.clone(), planned.clone()))
        .collect()
}

fn names(plan: Option<&Plan>) -> Vec<String> {
    let objects = plan.into_iter().flat_map(|plan| &plan.objects);
    objects
        .map(|planned| planned.key.name.to_string())
        .collect()
}

#[test]
fn what_was_written_comes_back() {
    let plan = plan("1", vec![export("a", 1), export("b", 2)]);
    let assembly = FabricStateSpec::assemble(&states(&plan), &live(&plan.objects), None);
    assert!(assembly.is_complete);
    assert_eq!(assembly.plan, Some(plan));
}

#[test]
fn no_plan_mixes_two_commits() {
    let first = plan("1", vec![export("a", 1), export("b", 1)]);
    let second = plan("2", vec![export("a", 2), export("b", 2)]);
    // The state came before one of the objects did.
    let half = live(&[export("a", 2), export("b", 1)]);
    let assembly = FabricStateSpec::assemble(&states(&second), &half, Some(&first));
    assert!(!assembly.is_complete);
    assert_eq!(assembly.missing, [export("b", 2).key]);
    assert_eq!(assembly.plan.as_ref(), Some(&first));
    // The objects came before the state did.
    let all = live(&second.objects);
    let assembly = FabricStateSpec::assemble(&states(&first), &all, Some(&first));
    assert!(assembly.is_complete);
    assert_eq!(assembly.plan, Some(first));
    let assembly = FabricStateSpec::assemble(&states(&second), &half, None);
    assert_eq!(assembly.plan, None);
}

#[test]
fn an_edited_object_counts_as_it_was() {
    let plan = plan("1", vec![export("a", 1)]);
    let edited = live(&[export("a", 9)]);
    let assembly = FabricStateSpec::assemble(&states(&plan), &edited, Some(&plan));
    assert_eq!(assembly.plan, Some(plan.clone()));
    let assembly = FabricStateSpec::assemble(&states(&plan), &edited, None);
    assert_eq!(assembly.plan, None);
}

#[test]
fn what_goes_and_what_is_revoked_does_not_wait_for_what_comes() {
    let certificate = |byte: u8| Certificate::from_der(vec![byte]);
    let print = |byte: u8| Fingerprint::of_der(&[byte]);
    let west: PeerName = "west".parse().unwrap();
    let mut first = plan("1", vec![export("a", 1), export("b", 1)]);
    first.state.authorities = vec![certificate(1), certificate(2)];
    first
        .state
        .certificates
        .insert(west.clone(), [print(3), print(4)].into());
    let mut second = plan("2", vec![export("b", 1), export("c", 1)]);
    second.state.authorities = vec![certificate(2), certificate(9)];
    second.state.revoked = [print(8)].into();
    second
        .state
        .certificates
        .insert(west.clone(), [print(4), print(5)].into());
    let there = live(&[export("a", 1), export("b", 1)]);
    let assembly = FabricStateSpec::assemble(&states(&second), &there, Some(&first));
    let plan = assembly.plan.unwrap();
    assert_eq!(names(Some(&plan)), ["b"]);
    assert_eq!(plan.revision, first.revision);
    assert_eq!(plan.state.revoked, [print(8)].into());
    assert_eq!(plan.state.authorities, [certificate(2)]);
    assert_eq!(plan.state.certificates[&west], [print(4)].into());
    // No committed certificate at all would accept any: the old ones stay until the commit is whole.
    second.state.certificates.clear();
    let assembly = FabricStateSpec::assemble(&states(&second), &there, Some(&first));
    let kept = &assembly.plan.unwrap().state.certificates[&west];
    assert_eq!(*kept, [print(3), print(4)].into());
}

#[test]
fn what_denies_stays_until_what_comes_instead_is_there() {
    let policy = |name: &str, action: &str| {
        let object = serde_json::from_value(serde_json::json!({
            "kind": "AccessPolicy",
            "metadata": { "name": name, "namespace": "shop" },
            "spec": {
                "action": action,
                "from": [{ "workloadSelector": {} }],
                "to": [{ "workloadSelector": {} }],
            },
        }));
        let mut planned = export(name, 1);
        planned.key.kind = Kind::AccessPolicy;
        planned.object = object.unwrap();
        planned
    };
    let first = plan("1", vec![policy("allow", "allow"), policy("deny", "deny")]);
    let second = plan("2", vec![policy("renamed", "deny")]);
    // The watch of the policies is behind the one of the state.
    let behind = live(&first.objects);
    let assembly = FabricStateSpec::assemble(&states(&second), &behind, Some(&first));
    assert_eq!(assembly.missing, [policy("renamed", "deny").key]);
    assert_eq!(names(assembly.plan.as_ref()), ["deny"]);
    let all = live(&second.objects);
    let assembly = FabricStateSpec::assemble(&states(&second), &all, assembly.plan.as_ref());
    assert_eq!(names(assembly.plan.as_ref()), ["renamed"]);
}

#[test]
fn unmanaged_objects_count_where_they_are_honoured() {
    let plan = plan("1", vec![export("a", 1)]);
    let there = live(&[export("a", 1), export("z", 1)]);
    let assembly = FabricStateSpec::assemble(&states(&plan), &there, None);
    assert_eq!(names(assembly.plan.as_ref()), ["a"]);
    assert_eq!(assembly.ignored, [export("z", 1).key]);
    let honour = FabricStateSpec::of(&plan, &Good::default(), Unmanaged::Honour);
    let assembly = FabricStateSpec::assemble(&honour, &there, None);
    assert_eq!(names(assembly.plan.as_ref()), ["a", "z"]);
    assert_eq!(assembly.ignored, []);
    // The listed content goes before what somebody made of the object.
    let edited = live(&[export("a", 9), export("z", 1)]);
    let assembly = FabricStateSpec::assemble(&honour, &edited, Some(&plan));
    let kept = assembly.plan.unwrap();
    assert_eq!(kept.objects, [export("a", 1), export("z", 1)]);
}

#[test]
fn a_peer_that_was_removed_has_nothing_in_force() {
    let plan = plan("1", vec![export("a", 1)]);
    let mut gone = states(&plan);
    gone[0].state = None;
    gone[0].objects.clear();
    let assembly = FabricStateSpec::assemble(&gone, &live(&plan.objects), Some(&plan));
    assert!(assembly.is_complete);
    assert_eq!(assembly.plan, None);
}

#[test]
fn many_digests_stand_in_several_objects_and_belong_together() {
    let objects: Vec<_> = (0..200).map(|n| export(&format!("e{n:03}"), 1)).collect();
    let plan = plan("1", objects);
    let split = |plan: &Plan| {
        let entries = plan.objects.iter().map(|planned| {
            let digest = Digest::of_effect(&planned.key, &planned.object);
            (&planned.key, digest.to_string())
        });
        let good = Good::default();
        FabricStateSpec::with_digests(plan, &good, Unmanaged::Ignore, entries.collect(), 4096)
    };
    let states = split(&plan);
    assert_eq!(states.len(), 9);
    assert!(states[0].objects.is_empty());
    let there = live(&plan.objects);
    let assembly = FabricStateSpec::assemble(&states, &there, None);
    assert_eq!(assembly.plan.as_ref(), Some(&plan));

    // One object more changes one of them, and the first.
    let mut next = plan.clone();
    next.revision = Revision::commit("2");
    next.objects[7] = export("e007", 2);
    let after = split(&next);
    let changed = states.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert_eq!(changed, 2);
    // The first one of one state with a further one of another: the plan before stays.
    let mixed: Vec<_> = after[..1].iter().chain(&states[1..]).cloned().collect();
    let assembly = FabricStateSpec::assemble(&mixed, &there, Some(&plan));
    assert!(!assembly.is_complete);
    assert_eq!(assembly.plan, Some(plan));
    let cut = &after[..3];
    assert_eq!(FabricStateSpec::listed(cut), None);
}
