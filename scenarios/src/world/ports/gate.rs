//! Counts what the controller does, and kills it where the run's plan says so.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use tokio::sync::Notify;

use crate::faults::ProcessFault;
use crate::world::ports::Target;

/// What goes wrong around a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The server never sees the write.
    Before,
    /// The server commits it; the controller never hears, and dies.
    After,
    /// The server commits it; the controller lives and hears that the connection broke.
    Ambiguous,
}

/// Kill the controller around its `write`-th write, counted from 1 over all incarnations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrashPoint {
    /// Which write.
    pub write: u64,
    /// On which side.
    pub moment: Moment,
}

/// Renewals of the lease that count as writes. The state between two renewals is the same for all
/// of them, so a few stand for the rest.
const RENEWALS_COUNTED: u64 = 2;

/// A death that the gate caused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    /// Whose.
    pub(crate) incarnation: String,
    /// And starts again after this long.
    pub(crate) restart_after: Duration,
    /// Whether it was at an await, not around a write.
    pub(crate) at_await: bool,
}

#[derive(Debug)]
struct PollPoint {
    task: String,
    poll: u64,
    restart_after: Duration,
    seen: AtomicU64,
}

/// Counts writes and polls of all incarnations, and kills at some of them.
#[derive(Debug, Default)]
pub struct WriteGate {
    writes: AtomicU64,
    renewals: AtomicU64,
    crashes: Vec<(CrashPoint, Duration)>,
    polls: Vec<PollPoint>,
    struck: Mutex<Struck>,
    /// Rung when the controller was killed here.
    pub crashed: Notify,
}

#[derive(Debug, Default)]
struct Struck {
    deaths: Vec<Death>,
    reached: BTreeSet<CrashPoint>,
}

impl WriteGate {
    /// A gate that kills at these points.
    pub fn new(crash: Option<(CrashPoint, Duration)>, process: &[ProcessFault]) -> Self {
        let mut gate = Self::default();
        gate.crashes.extend(crash);
        for fault in process {
            match fault {
                ProcessFault::CrashAtWrite {
                    write,
                    moment,
                    restart_after,
                } => {
                    let (write, moment) = (*write, *moment);
                    gate.crashes
                        .push((CrashPoint { write, moment }, *restart_after));
                }
                ProcessFault::CrashAtAwait {
                    task,
                    poll,
                    restart_after,
                } => gate.polls.push(PollPoint {
                    task: task.clone(),
                    poll: *poll,
                    restart_after: *restart_after,
                    seen: AtomicU64::new(0),
                }),
                ProcessFault::Pause { .. } | ProcessFault::Failover { .. } => {}
            }
        }
        gate
    }

    /// Writes so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Crash points that were reached.
    pub fn reached(&self) -> BTreeSet<CrashPoint> {
        self.lock().reached.clone()
    }

    /// Deaths that nobody has taken note of yet.
    pub(crate) fn take_deaths(&self) -> Vec<Death> {
        std::mem::take(&mut self.lock().deaths)
    }

    /// The number of this request among the writes, if it is one.
    pub(super) fn number(&self, target: Target, method: &Method, path: &str) -> Option<u64> {
        if !is_write(target, method, path) {
            return None;
        }
        let renewal = matches!(*method, Method::PUT | Method::PATCH) && path.contains("/leases/");
        if renewal && self.renewals.fetch_add(1, Ordering::Relaxed) >= RENEWALS_COUNTED {
            return None;
        }
        Some(self.writes.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Whether `incarnation` dies around this write; it is on the list of deaths then.
    pub(super) fn strikes(&self, write: Option<u64>, moment: Moment, incarnation: &str) -> bool {
        let hit = self
            .crashes
            .iter()
            .find(|(point, _)| Some(point.write) == write && point.moment == moment);
        let Some((point, restart_after)) = hit else {
            return false;
        };
        self.lock().reached.insert(*point);
        self.die(incarnation, *restart_after, false);
        true
    }

    /// Whether the answer to this write is lost on its way.
    pub(super) fn loses(&self, write: Option<u64>) -> bool {
        let mut points = self.crashes.iter().map(|(point, _)| point);
        let lost =
            points.find(|point| Some(point.write) == write && point.moment == Moment::Ambiguous);
        if let Some(point) = lost {
            self.lock().reached.insert(*point);
        }
        lost.is_some()
    }

    /// Whether `incarnation` dies before this poll of one of its tasks.
    pub(super) fn strikes_poll(&self, task: &str, incarnation: &str) -> bool {
        // Nearly always there is nothing to count.
        let concerned = self
            .polls
            .iter()
            .filter(|point| task.starts_with(&point.task));
        let mut dies = None;
        for point in concerned {
            if point.seen.fetch_add(1, Ordering::Relaxed) + 1 == point.poll {
                dies = Some(point.restart_after);
            }
        }
        if let Some(restart_after) = dies {
            self.die(incarnation, restart_after, true);
        }
        dies.is_some()
    }

    fn die(&self, incarnation: &str, restart_after: Duration, at_await: bool) {
        self.lock().deaths.push(Death {
            incarnation: incarnation.to_owned(),
            restart_after,
            at_await,
        });
        self.crashed.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Struck> {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a request may change something.
pub(crate) fn is_write(target: Target, method: &Method, path: &str) -> bool {
    match target {
        Target::Kube => {
            // Reviews are questions in the form of a POST.
            let question = path.ends_with("reviews");
            !question && !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        }
        // POST asks for tokens, queries the resource graph or lists keys.
        Target::Arm => matches!(*method, Method::PUT | Method::PATCH | Method::DELETE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_count_only_at_first() {
        let gate = WriteGate::default();
        let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/karpenter";
        let numbers: Vec<Option<u64>> = (0..4)
            .map(|_| gate.number(Target::Kube, &Method::PUT, path))
            .collect();
        assert_eq!(numbers, [Some(1), Some(2), None, None]);
        assert_eq!(gate.number(Target::Kube, &Method::GET, path), None);
        assert_eq!(
            gate.number(Target::Arm, &Method::POST, "/tenant/oauth2/v2.0/token"),
            None
        );
        assert_eq!(
            gate.number(Target::Arm, &Method::PUT, "/subscriptions/1"),
            Some(3)
        );
    }

    #[test]
    fn each_point_kills_once_and_is_remembered() {
        let restart_after = Duration::from_secs(5);
        let gate = WriteGate::new(
            None,
            &[
                ProcessFault::CrashAtWrite {
                    write: 2,
                    moment: Moment::After,
                    restart_after,
                },
                ProcessFault::CrashAtAwait {
                    task: "work".to_owned(),
                    poll: 3,
                    restart_after,
                },
            ],
        );
        assert!(!gate.strikes(Some(2), Moment::Before, "controller#1"));
        assert!(gate.strikes(Some(2), Moment::After, "controller#1"));
        let polls: Vec<bool> = (0..5)
            .map(|_| gate.strikes_poll("worker", "controller#2"))
            .collect();
        assert_eq!(polls, [false, false, true, false, false]);
        assert!(!gate.strikes_poll("main", "controller#2"));
        let deaths = gate.take_deaths();
        assert_eq!(deaths.len(), 2);
        assert!(deaths[1].at_await && deaths[1].incarnation == "controller#2");
        assert!(gate.take_deaths().is_empty());
        assert_eq!(gate.reached().len(), 1);
    }
}
