//! A round: what is to be done is decided once, done in order, and said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fabric::digest::Digest;
use fabric::name::ObjectKey;
use fabric::plan::action::{self, Actions, Live, Owner, Phase, Rules, Standing, Wanted};
use futures::StreamExt as _;
use futures::stream;
use tokio::time::Instant;

use super::send::{Done, Undone, reference, shown};
use super::state::Listed;
use super::{Approvals, Desired, Goal, Kubernetes, Memory, Report, StoreStatus, Trouble};
use crate::kubernetes::brake::Verdict;
use crate::kubernetes::object::LiveObject;
use crate::kubernetes::write::{Failure, RequestError};
use crate::metrics::{Applied, ObjectState};

/// So many tasks are looked at side by side; the throttle says how many of them send.
const PARALLEL: usize = 64;
/// The first wait after a failure; it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait after a failure that passes by itself: a namespace or a right that comes is
/// noticed within that time.
const LONGEST_RETRY: Duration = Duration::from_secs(15);
/// The longest wait after the server refused an object: only its schema or a webhook can change that.
const LONGEST_REFUSAL: Duration = Duration::from_secs(300);
/// So many events of one reason in one round; one more says how many others there are.
const TOLD: usize = 10;

/// Something to be done with one object.
#[derive(Debug)]
struct Task {
    key: ObjectKey,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Apply {
        listed: Option<Digest>,
        is_drift: bool,
    },
    Delete,
}

/// What a round came to.
#[derive(Debug, Default)]
struct Outcome {
    report: Report,
    failure: Option<RequestError>,
    /// How many events of each reason there were.
    told: BTreeMap<&'static str, usize>,
}

// === impl Kubernetes ===

impl Kubernetes {
    /// Brings a plan into force.
    pub(super) async fn round(
        &self,
        mut desired: Desired,
        approvals: Approvals,
    ) -> Result<Report, RequestError> {
        let _turn = self.turn.lock().await;
        let live = self.live(&self.listed());
        let before = self.memory.lock().goal.clone();
        let before = before.as_ref().and_then(|before| before.wanted.as_ref());
        let wanted = desired.plan.as_mut().map(|plan| {
            let objects = std::mem::take(&mut plan.objects);
            Wanted::of(objects, &live, before)
        });
        let goal = Arc::new(Goal {
            desired,
            wanted,
            approvals,
        });
        let before = {
            let mut memory = self.memory.lock();
            memory.term = self.leadership.term();
            memory.goal.replace(Arc::clone(&goal))
        };
        // What was refused is tried at once where it is another object now.
        if let Some(before) = before {
            self.memory.lock().troubles.retain(|key, _| {
                let content = |goal: &Goal| {
                    let wanted = goal.wanted.as_ref()?.get(key)?;
                    Some(wanted.content)
                };
                content(&before) == content(&goal)
            });
        }
        self.pass(&goal, true).await
    }

    /// Compares, and does what is to be done and due; everything where `is_new`.
    ///
    /// Whoever calls it has the turn.
    pub(super) async fn pass(
        &self,
        goal: &Arc<Goal>,
        is_new: bool,
    ) -> Result<Report, RequestError> {
        self.throttle.begin();
        let listed = self.listed();
        let live = self.live(&listed);
        let rules = self.rules(goal);
        let actions = action::actions(goal.wanted.as_ref(), &live, &rules);
        let tasks = self.tasks(goal, &actions, &live, &listed, is_new);
        let mut outcome = Outcome::default();
        outcome.report.unchanged = actions.unchanged;
        outcome.report.blocked = actions.blocked.len();
        // For the events: who changed a few objects is asked for, who changed all of them isn't.
        let all = tasks.values().flatten();
        let drift = all.filter(|task| matches!(task.what, What::Apply { is_drift: true, .. }));
        let asks = drift.count() <= TOLD;
        for (_, tasks) in tasks {
            self.run(goal, tasks, asks, &mut outcome).await;
            if outcome.failure.is_some() {
                break;
            }
        }
        for (reason, count) in &outcome.told {
            if *count > TOLD {
                let note = format!("{} more objects: {reason}", count - TOLD);
                self.teller.note_of_sync(reason, note);
            }
        }
        self.forget(goal, &actions);
        let result = match outcome.failure {
            Some(error) => Err(error),
            // What it says now is newer than what is wanted here.
            None if !is_new && self.has_another_led() => Ok(false),
            None => self.conclude(goal, &listed, &actions).await,
        };
        if let Ok(is_written) = &result {
            let report = &outcome.report;
            let sets = [&report.added, &report.changed, &report.removed];
            outcome.report.is_written = *is_written || sets.iter().any(|set| !set.is_empty());
        }
        self.metrics.set_reachable(!self.throttle.is_down());
        self.tell(&actions, result.is_ok());
        result.map(|_| outcome.report)
    }

