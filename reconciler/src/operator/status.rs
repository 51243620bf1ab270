//! What an Instance's status says, in ClusterLink's words.

use std::collections::BTreeMap;

use fabric::api::{
    ComponentStatus, Condition, ConditionStatus, IngressStatus, IngressType, InstanceStatus,
};
use jiff::Timestamp;
use serde_json::Value;

use super::LiveInstance;
use super::live::Made;
use super::made::{CONTROLPLANE, DATAPLANE, FRONT, Key, MadeKind};

/// The status to be written; none where it says the same already. `owner` is the Instance that acts in
/// this one's place.
pub(super) fn of(
    live: &LiveInstance,
    owner: Option<&str>,
    made: &BTreeMap<Key, Made>,
    now: Timestamp,
) -> Option<Value> {
    let before: InstanceStatus = serde_json::from_value(live.status.clone()).unwrap_or_default();
    let say = |kind: &str, said: Said, before: &BTreeMap<String, Condition>| {
        let generation = Some(live.meta.generation);
        let (status, reason, message) = said;
        let condition = Condition::new(kind, status, reason, message, generation, now);
        let old = before.get(kind);
        match old {
            Some(old) if old.says_the_same(&condition) => old.clone(),
            old => condition.after(old),
        }
    };
    let spec = match &live.instance {
        Ok(instance) => &instance.spec,
        Err(error) => {
            let said = || (ConditionStatus::False, "Invalid", error.clone());
            let component = |before: &ComponentStatus| ComponentStatus {
                conditions: [(
                    "DeploymentReady".to_owned(),
                    say("DeploymentReady", said(), &before.conditions),
                )]
                .into(),
            };
            let after = InstanceStatus {
                controlplane: component(&before.controlplane),
                dataplane: component(&before.dataplane),
                ingress: IngressStatus::default(),
            };
            return differs(&before, &after);
        }
    };
    let find = |kind: MadeKind, name: &str| {
        let key = Key {
            kind,
            namespace: Some(spec.namespace.clone()),
            name: name.to_owned(),
        };
        made.get(&key).filter(|_| owner.is_none())
    };
    let component = |name: &str, before: &ComponentStatus| {
        let said = match owner {
            Some(owner) => {
                let text = format!(
                    "the Instance {owner} is older, and acts for the namespace {}",
                    spec.namespace
                );
                (ConditionStatus::False, "NotExist", text)
            }
            None => deployment(name, &spec.namespace, find(MadeKind::Deployment, name)),
        };
        ComponentStatus {
            conditions: [(
                "DeploymentReady".to_owned(),
                say("DeploymentReady", said, &before.conditions),
            )]
            .into(),
        }
    };
    let front = find(MadeKind::Service, FRONT).map(|made| &made.object);
    let (said, address) = service(front, spec.ingress.kind, &spec.namespace);
    let after = InstanceStatus {
        controlplane: component(CONTROLPLANE, &before.controlplane),
        dataplane: component(DATAPLANE, &before.dataplane),
        ingress: IngressStatus {
            conditions: [(
                "ServiceReady".to_owned(),
                say("ServiceReady", said, &before.ingress.conditions),
            )]
            .into(),
            ..address
        },
    };
    differs(&before, &after)
}

/// A status, a reason, and a message.
type Said = (ConditionStatus, &'static str, String);

fn deployment(name: &str, namespace: &str, made: Option<&Made>) -> Said {
    let what = format!("Deployment {namespace}/{name}");
    let Some(made) = made else {
        return (
            ConditionStatus::False,
            "NotExist",
            format!("{what} does not exist"),
        );
    };
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let (spec, status) = (&made.object["spec"], &made.object["status"]);
    let is_seen = number(&status["observedGeneration"]) >= made.meta.generation;
    let wanted = number(&spec["replicas"]);
    let is_ready = is_seen
        && number(&status["availableReplicas"]) >= wanted
        && number(&status["updatedReplicas"]) >= wanted;
    match is_ready {
        true => (ConditionStatus::True, "Ready", format!("{what} is ready")),
        false => {
            let text = format!("{what} is in progressing mode");
            (ConditionStatus::False, "ProgressingMode", text)
        }
    }
}

fn service(front: Option<&Value>, kind: IngressType, namespace: &str) -> (Said, IngressStatus) {
    let what = format!("Service {namespace}/{FRONT}");
    let Some(front) = front else {
        let said = (
            ConditionStatus::False,
            "NotExist",
            format!("{what} does not exist"),
        );
        return (said, IngressStatus::default());
    };
    let port = &front["spec"]["ports"][0];
    let ingress = &front["status"]["loadBalancer"]["ingress"][0];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let number = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    let mut address = IngressStatus {
        port: match kind {
            IngressType::NodePort => number(&port["nodePort"]),
            IngressType::None | IngressType::LoadBalancer => number(&port["port"]),
        },
        ..IngressStatus::default()
    };
    if kind == IngressType::LoadBalancer {
        // Some clouds give a name alone.
        address.ip = text(&ingress["ip"]);
        address.hostname = text(&ingress["hostname"]);
        if address.ip.is_none() && address.hostname.is_none() {
            let said = format!("{what} is in progressing mode");
            return ((ConditionStatus::False, "ProgressingMode", said), address);
        }
    }
    let said = (ConditionStatus::True, "Ready", format!("{what} is ready"));
    (said, address)
}

fn differs(before: &InstanceStatus, after: &InstanceStatus) -> Option<Value> {
    (before != after).then(|| serde_json::to_value(after).unwrap_or_default())
}
