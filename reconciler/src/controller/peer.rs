//! Peers: what the gateways of the cluster say of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::api::{ConditionStatus, PeerStatus};
use fabric::mark;
use jiff::Timestamp;

use super::policy::{Said, accepted};
use super::view::View;
use crate::kubernetes::object::LiveObject;

/// What a Peer's status is to say beside its conditions.
#[derive(Debug)]
pub(super) struct PeerSays {
    pub(super) conditions: Vec<Said>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) last_seen: Option<Timestamp>,
}

/// What a Peer's status is to say.
pub(super) fn says(
    view: &View,
    peer: &Arc<LiveObject>,
    before: &PeerStatus,
    now: Timestamp,
) -> PeerSays {
    let mut conditions = accepted(view, peer);
    let reports: Vec<_> = view
        .reports
        .iter()
        .filter_map(|report| {
            let peers = report.status.peers.iter();
            let says = peers.into_iter().find(|says| says.name == peer.meta.name)?;
            Some((report.meta.name.as_str(), says))
        })
        .collect();
    let was_reachable = before.conditions.iter().any(|condition| {
        condition.kind == "PeerReachable" && condition.status == ConditionStatus::True
    });
    let is_reachable = reports.iter().any(|(_, says)| says.reachable);
    let mut last_seen = before.last_seen;
    if is_reachable {
        let without: Vec<_> = reports
            .iter()
            .filter(|(_, says)| !says.reachable)
            .map(|(name, _)| *name)
            .collect();
        let message = match without.as_slice() {
            [] => String::new(),
            names => format!("not from {}", names.join(", ")),
        };
        let holds = ConditionStatus::True;
        conditions.push(Said::new("PeerReachable", holds, "Heartbeat", &message));
        last_seen = None;
    } else if reports.is_empty() {
        // As long as no gateway said anything of a new Peer, nothing is known.
        if was_reachable || !before.conditions.is_empty() || view.reports.is_empty() {
            let text = "no gateway of this cluster tells of the peer";
            let holds = ConditionStatus::False;
            conditions.push(Said::new("PeerReachable", holds, "NoGateway", text));
        }
        if was_reachable {
            last_seen = Some(now);
        }
    } else {
        let holds = ConditionStatus::False;
        conditions.push(Said::new("PeerReachable", holds, "Heartbeat", ""));
        if was_reachable {
            // It answered until it turned unreachable.
            let since = reports.iter().map(|(_, says)| says.since).max();
            last_seen = since.or(Some(now));
        }
    }
    let labels = peer.meta.labels.iter();
    let labels = labels.filter(|(key, _)| !key.starts_with(mark::PREFIX));
    PeerSays {
        conditions,
        labels: labels.map(|(k, v)| (k.clone(), v.clone())).collect(),
        last_seen,
    }
}