    pub(super) fn live_of(&self, object: &LiveObject, listed: Option<Digest>) -> Live {
        let content = object.content();
        let owner = match object.meta.owner(&self.label) {
            // Another FabricSync takes nothing that is ours: somebody wrote its label there.
            Owner::Nobody | Owner::Other(_) if content.is_some() && listed.is_some() => {
                Owner::Unmarked
            }
            owner => owner,
        };
        Live {
            owner,
            object: object.object.as_ref().ok().cloned(),
            effect: object.effect(),
            content,
            origin: object.origin(),
            is_terminating: object.meta.is_terminating,
            listed,
        }
    }

    fn rules(&self, goal: &Goal) -> Rules {
        let settings = self.settings.read();
        let plan = goal.desired.plan.as_ref();
        let repository = plan.map(|plan| plan.state.prune.clone());
        Rules {
            prune: settings.prune.clone().or(repository).unwrap_or_default(),
            approved: goal.approvals.prune,
            adoption: settings.adoption,
        }
    }

    fn tasks(
        &self,
        goal: &Goal,
        actions: &Actions,
        live: &BTreeMap<ObjectKey, Live>,
        listed: &Listed,
        is_new: bool,
    ) -> BTreeMap<Phase, Vec<Task>> {
        let now = Instant::now();
        let mut memory = self.memory.lock();
        let mut tasks: BTreeMap<Phase, Vec<Task>> = BTreeMap::new();
        let is_due = |memory: &Memory, key: &ObjectKey| {
            let trouble = memory.troubles.get(key);
            is_new || trouble.is_none_or(|trouble| trouble.due <= now)
        };
        let kinds = [&actions.create, &actions.update, &actions.adopt];
        for key in kinds.into_iter().flatten() {
            let Some(wanted) = goal.wanted.as_ref().and_then(|wanted| wanted.get(key)) else {
                continue;
            };
            if !is_due(&memory, key) {
                continue;
            }
            let live = live.get(key);
            let in_force = listed.as_ref().and_then(|listed| listed.get(key)).copied();
            let was_met = memory.met.get(key) == Some(&wanted.content);
            let is_drift = match live {
                Some(live) if live.owner == Owner::Nobody => false,
                Some(live) => was_met || live.content == Some(wanted.content),
                None => was_met || in_force == Some(wanted.effect),
            };
            // What failed before isn't corrected again and again, but tried again.
            let has_failed = memory
                .troubles
                .get(key)
                .is_some_and(|trouble| trouble.attempts > 0);
            if is_drift && !has_failed && self.is_braked(&mut memory, key) {
                continue;
            }
            let task = Task {
                key: key.clone(),
                what: What::Apply {
                    listed: in_force,
                    is_drift,
                },
            };
            let phase = Phase::of(key, Some(&wanted.planned.object), live);
            tasks.entry(phase).or_default().push(task);
        }
        for key in &actions.delete {
            if is_due(&memory, key) {
                let phase = Phase::of(key, None, live.get(key));
                let task = Task {
                    key: key.clone(),
                    what: What::Delete,
                };
                tasks.entry(phase).or_default().push(task);
            }
        }
        tasks
    }

