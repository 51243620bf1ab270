//! Where what is in force is kept: the seam between the reconciler and a host or a cluster.

mod file;
pub mod kubernetes;
mod local;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use fabric::fabric::Good;
use fabric::name::{ObjectKey, PeerName};
use fabric::origin::{Origin, Revision};
use fabric::plan::Plan;

pub use fabric::gate::Approvals;

pub use self::kubernetes::Kubernetes;
pub use local::Local;

/// What is to be in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The revision of the repository that this was made from.
    pub revision: Revision,
    /// The objects of the peer; none takes everything out of force, as when the peer was removed.
    pub plan: Option<Plan>,
    /// Where each part of the fabric was last good.
    pub good: Good,
}

/// What an [`apply`](Store::apply) did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The objects that weren't in force before.
    pub added: Vec<ObjectKey>,
    /// The objects whose content is another one.
    pub changed: Vec<ObjectKey>,
    /// The objects that are no longer in force.
    pub removed: Vec<ObjectKey>,
    /// How many objects stay as they are.
    pub unchanged: usize,
    /// How many objects stay because their deletion isn't approved.
    pub blocked: usize,
    /// Whether anything was written.
    pub is_written: bool,
}

/// The store failed: what was in force before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or directory of the state can't be read or written.
    #[error("can't {operation} {}", path.display())]
    File {
        /// What was to be done.
        operation: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has the state directory.
    #[error("the state directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The state is another peer's.
    #[error("the state directory {} belongs to the peer {owner}, not to {peer}", path.display())]
    OtherPeer {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: PeerName,
        /// Who wants it.
        peer: PeerName,
    },
    /// The plan can't be written as JSON.
    #[error("can't encode the state")]
    Encode(#[source] serde_json::Error),
    /// The task that writes was lost.
    #[error("the state's writer ended early")]
    Lost(#[source] tokio::task::JoinError),
    /// The cluster can't be written to.
    #[error("can't bring the plan into force in the cluster")]
    Cluster(#[source] crate::kubernetes::write::RequestError),
    /// The store was closed before it was ready.
    #[error("the store was closed")]
    Closed,
}

/// Where what is in force is kept, and from where it is handed out.
///
/// It isn't a set of single objects to create, change and delete: what is to be done with each of
/// them was decided purely, before, and a store brings a whole plan into force.
pub trait Store: Send + Sync + 'static {
    /// Brings a plan into force; an equal one changes and writes nothing.
    ///
    /// An object whose content stays keeps its origin: the place where its content last changed.
    fn apply(
        &self,
        desired: Desired,
        approvals: Approvals,
    ) -> impl Future<Output = Result<Report, StoreError>> + Send;

    /// What is in force.
    fn in_force(&self) -> Option<Arc<Desired>>;

    /// The objects in force and where each of them comes from.
    fn inventory(&self) -> BTreeMap<ObjectKey, Origin> {
        let in_force = self.in_force();
        let plan = in_force.iter().filter_map(|desired| desired.plan.as_ref());
        plan.flat_map(|plan| &plan.objects)
            .map(|planned| (planned.key.clone(), planned.origin.clone()))
            .collect()
    }
}

impl<S: Store> Store for Arc<S> {
    fn apply(
        &self,
        desired: Desired,
        approvals: Approvals,
    ) -> impl Future<Output = Result<Report, StoreError>> + Send {
        S::apply(self, desired, approvals)
    }

    fn in_force(&self) -> Option<Arc<Desired>> {
        S::in_force(self)
    }
}

// === impl Desired ===

impl Desired {
    /// The same with the old origin of every object whose content is the old one, and what it
    /// comes to.
    fn after(mut self, before: Option<&Self>) -> (Self, Report) {
        let mut old: BTreeMap<_, _> = before
            .and_then(|before| before.plan.as_ref())
            .map(|plan| plan.objects.iter().map(|object| (&object.key, object)))
            .into_iter()
            .flatten()
            .collect();
        let mut report = Report::default();
        for planned in self.plan.iter_mut().flat_map(|plan| &mut plan.objects) {
            match old.remove(&planned.key) {
                None => report.added.push(planned.key.clone()),
                Some(old) if old.object == planned.object => {
                    report.unchanged += 1;
                    planned.origin = old.origin.clone();
                }
                Some(_) => report.changed.push(planned.key.clone()),
            }
        }
        report.removed = old.into_keys().cloned().collect();
        (self, report)
    }
}
