//! The objects of a kind, as a watch shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt as _;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt as _};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The namespace and name of an object; no namespace of a cluster-scoped one.
pub type Name = (Option<String>, String);

/// How long one watch lasts before it is begun anew: a connection that died without a word is
/// noticed five seconds later.
pub const WATCH_SECONDS: u32 = 240;

/// The objects of a kind, as a watch shows them; kept up to date by a task.
pub struct Cache<T> {
    what: &'static str,
    objects: RwLock<BTreeMap<Name, Arc<T>>>,
    is_synced: watch::Sender<bool>,
    subscribers: Mutex<Vec<Arc<Dirty>>>,
}

/// The names of objects that changed since they were last asked for.
///
/// It is bounded by the number of names, however often each of them changes.
#[derive(Debug)]
pub struct Changes(Arc<Dirty>);

#[derive(Debug, Default)]
struct Dirty {
    names: Mutex<BTreeSet<Name>>,
    notify: Notify,
}

// === impl Cache ===

impl<T: Send + Sync + 'static> Cache<T> {
    /// Watches what `api` and `config` select; `what` names it in the log, and `convert` keeps of
    /// each object what is needed.
    ///
    /// The task ends when `cancelled` is, or when nobody has the cache any more.
    pub fn watch<K>(
        what: &'static str,
        api: Api<K>,
        config: watcher::Config,
        convert: impl Fn(K) -> T + Send + Sync + 'static,
        tasks: &TaskTracker,
        cancelled: CancellationToken,
    ) -> Arc<Self>
    where
        K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
    {
        let cache = Arc::new(Self {
            what,
            objects: RwLock::default(),
            is_synced: watch::Sender::new(false),
            subscribers: Mutex::default(),
        });
        let weak = Arc::downgrade(&cache);
        let config = match config.timeout {
            Some(_) => config,
            None => config.timeout(WATCH_SECONDS),
        };
        tasks.spawn(async move {
            let events = watcher(api, config).default_backoff();
            let follow = async {
                let mut events = pin!(events);
                let mut fresh = BTreeMap::new();
                while let Some(event) = events.next().await {
                    let Some(cache) = weak.upgrade() else { return };
                    match event {
                        Ok(event) => cache.take(event, &mut fresh, &convert),
                        // The watcher begins anew, after a wait that grows.
                        Err(error) => tracing::warn!(what, %error, "a watch failed"),
                    }
                }
            };
            cancelled.run_until_cancelled(Box::pin(follow)).await;
        });
        cache
    }

    /// An object by its name.
    #[must_use]
    pub fn find(&self, namespace: Option<&str>, name: &str) -> Option<Arc<T>> {
        let name = (namespace.map(str::to_owned), name.to_owned());
        self.objects.read().get(&name).cloned()
    }

    /// All objects, in the order of their names.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<T>> {
        self.objects.read().values().cloned().collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.read().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the whole list was seen once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.is_synced.borrow()
    }

    /// Waits until the whole list was seen once.
    pub async fn synced(&self) {
        // The sender lives in the cache.
        let _ = self.is_synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// What changes from now on; at first, everything that is there.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let dirty = Arc::new(Dirty::default());
        // Known first, so that nothing falls between.
        self.subscribers.lock().push(Arc::clone(&dirty));
        dirty.add(self.objects.read().keys().cloned());
        Changes(dirty)
    }

    /// Takes an object that a write gave back, so that what was just written is seen at once.
    ///
    /// `is_newer` is asked with the object that is there: the watch may have been quicker.
    pub fn put(&self, name: Name, object: T, is_newer: impl FnOnce(&T) -> bool) {
        let mut objects = self.objects.write();
        if objects.get(&name).is_none_or(|old| is_newer(old)) {
            objects.insert(name, Arc::new(object));
        }
    }

    /// Forgets an object that a write removed; `is_it` is asked with the object that is there.
    pub fn remove(&self, name: &Name, is_it: impl FnOnce(&T) -> bool) {
        let mut objects = self.objects.write();
        if objects.get(name).is_some_and(|old| is_it(old)) {
            objects.remove(name);
        }
    }

    fn take<K: Resource>(
        &self,
        event: Event<K>,
        fresh: &mut BTreeMap<Name, Arc<T>>,
        convert: &impl Fn(K) -> T,
    ) {
        let name = |object: &K| (object.namespace(), object.name_any());
        match event {
            Event::Init => fresh.clear(),
            Event::InitApply(object) => {
                fresh.insert(name(&object), Arc::new(convert(object)));
            }
            Event::InitDone => {
                let fresh = std::mem::take(fresh);
                let mut names: BTreeSet<_> = fresh.keys().cloned().collect();
                let old = std::mem::replace(&mut *self.objects.write(), fresh);
                names.extend(old.into_keys());
                self.tell(names);
                if !self.is_synced.send_replace(true) {
                    tracing::debug!(what = self.what, objects = self.len(), "watched");
                }
            }
            Event::Apply(object) => {
                let name = name(&object);
                let object = Arc::new(convert(object));
                self.objects.write().insert(name.clone(), object);
                self.tell([name].into());
            }
            Event::Delete(object) => {
                let name = name(&object);
                self.objects.write().remove(&name);
                self.tell([name].into());
            }
        }
    }

    fn tell(&self, names: BTreeSet<Name>) {
        let mut subscribers = self.subscribers.lock();
        subscribers.retain(|dirty| Arc::strong_count(dirty) > 1);
        for dirty in subscribers.iter() {
            dirty.add(names.iter().cloned());
        }
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({})", self.what)
    }
}

// === impl Changes ===

impl Changes {
    /// Waits for a change, and takes the names of everything that changed.
    pub async fn next(&mut self) -> BTreeSet<Name> {
        loop {
            let waiting = self.0.notify.notified();
            let names = std::mem::take(&mut *self.0.names.lock());
            if !names.is_empty() {
                return names;
            }
            waiting.await;
        }
    }
}

// === impl Dirty ===

impl Dirty {
    fn add(&self, names: impl Iterator<Item = Name>) {
        self.names.lock().extend(names);
        self.notify.notify_one();
    }
}