    /// Whether somebody fights over an object, so that it is left alone for now.
    fn is_braked(&self, memory: &mut Memory, key: &ObjectKey) -> bool {
        let verdict = memory
            .brakes
            .entry(key.clone())
            .or_default()
            .ask(Instant::now());
        let Verdict::Hold { until, is_new } = verdict else {
            return false;
        };
        let message = "another writer keeps changing it".to_owned();
        if is_new {
            self.metrics.note_drift(key.kind, false);
            let note = format!("{message}: it is corrected less often from now on");
            match self.objects.find(key) {
                Some(live) => self.teller.warn(reference(&live), "Fighting", note),
                None => {
                    let note = format!("{key}: {note}");
                    self.teller.warn_of_sync("Fighting", note);
                }
            }
        }
        let trouble = Trouble {
            message,
            failure: Failure::Conflict,
            attempts: 0,
            due: until,
        };
        memory.troubles.insert(key.clone(), trouble);
        true
    }

    async fn run(&self, goal: &Goal, tasks: Vec<Task>, asks: bool, outcome: &mut Outcome) {
        let run = |task: Task| async move {
            let began = Instant::now();
            let result = self.perform(goal, &task, asks).await;
            self.metrics.note_apply(began.elapsed());
            (task.key, result)
        };
        let mut results = stream::iter(tasks).map(run).buffer_unordered(PARALLEL);
        while let Some((key, result)) = results.next().await {
            match result {
                Ok((done, drift)) => {
                    if let (Some(drift), Some(live)) = (drift, self.objects.find(&key)) {
                        self.metrics.note_drift(key.kind, true);
                        self.status.send_modify(|status| {
                            status.corrected = status.corrected.saturating_add(1);
                        });
                        if outcome.may_tell("DriftCorrected") {
                            self.teller.warn(reference(&live), "DriftCorrected", drift);
                        }
                    }
                    let wanted = goal.wanted.as_ref();
                    let is_wanted = wanted.is_some_and(|wanted| wanted.contains_key(&key));
                    self.note_done(&key, is_wanted, done, outcome);
                }
                Err(undone) => self.note_undone(&key, undone, outcome),
            }
        }
    }

    /// Does it; what somebody had changed is said too.
    async fn perform(
        &self,
        goal: &Goal,
        task: &Task,
        asks: bool,
    ) -> Result<(Done, Option<String>), Undone> {
        if self.throttle.is_down() {
            return Err(Undone::Down);
        }
        let wanted = goal.wanted.as_ref();
        let wanted = wanted.and_then(|wanted| wanted.get(&task.key));
        match (task.what, wanted) {
            (What::Apply { listed, is_drift }, Some(wanted)) if is_drift => {
                return self.correct(wanted, listed, asks).await;
            }
            (What::Apply { listed, .. }, Some(wanted)) => self.put_in_force(wanted, listed).await,
            (What::Apply { .. }, None) => Ok(Done::Nothing),
            (What::Delete, _) => self.take_out(&task.key, goal).await,
        }
        .map(|done| (done, None))
    }

    /// Puts an object back as it was, and says who changed what.
    async fn correct(
        &self,
        wanted: &Wanted,
        listed: Option<Digest>,
        asks: bool,
    ) -> Result<(Done, Option<String>), Undone> {
        let key = &wanted.planned.key;
        let before = self.objects.find(key);
        let (fields, writer) = match &before {
            Some(before) => {
                let fields = self.differences(wanted, before);
                let writer = match asks {
                    true => self.last_writer(before, &fields).await,
                    false => None,
                };
                (fields, writer)
            }
            None => (BTreeSet::new(), None),
        };
        let done = self.put_in_force(wanted, listed).await?;
        if done == Done::Nothing || done == Done::Terminating {
            return Ok((done, None));
        }
        let note = if before.is_some() {
            let writer = writer.as_deref().unwrap_or("somebody");
            format!("{writer} changed {}", shown(&fields))
        } else {
            "somebody deleted it".to_owned()
        };
        tracing::info!(object = %key, note, "drift is corrected");
        Ok((done, Some(note)))
    }

