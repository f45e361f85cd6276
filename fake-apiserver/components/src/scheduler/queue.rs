//! Pods that wait (`pkg/scheduler/backend/queue`): active, backing off after an error, or
//! unschedulable until something changes for them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::backoff;
use super::shape::Shape;
use crate::object::Key;

/// The unschedulable pool is looked through this often.
const FLUSH_PERIOD_SECONDS: i64 = 30;

/// Why a pod goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Tried again after its backoff.
    Error,
    /// Tried again when an event might help.
    Unschedulable,
}

/// A pod that asks for a node.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) uid: String,
    pub(super) key: Key,
    pub(super) priority: i64,
    pub(super) generation: i64,
}

/// A pod without a node.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) uid: String,
    pub(super) key: Key,
    pub(super) shape: Arc<Shape>,
    pub(super) generation: i64,
    /// What its condition says.
    pub(super) message: Option<Arc<str>>,
    pub(super) failing_since: Option<Timestamp>,
    /// How often the message has been repeated, and the Event that said it last.
    pub(super) repeats: u32,
    pub(super) event_name: String,
    priority: i64,
    queued: Timestamp,
    sequence: u64,
    attempts: u32,
    /// Its timer, if one runs.
    due: Option<Timestamp>,
}

type Rank = (Reverse<i64>, Timestamp, u64, String);

impl Pending {
    fn rank(&self) -> Rank {
        (
            Reverse(self.priority),
            self.queued,
            self.sequence,
            self.uid.clone(),
        )
    }
}

/// All waiting pods.
#[derive(Debug)]
pub(super) struct Queue {
    flush_after: Duration,
    pods: BTreeMap<String, Pending>,
    active: BTreeSet<Rank>,
    /// Unschedulable pods by shape, so that one look at a shape serves all its pods.
    parked: BTreeMap<u64, (Arc<Shape>, BTreeSet<String>)>,
    /// When backing-off or long unschedulable pods are due.
    due: BTreeSet<(Timestamp, String)>,
    sequence: u64,
}

impl Queue {
    pub(super) fn new(flush_after: Duration) -> Self {
        Self {
            flush_after,
            pods: BTreeMap::new(),
            active: BTreeSet::new(),
            parked: BTreeMap::new(),
            due: BTreeSet::new(),
            sequence: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self {
            sequence: self.sequence,
            ..Self::new(self.flush_after)
        };
    }

    /// Takes a pod in. One that is known keeps its place unless its shape changed.
    pub(super) fn add(&mut self, now: Timestamp, arrival: Arrival, shape: Arc<Shape>) {
        let Arrival {
            uid,
            key,
            priority,
            generation,
        } = arrival;
        let known = self
            .pods
            .get(&uid)
            .is_some_and(|pod| Arc::ptr_eq(&pod.shape, &shape));
        if known {
            return;
        }
        let old = self.remove(&uid);
        self.sequence += 1;
        let pending = Pending {
            uid: uid.clone(),
            key,
            shape,
            generation,
            message: old.as_ref().and_then(|old| old.message.clone()),
            failing_since: old.as_ref().and_then(|old| old.failing_since),
            repeats: old.as_ref().map_or(0, |old| old.repeats),
            event_name: old
                .as_ref()
                .map_or_else(String::new, |old| old.event_name.clone()),
            priority,
            queued: now,
            sequence: self.sequence,
            attempts: 0,
            due: None,
        };
        self.active.insert(pending.rank());
        self.pods.insert(uid, pending);
    }

    pub(super) fn remove(&mut self, uid: &str) -> Option<Pending> {
        let pending = self.pods.remove(uid)?;
        self.active.remove(&pending.rank());
        self.unpark(&pending);
        Some(pending)
    }

    fn unpark(&mut self, pending: &Pending) {
        if let Some((_, uids)) = self.parked.get_mut(&pending.shape.id) {
            uids.remove(&pending.uid);
            if uids.is_empty() {
                self.parked.remove(&pending.shape.id);
            }
        }
        if let Some(at) = pending.due {
            self.due.remove(&(at, pending.uid.clone()));
        }
    }

    /// Whether no pod wants to be tried now.
    pub(super) fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// The best active pod; it leaves the queue.
    pub(super) fn pop(&mut self) -> Option<(String, Pending)> {
        let (.., uid) = self.active.pop_first()?;
        let mut pending = self.pods.remove(&uid)?;
        pending.attempts += 1;
        pending.due = None;
        Some((uid, pending))
    }

    /// Puts a pod back after a failed attempt.
    pub(super) fn park(&mut self, now: Timestamp, uid: &str, pending: Pending, failure: Failure) {
        let due = match failure {
            // The backoff queue is looked at every second.
            Failure::Error => next_multiple(now + backoff(pending.attempts), 1),
            Failure::Unschedulable => {
                let parked = self
                    .parked
                    .entry(pending.shape.id)
                    .or_insert_with(|| (Arc::clone(&pending.shape), BTreeSet::new()));
                parked.1.insert(uid.to_owned());
                next_multiple(now + self.flush_after, FLUSH_PERIOD_SECONDS)
            }
        };
        self.due.insert((due, uid.to_owned()));
        self.pods.insert(
            uid.to_owned(),
            Pending {
                due: Some(due),
                ..pending
            },
        );
    }

    /// Makes active the unschedulable pods of every shape that might now fit.
    ///
    /// They do not wait out their backoff: the backoff queue is popped when nothing else is
    /// active.
    pub(super) fn wake(&mut self, might_fit: impl Fn(&Shape) -> bool) {
        let woken: Vec<String> = self
            .parked
            .values()
            .filter(|(shape, _)| might_fit(shape))
            .flat_map(|(_, uids)| uids.iter().cloned())
            .collect();
        for uid in woken {
            self.activate(&uid);
        }
    }

    /// Makes active the pods whose time has come.
    pub(super) fn wake_due(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.due.first()
            && *at <= now
        {
            if let Some((_, uid)) = self.due.pop_first() {
                self.activate(&uid);
            }
        }
    }

    fn activate(&mut self, uid: &str) {
        let Some(pending) = self.pods.get(uid).cloned() else {
            return;
        };
        self.unpark(&pending);
        self.active.insert(pending.rank());
        if let Some(pending) = self.pods.get_mut(uid) {
            pending.due = None;
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }
}

/// The first multiple of some seconds after an instant.
fn next_multiple(after: Timestamp, seconds: i64) -> Timestamp {
    let multiple = (after.as_second().div_euclid(seconds) + 1) * seconds;
    Timestamp::from_second(multiple).unwrap_or(after + SignedDuration::from_secs(seconds))
}
