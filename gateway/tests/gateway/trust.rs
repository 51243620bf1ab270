//! Whose certificate is accepted, each refusal by its own reason; and what changes on the way.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fabric::plan::Certificate;
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::common::authority::{Authority, Leaf};
use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, breaks, echoes, echoing, talk};
use crate::common::until;
use crate::world::Pair;

/// `west` dials `east`, with certificates of choice; east doesn't dial.
struct Meeting {
    folder: TempDir,
    authority: Authority,
}

impl Meeting {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new("acme"),
        }
    }

    fn leaf(&self, name: &str) -> Leaf {
        self.authority.leaf(self.folder.path(), &[name])
    }

    /// Both peers and an import, after the plans were changed at will.
    async fn meet(
        &self,
        west: &Leaf,
        east: &Leaf,
        west_plan: impl FnOnce(Planner) -> Planner,
        east_plan: impl FnOnce(Planner) -> Planner,
    ) -> (Peer, Peer) {
        let service = Service::echo().await;
        let west_peer = Peer::start(vec![west.files.clone()]).await;
        let east_peer = Peer::start(vec![east.files.clone()]).await;
        let port = free_port();
        let plan = Planner::new("east", self.authority.certificate())
            .peer("west", &[])
            .peer("north", &[])
            .export("ledger", service.address)
            .allow_all();
        east_peer.apply(&east_plan(plan)).await;
        let plan = Planner::new("west", self.authority.certificate())
            .peer("east", &[east_peer.address()])
            .peer("north", &[])
            .import("ledger", port, &[("east", "ledger")])
            .allow_all();
        west_peer.apply(&west_plan(plan)).await;
        west_peer.sees("east", false).await;
        assert!(talk(loopback(port), "hello").await.is_err());
        west_peer.decides("import", "peer_unreachable", 1.0).await;
        assert_eq!(service.served(), 0);
        (west_peer, east_peer)
    }

    /// East doesn't accept who dials.
    async fn east_refuses(
        &self,
        west: &Leaf,
        reason: &str,
        east_plan: impl FnOnce(Planner) -> Planner,
    ) {
        let east = self.leaf("east");
        let (west, east) = self.meet(west, &east, |plan| plan, east_plan).await;
        east.handshakes("accept", reason).await;
        west.handshakes("dial", "refused_by_peer").await;
    }

    /// West doesn't accept whom it has dialled.
    async fn west_refuses(
        &self,
        east: &Leaf,
        reason: &str,
        west_plan: impl FnOnce(Planner) -> Planner,
    ) {
        let west = self.leaf("west");
        let (west, east) = self.meet(&west, east, west_plan, |plan| plan).await;
        west.handshakes("dial", reason).await;
        east.handshakes("accept", "refused_by_peer").await;
    }
}