    fn note_done(&self, key: &ObjectKey, is_wanted: bool, done: Done, outcome: &mut Outcome) {
        let applied = match done {
            Done::Nothing => None,
            Done::Created => Some(Applied::Created),
            Done::Updated => Some(Applied::Updated),
            Done::Adopted => Some(Applied::Adopted),
            Done::Deleted => Some(Applied::Deleted),
            // Once it is gone, nobody looks.
            Done::Terminating => (!is_wanted).then_some(Applied::Deleted),
        };
        if let Some(applied) = applied {
            self.metrics.note_applied(key.kind, applied);
        }
        let report = &mut outcome.report;
        match done {
            Done::Nothing => {}
            Done::Created => report.added.push(key.clone()),
            Done::Updated => report.changed.push(key.clone()),
            Done::Deleted | Done::Terminating if !is_wanted => {
                report.removed.push(key.clone());
            }
            Done::Deleted | Done::Terminating => {}
            Done::Adopted => {
                report.added.push(key.clone());
                if let Some(live) = self.objects.find(key)
                    && outcome.may_tell("Adopted")
                {
                    let note = "it was there before, and is the repository's from now on";
                    self.teller
                        .note(reference(&live), "Adopted", note.to_owned());
                }
            }
        }
        let mut memory = self.memory.lock();
        memory.troubles.remove(key);
        memory.told.remove(key);
    }

    fn note_undone(&self, key: &ObjectKey, undone: Undone, outcome: &mut Outcome) {
        let (message, failure) = match &undone {
            Undone::Refused(refusal) => (refusal.to_string(), Failure::Refused),
            Undone::Request(error) => (error.reason(), error.failure),
            Undone::Otherwise(fields) => (
                format!("the server keeps {fields} otherwise"),
                Failure::Refused,
            ),
            Undone::Down => ("the server doesn't answer".to_owned(), Failure::Unavailable),
        };
        if let Undone::Request(error) = undone {
            tracing::warn!(object = %key, reason = message, "an object can't be dealt with: {error}");
            // Nothing can be written now: what is left waits for the next round.
            if failure == Failure::NotLeader || self.throttle.is_down() {
                outcome.failure.get_or_insert(error);
            }
        }
        self.metrics.note_applied(key.kind, Applied::Failed);
        let mut memory = self.memory.lock();
        let before = memory.troubles.get(key);
        let attempts = before.map_or(0, |before| before.attempts).saturating_add(1);
        let trouble = Trouble {
            message,
            failure,
            attempts,
            due: Instant::now() + wait(failure, attempts),
        };
        memory.troubles.insert(key.clone(), trouble);
    }

    /// Forgets the troubles of what is no longer to be done.
    fn forget(&self, goal: &Goal, actions: &Actions) {
        let now = Instant::now();
        let mut memory = self.memory.lock();
        let sets = [
            &actions.create,
            &actions.update,
            &actions.adopt,
            &actions.delete,
        ];
        let is_pending = |key: &ObjectKey| sets.iter().any(|set| set.contains(key));
        memory.troubles.retain(|key, _| is_pending(key));
        memory
            .told
            .retain(|key, _| is_pending(key) || actions.refused.contains_key(key));
        let is_wanted = |key: &ObjectKey| {
            let wanted = goal.wanted.as_ref();
            wanted.is_some_and(|wanted| wanted.contains_key(key))
        };
        memory
            .brakes
            .retain(|key, brake| is_wanted(key) && !brake.is_idle(now));
    }

    /// Writes the FabricState, and remembers what is in force; whether it was written.
    async fn conclude(
        &self,
        goal: &Arc<Goal>,
        listed: &Listed,
        actions: &Actions,
    ) -> Result<bool, RequestError> {
        let live = self.live(listed);
        let lost = self.lost(actions);
        // Without a FabricState, what is held back is in force as it lives.
        let held = || {
            let held = actions.blocked.iter();
            held.filter_map(|key| Some((key.clone(), live.get(key)?.effect?)))
        };
        let listed = listed.clone().unwrap_or_else(|| held().collect());
        let standing = Standing {
            live: &live,
            listed: &listed,
            blocked: &actions.blocked,
            lost: &lost,
        };
        let (objects, is_written) = self.write_state(goal, standing).await?;
        self.memory.lock().met = goal
            .wanted
            .iter()
            .flatten()
            .filter(|(key, wanted)| live.get(*key).is_some_and(|live| wanted.is_met_by(live)))
            .map(|(key, wanted)| (key.clone(), wanted.content))
            .collect();
        let revision = Some(goal.desired.revision.clone());
        self.status.send_if_modified(|status| {
            let is_other = status.revision != revision || status.objects != objects;
            status.revision = revision;
            status.objects = objects;
            is_other
        });
        Ok(is_written)
    }

