//! What decides: the judge of `weft explain`, and the engines of gateways.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use fabric::attributes::Client;
use fabric::fabric::{Fabric, Good};
use fabric::judge::{Connection, Question, Refusal};
use fabric::name::{ObjectKey, ObjectName};
use fabric::plan::Plan;
use fabric::policy::{Decision, Reason, Rule};
use fabric::snapshot::Snapshot;
use gateway::decision::Outcome;
use gateway::judge;
use gateway::tunnel::frame::{Frame, Open};
use reconciler::store::{Approvals, Desired, Local, Store as _};

use super::Tuple;
use super::drawn::{self, Name};

/// Both sides' answers of each engine.
#[derive(Debug, PartialEq)]
pub(crate) struct Answers {
    explain: [String; 2],
    gateways: [String; 2],
}

/// What is in force in each peer: as the command line compiles it, and as the gateways have it.
pub(crate) struct Engines {
    explain: BTreeMap<String, Snapshot>,
    gateways: BTreeMap<String, Arc<Snapshot>>,
}

// === impl Answers ===

impl Answers {
    /// The same answer by all.
    pub(crate) fn all(answer: &[String; 2]) -> Self {
        Self {
            explain: answer.clone(),
            gateways: answer.clone(),
        }
    }
}

// === impl Engines ===

impl Engines {
    pub(crate) fn new(fabric: &Fabric, on_disk: bool) -> Self {
        let mut engines = Self {
            explain: BTreeMap::new(),
            gateways: BTreeMap::new(),
        };
        for peer in fabric.units.keys() {
            let plan = Plan::of(fabric, peer).unwrap();
            let name = peer.to_string();
            engines
                .explain
                .insert(name.clone(), Snapshot::compile(&plan));
            let kept = match on_disk {
                true => through_store(plan),
                // As the store writes it.
                false => {
                    let json = serde_json::to_vec(&plan).unwrap();
                    Arc::new(Snapshot::compile(&serde_json::from_slice(&json).unwrap()))
                }
            };
            engines.gateways.insert(name, kept);
        }
        engines
    }

    /// The imports in force are these, with these sources.
    pub(crate) fn check_imports(
        &self,
        peer: &str,
        expected: &BTreeMap<&Name, Vec<&(String, Name)>>,
    ) {
        for snapshot in [&self.explain[peer], &*self.gateways[peer]] {
            let pair = |name: &ObjectName| (name.namespace().to_owned(), name.name().to_owned());
            let imports: BTreeMap<Name, Vec<_>> = snapshot
                .imports
                .iter()
                .map(|(name, import)| {
                    let sources = import.sources.iter();
                    let sources = sources.map(|s| (s.peer.to_string(), pair(&s.export.name)));
                    (pair(name), sources.collect())
                })
                .collect();
            let expected: BTreeMap<Name, Vec<_>> = expected
                .iter()
                .map(|(name, sources)| {
                    let sources = sources.iter().copied().cloned();
                    ((*name).clone(), sources.collect())
                })
                .collect();
            assert_eq!(imports, expected, "imports of {peer}");
        }
    }

    /// Who connects from the address of a declared workload is that workload.
    pub(crate) fn check_workloads(&self, peer: &str, declared: &[Client]) {
        let workloads = &self.gateways[peer].workloads;
        for (index, client) in declared.iter().enumerate() {
            let address = drawn::address(index).parse().unwrap();
            assert_eq!(
                workloads.client(address).map(|known| &**known),
                Some(client)
            );
        }
    }

    pub(crate) fn answer(&self, tuple: &Tuple<'_>) -> Answers {
        Answers {
            explain: self.explain(tuple),
            gateways: self.gateways(tuple),
        }
    }

    fn explain(&self, tuple: &Tuple<'_>) -> [String; 2] {
        let here = &self.explain[tuple.peer];
        let import = &here.imports[&object_name(tuple.import)];
        let is_source = |source: &&fabric::snapshot::Source| {
            *source.peer.as_str() == *tuple.source.0
                && source.export.name == object_name(&tuple.source.1)
        };
        let connection = Connection {
            client: tuple.client,
            import,
            source: import.sources.iter().find(is_source).unwrap(),
            here,
            there: self.explain.get(&tuple.source.0),
        };
        let sides = [connection.importer(), connection.exporter()].map(told_question);
        let allows = sides.iter().all(|side| side.starts_with("allow"));
        assert_eq!(connection.is_allowed(), allows, "{sides:?}");
        sides
    }