fn same(plan: Planner) -> Planner {
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_30_a_certificate_of_another_fabric_is_refused() {
    let meeting = Meeting::new();
    let other = Authority::new("acme");
    let west = other.leaf(meeting.folder.path(), &["west"]);
    meeting.east_refuses(&west, "unknown_authority", same).await;
    let east = other.leaf(meeting.folder.path(), &["east"]);
    meeting.west_refuses(&east, "unknown_authority", same).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_33_a_certificate_with_the_wrong_name_is_refused() {
    let meeting = Meeting::new();
    let stranger = meeting.leaf("stranger");
    meeting.east_refuses(&stranger, "unknown_peer", same).await;
    meeting.west_refuses(&stranger, "wrong_name", same).await;
    // Another peer of the fabric isn't the one that was dialled either.
    let north = meeting.leaf("north");
    meeting.west_refuses(&north, "wrong_name", same).await;
    // Nor may one certificate stand for two peers.
    let folder = meeting.folder.path();
    let both = meeting.authority.leaf(folder, &["west", "north"]);
    meeting.east_refuses(&both, "unknown_peer", same).await;
    let both = meeting.authority.leaf(folder, &["east", "north"]);
    meeting.west_refuses(&both, "unknown_peer", same).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_39_the_key_of_the_ca_may_be_elsewhere() {
    let pair = Pair::started(Service::echo().await).await;
    let folder = pair.folder.path();
    // The certificates come from an issuer below the CA, which is all that the fabric knows.
    let issuer = pair.authority.below("issuer", true);
    let (west, east) = (
        issuer.leaf(folder, &["west"]),
        issuer.leaf(folder, &["east"]),
    );
    let west = Peer::start(vec![west.files]).await;
    let east = Peer::start(vec![east.files]).await;
    east.apply(&pair.east_plan().allow_all()).await;
    let plan = Planner::new("west", pair.authority.certificate())
        .peer("east", &[east.address()])
        .import("ledger", pair.import.port(), &[("east", "ledger")]);
    west.apply(&plan.allow_all()).await;
    assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");

    // A peer is no issuer, though its own certificate comes from the CA.
    let meeting = Meeting::new();
    let folder = meeting.folder.path();
    let west = meeting.authority.below("north", false);
    let west = west.leaf(folder, &["west"]);
    meeting.east_refuses(&west, "unknown_authority", same).await;
    let east = meeting.authority.below("north", false);
    let east = east.leaf(folder, &["east"]);
    meeting.west_refuses(&east, "unknown_authority", same).await;
}

/// Nothing but the clock ends it: no snapshot, no reload. On one thread, whose clock can be moved.
#[tokio::test]
async fn a_certificate_that_expires_cuts_its_connections_within_a_minute() {
    let mut pair = Pair::started(Service::echo().await).await;
    pair.west.apply(&pair.west_plan().allow_all()).await;
    // Long enough to connect by it, also on a slow machine.
    let (mut socket, ends) = 'connected: {
        for seconds in [5, 10, 20, 40, 80] {
            let ends = SystemTime::now() + Duration::from_secs(seconds);
            let since = ends.duration_since(UNIX_EPOCH).unwrap();
            let folder = pair.folder.path();
            let leaf = pair.authority.leaf_with(folder, &["east"], |params| {
                params.not_after = date_time_ymd(1970, 1, 1) + since;
            });
            pair.east = Peer::start(vec![leaf.files]).await;
            pair.east.apply(&pair.east_plan().allow_all()).await;
            let revision = format!("valid for {seconds}");
            let plan = pair.west_plan().revision(&revision);
            pair.west.apply(&plan.allow_all()).await;
            let mut socket = TcpStream::connect(pair.import).await.unwrap();
            if echoes(&mut socket).await && SystemTime::now() < ends {
                break 'connected (socket, ends);
            }
        }
        panic!("not connected within a minute");
    };
    until("the certificate's end", || async {
        // A second is the smallest that a certificate can tell.
        let over = SystemTime::now() > ends + Duration::from_secs(1);
        over.then_some(())
    })
    .await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    breaks(&mut socket).await;
    let expired = "weft_gateway_connections_ended_total{reason=\"expired\"}";
    pair.west.counts(expired, 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_refused() {
    let meeting = Meeting::new();
    let folder = meeting.folder.path();
    let west = meeting.authority.expired(folder, &["west"]);
    meeting.east_refuses(&west, "expired", same).await;
    let east = meeting.authority.expired(folder, &["east"]);
    meeting.west_refuses(&east, "expired", same).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_use_is_refused() {
    let meeting = Meeting::new();
    let only = |name, usage| {
        let folder = meeting.folder.path();
        meeting.authority.leaf_with(folder, &[name], |params| {
            params.extended_key_usages = vec![usage];
        })
    };
    let west = only("west", ExtendedKeyUsagePurpose::ServerAuth);
    meeting.east_refuses(&west, "wrong_usage", same).await;
    let east = only("east", ExtendedKeyUsagePurpose::ClientAuth);
    meeting.west_refuses(&east, "wrong_usage", same).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_certificate_is_refused() {
    let meeting = Meeting::new();
    let revoke = |leaf: &Leaf| {
        let certificate = leaf.certificate.clone();
        move |plan: Planner| plan.revoked(&certificate)
    };
    let west = meeting.leaf("west");
    meeting.east_refuses(&west, "revoked", revoke(&west)).await;
    let east = meeting.leaf("east");
    meeting.west_refuses(&east, "revoked", revoke(&east)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_committed_is_refused_where_another_is() {
    let meeting = Meeting::new();
    let commit = |peer: &'static str, certificate: Certificate| {
        move |plan: Planner| plan.committed(peer, &certificate)
    };
    let (west, other) = (meeting.leaf("west"), meeting.leaf("west"));
    let plan = commit("west", other.certificate);
    meeting.east_refuses(&west, "uncommitted", plan).await;
    let (east, other) = (meeting.leaf("east"), meeting.leaf("east"));
    let plan = commit("east", other.certificate);
    meeting.west_refuses(&east, "uncommitted", plan).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_cuts_what_lives() {
    let pair = Pair::open(Service::echo().await).await;
    let mut socket = echoing(pair.import).await;
    let plan = pair.east_plan().revision("second").allow_all();
    pair.east
        .apply(&plan.revoked(&pair.west_leaf.certificate))
        .await;
    breaks(&mut socket).await;
    let series = "weft_gateway_connections_ended_total{reason=\"revoked\"}";
    pair.east.counts(series, 1.0).await;
    assert!(talk(pair.import, "hello").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_is_replaced_without_a_lost_connection_and_then_no_longer_trusted() {
    let pair = Pair::open(Service::echo().await).await;
    let mut socket = echoing(pair.import).await;
    let new = Authority::new("acme, the next");
    let both = |plan: Planner| {
        plan.revision("both").allow_all().state(|state| {
            state.authorities.push(new.certificate());
        })
    };
    pair.east.apply(&both(pair.east_plan())).await;
    pair.west.apply(&both(pair.west_plan())).await;
    assert!(echoes(&mut socket).await);
    // The old one goes while certificates of it are still in use.
    let only = pair
        .east_plan()
        .revision("only")
        .allow_all()
        .state(|state| {
            state.authorities = vec![new.certificate()];
        });
    pair.east.apply(&only).await;
    breaks(&mut socket).await;
    let series = "weft_gateway_connections_ended_total{reason=\"unknown_authority\"}";
    pair.east.counts(series, 1.0).await;
}

/// What a peer's gateway says to show.
async fn shown(peer: &Peer) -> String {
    let (_, body) = peer.admin("/snapshot").await;
    let snapshot: serde_json::Value = serde_json::from_str(&body).unwrap();
    snapshot["certificate"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_shown_once_it_is_committed() {
    let pair = Pair::started(Service::echo().await).await;
    let old = pair.east_leaf.clone();
    let committed = |plan: Planner, revision: &str, leaves: &[&Leaf]| {
        let plan = plan.revision(revision).allow_all();
        leaves
            .iter()
            .fold(plan, |plan, leaf| plan.committed("east", &leaf.certificate))
    };
    let apply = async |revision: &str, leaves: &[&Leaf]| {
        let plan = committed(pair.west_plan(), revision, leaves);
        pair.west.apply(&plan).await;
        let plan = committed(pair.east_plan(), revision, leaves);
        pair.east.apply(&plan).await;
    };
    apply("old", &[&old]).await;
    assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");

    // The new one takes the old one's place on disk, but isn't committed yet.
    let new = pair.authority.leaf(pair.folder.path(), &["east"]);
    std::fs::copy(&new.files.key, &old.files.key).unwrap();
    std::fs::copy(&new.files.certificate, &old.files.certificate).unwrap();
    pair.east.running.reload();
    let mut socket = echoing(pair.import).await;
    apply("still old", &[&old]).await;
    let fingerprint = |leaf: &Leaf| leaf.certificate.fingerprint().to_string();
    assert_eq!(shown(&pair.east).await, fingerprint(&old));

    apply("both", &[&old, &new]).await;
    assert_eq!(shown(&pair.east).await, fingerprint(&new));
    assert!(echoes(&mut socket).await);
    // New tunnels go over a connection that the new one was shown on, from the first on.
    let mut fresh = echoing(pair.import).await;
    apply("new", &[&new]).await;
    assert!(echoes(&mut fresh).await);
    breaks(&mut socket).await;
}
