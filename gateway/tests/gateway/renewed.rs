//! Certificates, CA and revocations replaced while requests run: none of them is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinSet;

use crate::common::authority::Authority;
use crate::common::plan::Planner;
use crate::common::service::{Service, breaks, echoes, echoing, talk};
use crate::common::until;
use crate::world::Pair;

/// Requests in all, over the replacements.
const REQUESTS: usize = 10_000;

/// Clients at a time.
const CLIENTS: usize = 8;

/// Requests, one after the other in each of some clients, until they are enough and all is replaced.
struct Load {
    done: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(pair: &Pair) -> Self {
        let (done, enough) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (done, enough, import) = (Arc::clone(&done), Arc::clone(&enough), pair.import);
            clients.spawn(async move {
                while done.load(Ordering::Relaxed) < REQUESTS || !enough.load(Ordering::Relaxed) {
                    let answer = talk(import, "hello").await;
                    assert_eq!(answer.expect("no request is lost"), "hello");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self {
            done,
            enough,
            clients,
        }
    }

    /// Waits until so many more are through.
    async fn more(&self, count: usize) {
        let target = self.done.load(Ordering::Relaxed) + count;
        until("requests", || async {
            (self.done.load(Ordering::Relaxed) >= target || self.clients.is_empty()).then_some(())
        })
        .await;
    }

    async fn finish(mut self) -> usize {
        self.enough.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        self.done.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_32_row_37_row_41_row_96_certificates_and_ca_replaced_under_load_lose_no_request() {
    let pair = Pair::started(Service::echo().await).await;
    let next = Authority::new("acme, the next");
    // The new leaves of the new CA, in the files that the gateways read already.
    let put = |leaf: &crate::common::authority::Leaf, of: &crate::common::authority::Leaf| {
        std::fs::copy(&of.files.certificate, &leaf.files.certificate).unwrap();
        std::fs::copy(&of.files.key, &leaf.files.key).unwrap();
    };
    let new_west = next.leaf(pair.folder.path(), &["west"]);
    let new_east = next.leaf(pair.folder.path(), &["east"]);
    // What is committed in each step: first both CAs and all leaves, in the end the new ones alone.
    let commit = |plan: Planner, revision: &str, old: bool, new: bool| {
        let mut plan = plan.revision(revision).allow_all().state(|state| {
            state.authorities.clear();
            if old {
                state.authorities.push(pair.authority.certificate());
            }
            if new {
                state.authorities.push(next.certificate());
            }
        });
        for (name, old_leaf, new_leaf) in [
            ("west", &pair.west_leaf, &new_west),
            ("east", &pair.east_leaf, &new_east),
        ] {
            if old {
                plan = plan.committed(name, &old_leaf.certificate);
            }
            if new {
                plan = plan.committed(name, &new_leaf.certificate);
            }
        }
        plan
    };
    pair.east
        .apply(&commit(pair.east_plan(), "one", true, false))
        .await;
    pair.west
        .apply(&commit(pair.west_plan(), "one", true, false))
        .await;
    let load = Load::start(&pair);
    load.more(1000).await;
    // Both are trusted, in one peer after the other.
    pair.west
        .apply(&commit(pair.west_plan(), "two", true, true))
        .await;
    load.more(500).await;
    pair.east
        .apply(&commit(pair.east_plan(), "two", true, true))
        .await;
    load.more(500).await;
    // Keys and certificates change on disk, and are read on the fly.
    let mut long = echoing(pair.import).await;
    for (peer, leaf, new) in [
        (&pair.west, &pair.west_leaf, &new_west),
        (&pair.east, &pair.east_leaf, &new_east),
    ] {
        put(leaf, new);
        peer.running.reload();
        let wanted = format!("\"certificate\": \"{}\"", new.certificate.fingerprint());
        until("the new certificate", || async {
            peer.admin("/snapshot")
                .await
                .1
                .contains(&wanted)
                .then_some(())
        })
        .await;
        load.more(1000).await;
    }
    assert!(
        echoes(&mut long).await,
        "what runs over the old certificate goes on"
    );
    // The old ones go: what still runs over them is cut, and a request begins with the new ones.
    drop(long);
    until("the old connections' end", || async {
        // They were retired, and close with their last tunnel.
        let (_, text) = pair.west.admin("/snapshot").await;
        let state: serde_json::Value = serde_json::from_str(&text).unwrap();
        let peers = state["peers"].as_array().unwrap();
        (!peers[0]["connections"].as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    load.more(1000).await;
    let done = load.finish().await;
    assert!(done >= REQUESTS, "{done}");
    println!("{done} requests over the replacement of both certificates and the CA, none lost");
    // Old leaves and the old CA go, and a stolen old certificate is worth nothing.
    pair.west
        .apply(&commit(pair.west_plan(), "three", false, true))
        .await;
    pair.east
        .apply(&commit(pair.east_plan(), "three", false, true))
        .await;
    until("a request by the new ones alone", || async {
        talk(pair.import, "hello").await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_38_a_revoked_certificate_loses_its_connections_at_once() {
    let pair = Pair::open(Service::echo().await).await;
    let mut ledger = echoing(pair.import).await;
    let plan = pair.east_plan().revision("second").allow_all();
    let started = std::time::Instant::now();
    pair.east
        .apply(&plan.revoked(&pair.west_leaf.certificate))
        .await;
    breaks(&mut ledger).await;
    println!("cut {:?} after the snapshot came", started.elapsed());
    pair.east.handshakes("accept", "revoked").await;
    assert!(talk(pair.import, "hello").await.is_err());
}