    /// What the gateway of the client's peer decides, and what the one of the export's decides of
    /// what it is told.
    fn gateways(&self, tuple: &Tuple<'_>) -> [String; 2] {
        let here = &self.gateways[tuple.peer];
        let export = object_name(&tuple.source.1);
        let import = &here.imports[&object_name(tuple.import)];
        let mut sources = import.sources.iter();
        let source = sources.find(|source| {
            *source.peer.as_str() == *tuple.source.0 && source.export.name == export
        });
        let outbound = judge::outbound(here, tuple.client, import, source.unwrap());
        let inbound = match self.gateways.get(&tuple.source.0) {
            Some(there) => {
                let open = over_the_wire(tuple.client, export);
                // Whose certificate it is.
                let peer = &here.peer.name;
                let decided = judge::inbound(there, open.client.as_deref(), peer, &open.export);
                told_outcome(decided)
            }
            None => "refused".to_owned(),
        };
        [told_outcome(outbound), inbound]
    }
}

/// What a gateway goes by after its host was restarted.
fn through_store(plan: Plan) -> Arc<Snapshot> {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let peer = plan.peer.clone();
    let desired = Desired {
        revision: plan.revision.clone(),
        plan: Some(plan),
        good: Good::default(),
    };
    let store = Local::open(folder.path(), &peer).unwrap();
    let report = runtime.block_on(store.apply(desired, Approvals::default()));
    assert!(report.unwrap().is_written);
    drop(store);
    let store = Local::open(folder.path(), &peer).unwrap();
    let snapshot = store.snapshots().borrow().clone();
    snapshot.unwrap()
}

/// What the other gateway is asked.
fn over_the_wire(client: Option<&Client>, export: ObjectName) -> Open {
    let open = Open {
        request: [7; 16],
        export,
        client: client.cloned().map(Arc::new),
        via: Vec::new(),
        trace: None,
    };
    let bytes = Frame::Open(1, Box::new(open)).encode().unwrap();
    match Frame::decode(&mut BytesMut::from(&*bytes)) {
        Ok(Some(Frame::Open(1, open))) => *open,
        other => panic!("{other:?}"),
    }
}

fn object_name((namespace, name): &Name) -> ObjectName {
    ObjectName::new(namespace, name).unwrap()
}

fn told_question(question: Result<Question<'_>, Refusal>) -> String {
    let Ok(question) = question else {
        return "refused".to_owned();
    };
    let decision = question.decide();
    let steps = question.steps();
    let decided: Vec<_> = steps.iter().filter_map(|step| step.decision).collect();
    assert_eq!(
        decided,
        [decision],
        "the steps that are shown decide the same"
    );
    told(decision)
}

fn told(decision: Decision<'_>) -> String {
    let verdict = if decision.is_allowed() {
        "allow"
    } else {
        "deny"
    };
    match decision.reason {
        Reason::Rule(rule) => format!("{verdict} by {}", shown(&rule.key)),
        Reason::UnknownClient(rule) => format!("{verdict}, unknown to {}", shown(&rule.key)),
        Reason::DefaultDeny => format!("{verdict} by default"),
    }
}

fn told_outcome((outcome, rule): (Outcome, Option<&Rule>)) -> String {
    match (outcome, rule) {
        (Outcome::Allowed, Some(rule)) => format!("allow by {}", shown(&rule.key)),
        (Outcome::Denied, Some(rule)) => format!("deny by {}", shown(&rule.key)),
        (Outcome::UnknownClient, Some(rule)) => format!("deny, unknown to {}", shown(&rule.key)),
        (Outcome::DefaultDeny, None) => "deny by default".to_owned(),
        (Outcome::UnknownPeer | Outcome::MissingExport, None) => "refused".to_owned(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn shown(key: &ObjectKey) -> String {
    match &key.namespace {
        Some(namespace) => format!("{namespace}/{}", key.name),
        None => format!("/{}", key.name),
    }
}
