//! The work queue every reconcile loop runs on: keys, when they are due, and what happened last time.
//!
//! [`Queue`] is the pure core; [`WorkQueue`] adds waiting and running. Semantics follow client-go's
//! `util/workqueue`, with a total order in place of chance.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use controller_ports::{Clock, Entropy};
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use tokio::sync::Notify;

use crate::Shutdown;

/// What came of one run of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing left to do until the key is added again.
    Done,
    /// Nothing wrong; look again after this time.
    RequeueAfter(Duration),
    /// Something went wrong; try again after an exponential back-off.
    Retry,
    /// Something went wrong; the other side said how long to wait.
    RetryAfter(Duration),
}

/// How a queue behaves; nothing has a default.
#[derive(Debug, Clone, Copy)]
pub struct QueueSettings {
    /// Keys that run at the same time.
    pub concurrency: usize,
    /// Back-off after the first failure; doubles with each further one.
    pub backoff_min: Duration,
    /// Longest back-off.
    pub backoff_max: Duration,
}

/// Keys of lower priority value run first among keys due at the same instant.
pub type Priority = i32;

/// When a waiting key runs, and in which order: by time, then priority, then arrival.
type Slot = (Duration, Priority, u64);

#[derive(Debug)]
enum State {
    Waiting(Slot),
    /// Running; `Some` when the key was added meanwhile and is to run again.
    Running(Option<(Duration, Priority)>),
    /// Neither; kept only for its count of failures.
    Idle,
}

#[derive(Debug)]
struct Entry {
    state: State,
    n_failures: u32,
}

/// The queue without time and tasks of its own. Times are those of a monotonic clock.
#[derive(Debug)]
pub struct Queue<K> {
    entries: BTreeMap<K, Entry>,
    waiting: BTreeMap<Slot, K>,
    n_running: usize,
    seq: u64,
    settings: QueueSettings,
    jitter: ChaCha8Rng,
}

impl<K: Ord + Clone> Queue<K> {
    /// An empty queue; back-offs draw their jitter from `jitter`.
    pub fn new(settings: QueueSettings, jitter: ChaCha8Rng) -> Self {
        Self {
            entries: BTreeMap::new(),
            waiting: BTreeMap::new(),
            n_running: 0,
            seq: 0,
            settings,
            jitter,
        }
    }

    /// Makes a key due at `due`. A key that waits already keeps the earlier of both times and the more
    /// urgent of both priorities; a key that runs, runs again afterwards.
    pub fn add(&mut self, key: K, due: Duration, priority: Priority) {
        let entry = self.entries.entry(key.clone()).or_insert(Entry {
            state: State::Idle,
            n_failures: 0,
        });
        match &mut entry.state {
            State::Running(again) => {
                let (again_due, again_priority) = again.get_or_insert((due, priority));
                *again_due = due.min(*again_due);
                *again_priority = priority.min(*again_priority);
            }
            State::Waiting(slot) => {
                let wanted = (due.min(slot.0), priority.min(slot.1), slot.2);
                if wanted != *slot {
                    self.waiting.remove(slot);
                    *slot = wanted;
                    self.waiting.insert(wanted, key);
                }
            }
            State::Idle => {
                self.seq += 1;
                let slot = (due, priority, self.seq);
                entry.state = State::Waiting(slot);
                self.waiting.insert(slot, key);
            }
        }
    }

    /// The next key that is due, now running; `None` when none is or too many run.
    pub fn pop(&mut self, now: Duration) -> Option<K> {
        if self.n_running >= self.settings.concurrency || self.next_due()? > now {
            return None;
        }
        let (_, key) = self.waiting.pop_first()?;
        let entry = self
            .entries
            .get_mut(&key)
            .expect("waiting keys have entries");
        entry.state = State::Running(None);
        self.n_running += 1;
        Some(key)
    }

    /// When the next key is due; `None` when none waits. May be in the past.
    pub fn next_due(&self) -> Option<Duration> {
        self.waiting.first_key_value().map(|((due, ..), _)| *due)
    }

    /// Whether another key may run.
    pub fn has_room(&self) -> bool {
        self.n_running < self.settings.concurrency
    }

    /// Ends the run of a key.
    pub fn finish(&mut self, key: &K, outcome: Outcome, now: Duration) {
        let entry = self
            .entries
            .get_mut(key)
            .expect("a key that runs has an entry");
        let State::Running(again) = std::mem::replace(&mut entry.state, State::Idle) else {
            unreachable!("only keys that run are finished");
        };
        self.n_running -= 1;
        let due = match outcome {
            Outcome::Done => None,
            Outcome::RequeueAfter(after) => Some(now + after),
            Outcome::Retry => {
                let backoff = self.settings.backoff(entry.n_failures);
                Some(now + jittered(backoff, &mut self.jitter))
            }
            Outcome::RetryAfter(after) => Some(now + after),
        };
        let is_failure = matches!(outcome, Outcome::Retry | Outcome::RetryAfter(_));
        entry.n_failures = if is_failure {
            entry.n_failures.saturating_add(1)
        } else {
            0
        };
        let is_forgotten = entry.n_failures == 0 && due.is_none() && again.is_none();
        if is_forgotten {
            self.entries.remove(key);
            return;
        }
        if let Some((again_due, priority)) = again {
            self.add(key.clone(), again_due, priority);
        }
        if let Some(due) = due {
            self.add(key.clone(), due, 0);
        }
    }

