//! Plans, as the reconciler would make them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU16;

use fabric::api::{self, Action, ExportHosts, LabelSelector, LoadBalancing, Object};
use fabric::attributes::Labels;
use fabric::name::{Kind, ObjectKey};
use fabric::origin::{Origin, Revision};
use fabric::plan::{Certificate, Plan, PlannedObject, State};

/// A plan in the making.
#[derive(Clone)]
pub(crate) struct Planner {
    pub plan: Plan,
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

/// A selector of exactly these attributes; empty, of everything.
pub(crate) fn selector(pairs: &[(&str, &str)]) -> Vec<api::WorkloadSetOrSelector> {
    vec![api::WorkloadSetOrSelector {
        workload_selector: Some(LabelSelector {
            match_labels: labels(pairs),
            ..LabelSelector::default()
        }),
        ..api::WorkloadSetOrSelector::default()
    }]
}

impl Planner {
    /// The plan of a peer without anything; loopback is allowed as an export host.
    pub(crate) fn new(peer: &str, authority: Certificate) -> Self {
        let plan = Plan {
            peer: peer.parse().unwrap(),
            revision: Revision::commit("first"),
            units: BTreeMap::new(),
            objects: Vec::new(),
            state: State {
                fabric: "acme".to_owned(),
                labels: Labels::new(),
                authorities: vec![authority],
                certificates: BTreeMap::new(),
                revoked: BTreeSet::new(),
                export_labels: BTreeMap::new(),
                workloads: vec![api::Workload {
                    addresses: vec!["127.0.0.1/32".parse().unwrap()],
                    namespace: "shop".to_owned(),
                    service_account: "till".to_owned(),
                    labels: labels(&[("app", "till")]),
                }],
                export_hosts: ExportHosts {
                    allow: vec!["127.0.0.0/8".to_owned()],
                },
                heartbeat: api::Heartbeat {
                    interval: api::Duration::from_millis(100),
                    // A busy machine shall not look like a dead peer.
                    timeout: api::Duration::from_secs(30),
                    down: 2,
                    up: 1,
                },
                limits: api::Limits::default(),
                prune: api::Prune::default(),
            },
        };
        Self { plan }
    }

    pub(crate) fn revision(mut self, revision: &str) -> Self {
        self.plan.revision = Revision::commit(revision);
        self
    }

    pub(crate) fn state(mut self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.plan.state);
        self
    }

    /// Commits a certificate of a peer.
    pub(crate) fn committed(self, peer: &str, certificate: &Certificate) -> Self {
        self.state(|state| {
            let committed = state.certificates.entry(peer.parse().unwrap()).or_default();
            committed.insert(certificate.fingerprint());
        })
    }

    pub(crate) fn revoked(self, certificate: &Certificate) -> Self {
        self.state(|state| {
            state.revoked.insert(certificate.fingerprint());
        })
    }

    /// Another peer, and where its gateways are.
    pub(crate) fn peer(self, name: &str, gateways: &[SocketAddr]) -> Self {
        let gateways = gateways.iter().map(|address| api::Gateway {
            host: address.ip().to_string(),
            port: NonZeroU16::new(address.port()).unwrap(),
        });
        let spec = api::PeerSpec {
            gateways: gateways.collect(),
        };
        let metadata = metadata(name, None);
        self.add(Kind::Peer, Object::Peer(api::Peer { metadata, spec }))
    }

    /// The same, once a peer that is there has opted in to ClusterLink's dialect.
    pub(crate) fn speaks_clusterlink(mut self, peer: &str) -> Self {
        for planned in &mut self.plan.objects {
            if let Object::Peer(object) = &mut planned.object
                && object.metadata.name == peer
            {
                let annotations = &mut object.metadata.annotations;
                annotations.insert(
                    api::Annotation::Compatibility.key().to_owned(),
                    "clusterlink".to_owned(),
                );
            }
        }
        self
    }

    /// An export in the namespace `shop`.
    pub(crate) fn export(self, name: &str, target: SocketAddr) -> Self {
        let spec = api::ExportSpec {
            host: Some(target.ip().to_string()),
            port: NonZeroU16::new(target.port()).unwrap(),
        };
        let metadata = metadata(name, Some("shop"));
        self.add(Kind::Export, Object::Export(api::Export { metadata, spec }))
    }