    /// What can't be put back.
    fn lost(&self, actions: &Actions) -> BTreeSet<ObjectKey> {
        let memory = self.memory.lock();
        let finally = memory.troubles.iter();
        let finally = finally.filter(|(_, trouble)| trouble.is_final());
        let finally = finally.map(|(key, _)| key);
        finally.chain(actions.refused.keys()).cloned().collect()
    }

    /// Says how it stands: in the status, and in events what is new.
    fn tell(&self, actions: &Actions, is_concluded: bool) {
        let now = Instant::now();
        let mut memory = self.memory.lock();
        let mut refused: BTreeMap<ObjectKey, (String, bool)> = actions
            .refused
            .iter()
            .map(|(key, refusal)| (key.clone(), (refusal.to_string(), true)))
            .collect();
        refused.extend(
            memory
                .troubles
                .iter()
                .map(|(key, trouble)| (key.clone(), (trouble.message.clone(), trouble.is_final()))),
        );
        let mut left = TOLD;
        for (key, (message, is_final)) in &refused {
            if *is_final && left > 0 && memory.told.get(key) != Some(message) {
                left -= 1;
                memory.told.insert(key.clone(), message.clone());
                match self.objects.find(key) {
                    Some(live) => {
                        self.teller
                            .warn(reference(&live), "Refused", message.clone());
                    }
                    None => {
                        let note = format!("{key}: {message}");
                        self.teller.warn_of_sync("Refused", note);
                    }
                }
            }
        }
        let fights = memory.brakes.values();
        let fights = fights.filter(|brake| brake.is_fighting(now)).count();
        drop(memory);
        let is_ours = |live: &Arc<LiveObject>| live.meta.owner(&self.label) == Owner::Us;
        let terminating: Vec<ObjectKey> = self
            .objects
            .all()
            .filter(|live| live.meta.is_terminating && is_ours(live))
            .map(|live| live.key.clone())
            .collect();
        let blocked: Vec<ObjectKey> = actions.blocked.iter().cloned().collect();
        let metrics = &self.metrics;
        metrics.set_fights(fights);
        metrics.set_objects(ObjectState::Refused, refused.keys().map(|key| key.kind));
        metrics.set_objects(ObjectState::Blocked, blocked.iter().map(|key| key.kind));
        metrics.set_objects(
            ObjectState::Terminating,
            terminating.iter().map(|key| key.kind),
        );
        let is_news = self.status.borrow().blocked != blocked;
        if is_news && !blocked.is_empty() {
            let count = blocked.len();
            let note = format!(
                "{count} objects stay although the repository has them no more: that many at once \
                 are approved by a commit with the trailer 'Weft-Approve: prune={count}'"
            );
            self.teller.warn_of_sync("PruneBlocked", note);
        }
        self.status.send_if_modified(|status| {
            let after = StoreStatus {
                is_complete: is_concluded && refused.is_empty() && terminating.is_empty(),
                refused: refused
                    .into_iter()
                    .map(|(key, (message, _))| (key, message))
                    .collect(),
                blocked,
                terminating,
                fights,
                ..status.clone()
            };
            let is_other = *status != after;
            *status = after;
            is_other
        });
    }
}

// === impl Outcome ===

impl Outcome {
    /// Counts an event, and says whether it is one of the first few of its reason.
    fn may_tell(&mut self, reason: &'static str) -> bool {
        let count = self.told.entry(reason).or_default();
        *count += 1;
        *count <= TOLD
    }
}

// === impl Trouble ===

impl Trouble {
    /// Whether the server won't have the object, as long as somebody doesn't change something.
    const fn is_final(&self) -> bool {
        matches!(
            self.failure,
            Failure::Refused | Failure::Forbidden | Failure::NotFound
        )
    }
}

fn wait(failure: Failure, attempts: u32) -> Duration {
    let longest = match failure {
        Failure::Refused => LONGEST_REFUSAL,
        _ => LONGEST_RETRY,
    };
    let doubled = FIRST_RETRY.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    let wait = doubled.min(longest);
    wait.mul_f64(rand::Rng::random_range(&mut rand::rng(), 0.75..=1.0))
}
