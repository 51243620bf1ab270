//! The live connections of clients and services, and whether a snapshot still allows them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fabric::attributes::Client;
use fabric::name::{ObjectName, PeerName};
use fabric::snapshot::{Export, Snapshot};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::decision::{End, Outcome};
use crate::judge;
use crate::metrics::Side;
use crate::world::World;

/// The live connections.
#[derive(Debug, Default)]
pub(crate) struct Live {
    entries: Mutex<BTreeMap<u64, Arc<Entry>>>,
    next: AtomicU64,
}

/// One live connection.
#[derive(Debug)]
pub(crate) struct Entry {
    id: u64,
    subject: Subject,
    /// That there is a reason; for whoever carries the bytes, who is one.
    cut: Notify,
    why: OnceLock<End>,
    /// Bytes to the other gateway.
    pub to_peer: AtomicU64,
    /// Bytes from the other gateway.
    pub from_peer: AtomicU64,
    /// Whether one of the directions has ended.
    pub half_closed: AtomicBool,
}

/// What a decision about a connection looks at.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// A client's connection through an import.
    Import {
        /// Where the client connects from.
        address: IpAddr,
        /// Who the client was, as the peer was told.
        client: Option<Arc<Client>>,
        /// The import.
        import: ObjectName,
        /// The peer that it goes to.
        peer: PeerName,
        /// The export there.
        export: ObjectName,
    },
    /// A peer's connection to an export.
    Export {
        /// The peer.
        peer: PeerName,
        /// The client, as the peer tells it.
        client: Option<Arc<Client>>,
        /// The export.
        export: ObjectName,
        /// The host that the export aims at; none for a Service of the cluster.
        host: Option<String>,
        /// What the connection was made to.
        target: SocketAddr,
    },
    /// A peer's connection to an export that is an import, and by that to another peer.
    Relay {
        /// The peer.
        peer: PeerName,
        /// The client, as the peer tells it.
        client: Option<Arc<Client>>,
        /// The export.
        export: ObjectName,
        /// The import.
        import: ObjectName,
        /// The peer that it goes on to.
        to: PeerName,
        /// The export there.
        source: ObjectName,
    },
}

// === impl Subject ===

impl Subject {
    /// The side that the connection is judged on.
    #[must_use]
    pub(crate) const fn side(&self) -> Side {
        match self {
            Self::Import { .. } => Side::Import,
            Self::Export { .. } | Self::Relay { .. } => Side::Export,
        }
    }

    /// Whether a snapshot allows the connection.
    #[must_use]
    pub(crate) fn is_allowed(&self, world: &World) -> bool {
        let snapshot = &world.snapshot;
        let known;
        let outcome = match self {
            Self::Import {
                address,
                client: told,
                import,
                peer,
                export,
            } => {
                known = world.client_at(*address);
                let client = known.as_deref();
                // The peer decided by what it was told, and can't know of another client.
                if client != told.as_deref() {
                    return false;
                }
                judge_source(snapshot, client, import, (peer, export))
            }
            Self::Export {
                peer,
                client,
                export: name,
                host,
                target,
            } => {
                let Some(export) = snapshot.exports.get(name) else {
                    return false;
                };
                // An export that aims elsewhere by now doesn't offer the old place any more.
                if export.host != *host || !is_offered(world, export, *target) {
                    return false;
                }
                judge::inbound(snapshot, client.as_deref(), peer, name).0
            }
            Self::Relay {
                peer,
                client,
                export: name,
                import,
                to,
                source,
            } => {
                let is_relayed = snapshot.exports.get(name).is_some_and(|export| {
                    let relayed = world.relayed(export);
                    relayed.is_some_and(|relayed| relayed.name == *import)
                });
                let client = client.as_deref();
                match judge::inbound(snapshot, client, peer, name).0 {
                    Outcome::Allowed if is_relayed => {
                        judge_source(snapshot, client, import, (to, source))
                    }
                    _ => return false,
                }
            }
        };
        outcome == Outcome::Allowed
    }
}