    /// An import in the namespace `shop`, from exports in `shop` of the given peers.
    pub(crate) fn import(self, name: &str, port: u16, sources: &[(&str, &str)]) -> Self {
        self.import_with(name, port, sources, LoadBalancing::RoundRobin)
    }

    pub(crate) fn import_with(
        self,
        name: &str,
        port: u16,
        sources: &[(&str, &str)],
        lb_scheme: LoadBalancing,
    ) -> Self {
        let sources = sources.iter().map(|(peer, export)| api::ImportSource {
            peer: (*peer).to_owned(),
            export_name: (*export).to_owned(),
            export_namespace: "shop".to_owned(),
        });
        let spec = api::ImportSpec {
            port: NonZeroU16::new(80).unwrap(),
            target_port: port,
            sources: sources.collect(),
            lb_scheme,
        };
        let metadata = metadata(name, Some("shop"));
        self.add(Kind::Import, Object::Import(api::Import { metadata, spec }))
    }

    /// A policy in the namespace `shop`.
    pub(crate) fn policy(
        self,
        name: &str,
        action: Action,
        from: &[(&str, &str)],
        to: &[(&str, &str)],
    ) -> Self {
        let spec = api::AccessPolicySpec {
            action,
            from: selector(from),
            to: selector(to),
        };
        let metadata = metadata(name, Some("shop"));
        let policy = api::AccessPolicy { metadata, spec };
        self.add(Kind::AccessPolicy, Object::AccessPolicy(policy))
    }

    /// An export of an import of the same name, whose Service has port 80.
    pub(crate) fn relay(self, name: &str) -> Self {
        let spec = api::ExportSpec {
            host: None,
            port: NonZeroU16::new(80).unwrap(),
        };
        let metadata = metadata(name, Some("shop"));
        self.add(Kind::Export, Object::Export(api::Export { metadata, spec }))
    }

    /// A policy of the whole fabric.
    pub(crate) fn privileged(
        self,
        name: &str,
        action: Action,
        from: &[(&str, &str)],
        to: &[(&str, &str)],
    ) -> Self {
        let spec = api::AccessPolicySpec {
            action,
            from: selector(from),
            to: selector(to),
        };
        let metadata = metadata(name, None);
        let policy = api::PrivilegedAccessPolicy { metadata, spec };
        let policy = Object::PrivilegedAccessPolicy(policy);
        self.add(Kind::PrivilegedAccessPolicy, policy)
    }

    /// Labels of the object that was added last.
    pub(crate) fn labelled(mut self, pairs: &[(&str, &str)]) -> Self {
        let labels = labels(pairs);
        match &mut self.plan.objects.last_mut().unwrap().object {
            Object::Peer(peer) => peer.metadata.labels = labels,
            Object::Export(export) => export.metadata.labels = labels,
            Object::Import(import) => import.metadata.labels = labels,
            other => panic!("{other:?} isn't labelled by any test"),
        }
        self
    }

    /// Everything is allowed.
    pub(crate) fn allow_all(self) -> Self {
        self.policy("allow-all", Action::Allow, &[], &[])
    }

    /// Gives the object that was added last an annotation.
    pub(crate) fn annotated(mut self, key: &str, value: &str) -> Self {
        let planned = self.plan.objects.last_mut().unwrap();
        let metadata = match &mut planned.object {
            Object::Import(object) => &mut object.metadata,
            Object::Export(object) => &mut object.metadata,
            Object::AccessPolicy(object) => &mut object.metadata,
            other => panic!("no annotation is for {other:?}"),
        };
        metadata
            .annotations
            .insert(key.to_owned(), value.to_owned());
        self
    }

    fn add(mut self, kind: Kind, object: Object) -> Self {
        let metadata = object.metadata();
        let key = ObjectKey {
            kind,
            namespace: metadata.namespace.as_deref().map(Into::into),
            name: metadata.name.as_str().into(),
        };
        let origin = Origin {
            revision: self.plan.revision.clone(),
            path: format!("peers/x/{}.yaml", metadata.name).into(),
            line: 7,
        };
        self.plan.objects.push(PlannedObject {
            key,
            origin,
            object,
        });
        self
    }
}

fn metadata(name: &str, namespace: Option<&str>) -> api::Metadata {
    api::Metadata {
        name: name.to_owned(),
        namespace: namespace.map(ToOwned::to_owned),
        ..api::Metadata::default()
    }
}