    /// Keys that wait or run.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key waits or runs.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys that run.
    pub fn n_running(&self) -> usize {
        self.n_running
    }

    /// Keys that wait and are due.
    pub fn n_due(&self, now: Duration) -> usize {
        self.waiting
            .range(..=(now, Priority::MAX, u64::MAX))
            .count()
    }

    /// Everything that waits, in the order it would run in.
    pub fn waiting(&self) -> impl Iterator<Item = (&K, Duration)> {
        self.waiting.iter().map(|((due, ..), key)| (key, *due))
    }

    /// Drops a key that waits, and its count of failures; a key that runs is not run again.
    pub fn forget(&mut self, key: &K) {
        match self.entries.get_mut(key).map(|entry| &mut entry.state) {
            Some(State::Running(again)) => *again = None,
            Some(State::Waiting(slot)) => {
                self.waiting.remove(slot);
                self.entries.remove(key);
            }
            Some(State::Idle) => {
                self.entries.remove(key);
            }
            None => {}
        }
    }
}

impl QueueSettings {
    /// Back-off after so many earlier failures in a row, without jitter.
    fn backoff(self, n_failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(n_failures).unwrap_or(u32::MAX);
        self.backoff_min
            .saturating_mul(factor.max(1))
            .min(self.backoff_max)
    }
}

/// Between half of the duration and all of it, in milliseconds: timers are no finer.
pub(crate) fn jittered(duration: Duration, rng: &mut ChaCha8Rng) -> Duration {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let half = millis / 2;
    Duration::from_millis(half + rng.next_u64() % (millis - half + 1))
}

/// A [`Queue`] that waits and runs. Clones are the same queue.
pub struct WorkQueue<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    name: &'static str,
    queue: Mutex<Queue<K>>,
    changed: Notify,
    clock: Arc<dyn Clock>,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K> fmt::Debug for WorkQueue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkQueue")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl<K: Ord + Clone> WorkQueue<K> {
    /// An empty queue. The name also names its stream of randomness, so it must be unique.
    pub fn new(
        name: &'static str,
        settings: QueueSettings,
        clock: Arc<dyn Clock>,
        entropy: &Entropy,
    ) -> Self {
        let jitter = entropy.child("queue").stream(name);
        let shared = Shared {
            name,
            queue: Mutex::new(Queue::new(settings, jitter)),
            changed: Notify::new(),
            clock,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Makes a key due now.
    pub fn add(&self, key: K) {
        self.add_after(key, Duration::ZERO);
    }

    /// Makes a key due after that time.
    pub fn add_after(&self, key: K, after: Duration) {
        self.add_with(key, after, 0);
    }

    /// Makes a key due after that time, with a priority.
    pub fn add_with(&self, key: K, after: Duration, priority: Priority) {
        let due = self.shared.clock.monotonic() + after;
        self.lock().add(key, due, priority);
        self.shared.changed.notify_one();
    }

    /// Drops what waits for a key.
    pub fn forget(&self, key: &K) {
        self.lock().forget(key);
    }

    /// Keys that wait or run.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no key waits or runs.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Queue<K>> {
        // The queue is consistent between its calls, whatever panicked elsewhere.
        self.shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs keys as they come due, each at most once at a time, until the signal to end is given;
    /// then keys that run are let finish and nothing new is begun.
    pub async fn run<F, R>(&self, shutdown: Shutdown, handler: F)
    where
        F: Fn(K) -> R,
        R: Future<Output = Outcome>,
    {
        let mut running = FuturesUnordered::new();
        while !shutdown.is_triggered() {
            let now = self.shared.clock.monotonic();
            while let Some(key) = self.pop(now) {
                let run = handler(key.clone());
                running.push(async move { (key, run.await) });
            }
            let (next_due, has_room) = {
                let queue = self.lock();
                (queue.next_due(), queue.has_room())
            };
            let timer = async {
                match next_due {
                    Some(due) if has_room => {
                        let wait = due.saturating_sub(self.shared.clock.monotonic());
                        self.shared.clock.sleep(wait).await;
                    }
                    _ => std::future::pending().await,
                }
            };
            let finished = async {
                match running.next().await {
                    Some(finished) => finished,
                    None => std::future::pending().await,
                }
            };
            let mut timer = std::pin::pin!(timer.fuse());
            let mut finished = std::pin::pin!(finished.fuse());
            let mut changed = std::pin::pin!(self.shared.changed.notified().fuse());
            let mut ending = std::pin::pin!(shutdown.wait().fuse());
            // Ends first, so that a freed place is seen before new work is picked.
            futures::select_biased! {
                (key, outcome) = finished => self.finish(&key, outcome),
                () = ending => {}
                () = changed => {}
                () = timer => {}
            }
        }
        while let Some((key, outcome)) = running.next().await {
            self.finish(&key, outcome);
        }
    }

    fn pop(&self, now: Duration) -> Option<K> {
        self.lock().pop(now)
    }

    fn finish(&self, key: &K, outcome: Outcome) {
        let now = self.shared.clock.monotonic();
        self.lock().finish(key, outcome, now);
    }
}

#[cfg(test)]
mod tests;