/// Decides about a connection through an import to one of the sources that it has by now.
fn judge_source(
    snapshot: &Snapshot,
    client: Option<&Client>,
    import: &ObjectName,
    (peer, export): (&PeerName, &ObjectName),
) -> Outcome {
    let Some(import) = snapshot.imports.get(import) else {
        return Outcome::MissingImport;
    };
    let source = import
        .sources
        .iter()
        .find(|source| source.peer == *peer && source.export.name == *export);
    source.map_or(Outcome::NoSource, |source| {
        judge::outbound(snapshot, client, import, source).0
    })
}

/// Whether an export still aims at what a connection was made to.
fn is_offered(world: &World, export: &Export, target: SocketAddr) -> bool {
    match &export.host {
        Some(host) => export.port == target.port() && world.check_target(host, target.ip()).is_ok(),
        // An endpoint that goes finishes what it has: that it is no longer ready takes nothing away.
        None => world.guard.check_address(target.ip(), None).is_ok(),
    }
}

// === impl Live ===

impl Live {
    /// Makes a connection known, before it is judged by the snapshot of that moment.
    pub(crate) fn add(&self, subject: Subject) -> Arc<Entry> {
        let entry = Arc::new(Entry {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            subject,
            cut: Notify::new(),
            why: OnceLock::new(),
            to_peer: AtomicU64::new(0),
            from_peer: AtomicU64::new(0),
            half_closed: AtomicBool::new(false),
        });
        self.entries.lock().insert(entry.id, Arc::clone(&entry));
        entry
    }

    /// Forgets a connection.
    pub(crate) fn remove(&self, entry: &Entry) {
        self.entries.lock().remove(&entry.id);
    }

    /// Cuts what a snapshot doesn't allow; how many that were.
    pub(crate) fn judge(&self, world: &World) -> usize {
        // Judged outside the lock: new connections needn't wait for it.
        let entries: Vec<_> = self.entries.lock().values().cloned().collect();
        let refused = entries
            .iter()
            .filter(|entry| !entry.subject.is_allowed(world));
        refused
            .map(|entry| entry.cut(End::NoLongerAllowed))
            .filter(|cut| *cut)
            .count()
    }

    /// Cuts everything.
    pub(crate) fn cut_all(&self, why: End) -> usize {
        let entries = self.entries.lock();
        entries.values().filter(|entry| entry.cut(why)).count()
    }

    /// How many there are on each side, by import or export.
    #[must_use]
    pub(crate) fn counts(&self) -> (BTreeMap<ObjectName, usize>, BTreeMap<ObjectName, usize>) {
        let (mut imports, mut exports) = (BTreeMap::new(), BTreeMap::new());
        for entry in self.entries.lock().values() {
            let (import, export) = match &entry.subject {
                Subject::Import { import, .. } => (Some(import), None),
                Subject::Export { export, .. } => (None, Some(export)),
                Subject::Relay { import, export, .. } => (Some(import), Some(export)),
            };
            for (names, name) in [(&mut imports, import), (&mut exports, export)] {
                if let Some(name) = name {
                    *names.entry(name.clone()).or_insert(0) += 1;
                }
            }
        }
        (imports, exports)
    }
}

// === impl Entry ===

impl Entry {
    /// Cuts the connection; false when it was cut already.
    pub(crate) fn cut(&self, why: End) -> bool {
        let first = self.why.set(why).is_ok();
        self.cut.notify_one();
        first
    }

    /// Waits until the connection is cut.
    pub(crate) async fn until_cut(&self) -> End {
        loop {
            if let Some(why) = self.why.get() {
                return *why;
            }
            self.cut.notified().await;
        }
    }

    /// What a decision about the connection looks at.
    #[must_use]
    pub(crate) const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The bytes to and from the other gateway so far.
    #[must_use]
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (
            self.to_peer.load(Ordering::Relaxed),
            self.from_peer.load(Ordering::Relaxed),
        )
    }
}
