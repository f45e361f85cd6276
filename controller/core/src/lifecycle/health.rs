//! Whether a pool's launches become nodes, and how long the pool waits when they do not.
//!
//! The ring and its threshold are Karpenter's (`pkg/state/nodepoolhealth`); the back-off is ours:
//! upstream launches again at once, for ever.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::age::after;

/// Outcomes that are remembered; also what failures are divided by, however few there are.
const RING: usize = 4;
/// Failures among these that make a pool unhealthy.
const UNHEALTHY: usize = 2;
/// Wait after the first round of failures: about as long as one attempt takes.
const BACKOFF_FIRST: Duration = Duration::from_mins(1);
/// Longest wait: the time a registration may take, so that a fault that has ended costs no more.
const BACKOFF_MAX: Duration = super::REGISTRATION_TIMEOUT;

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationOutcome {
    /// Its node joined.
    Registered,
    /// It was given up.
    Failed {
        /// When the claim was created.
        created: Timestamp,
        /// Why, as one word (`WrongClusterCA`, …).
        cause: Arc<str>,
    },
}

/// What the last outcomes add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationStatus {
    /// Too little was seen.
    Unknown,
    /// Nodes register.
    Healthy,
    /// Half of the ring or more are failures.
    Unhealthy,
}

/// A pool's wait after failed registrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationBackoff {
    /// Rounds of failures in a row, from one.
    pub level: u32,
    /// Nothing is launched before this time; a whole second, as times of objects are.
    pub until: Timestamp,
    /// Why the last claim failed.
    pub cause: Arc<str>,
}

impl RegistrationBackoff {
    /// The wait that begins now, after so many rounds.
    pub fn begin(level: u32, cause: Arc<str>, now: Timestamp) -> Self {
        let doublings = level.saturating_sub(1).min(31);
        let wait = BACKOFF_FIRST
            .saturating_mul(1 << doublings)
            .min(BACKOFF_MAX);
        let end = after(now, wait);
        // Up, or a claim made at the end would seem to be of the round before.
        let seconds = end.as_second() + i64::from(end.subsec_nanosecond() > 0);
        Self {
            level,
            until: Timestamp::from_second(seconds).unwrap_or(end),
            cause,
        }
    }
}

/// What a pool may launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Whatever is needed.
    Open,
    /// One claim, to see whether its node registers.
    Probe,
    /// Nothing before this time; `None`: until the claim under way has registered or failed.
    Wait(Option<Timestamp>),
}

/// The memory of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrationHealth {
    /// Whether nodes registered, oldest first.
    ring: VecDeque<bool>,
    /// Failures since the last success.
    failures: u32,
    backoff: Option<RegistrationBackoff>,
}

impl RegistrationHealth {
    /// A pool that was seen to be healthy.
    pub fn healthy() -> Self {
        Self {
            ring: VecDeque::from([true]),
            ..Self::default()
        }
    }

    /// A pool that was seen to be unhealthy.
    pub fn unhealthy(backoff: Option<RegistrationBackoff>) -> Self {
        Self {
            ring: VecDeque::from([false; UNHEALTHY]),
            failures: u32::try_from(UNHEALTHY).unwrap_or(u32::MAX),
            backoff,
        }
    }

    /// Remembers an outcome.
    pub fn record(&mut self, outcome: RegistrationOutcome, now: Timestamp) {
        if self.ring.len() == RING {
            self.ring.pop_front();
        }
        match outcome {
            RegistrationOutcome::Registered => {
                self.ring.push_back(true);
                self.failures = 0;
                self.backoff = None;
            }
            RegistrationOutcome::Failed { created, cause } => {
                self.ring.push_back(false);
                self.failures = self.failures.saturating_add(1);
                self.back_off(created, cause, now);
            }
        }
    }

    fn back_off(&mut self, created: Timestamp, cause: Arc<str>, now: Timestamp) {
        let level = match &self.backoff {
            // One bad machine is no reason to wait.
            None if usize::try_from(self.failures).is_ok_and(|count| count < UNHEALTHY) => return,
            None => 1,
            // Claims that were made together fail together: that is one round.
            Some(known) if created < known.until => return,
            Some(known) => known.level.saturating_add(1),
        };
        self.backoff = Some(RegistrationBackoff::begin(level, cause, now));
    }

    /// What the last outcomes add up to.
    pub fn status(&self) -> RegistrationStatus {
        let failures = self.ring.iter().filter(|registered| !**registered).count();
        if failures >= UNHEALTHY {
            RegistrationStatus::Unhealthy
        } else if failures < self.ring.len() {
            RegistrationStatus::Healthy
        } else {
            RegistrationStatus::Unknown
        }
    }

    /// The wait that was imposed last, also when it is over; a success ends it.
    pub fn backoff(&self) -> Option<&RegistrationBackoff> {
        self.backoff.as_ref()
    }

    /// What the pool may launch. `in_flight`: one of its claims has not registered yet.
    pub fn admission(&self, in_flight: bool, now: Timestamp) -> Admission {
        match &self.backoff {
            None => Admission::Open,
            Some(backoff) if now < backoff.until => Admission::Wait(Some(backoff.until)),
            Some(_) if in_flight => Admission::Wait(None),
            Some(_) => Admission::Probe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number of seconds is a time")
    }

    fn failed(created: i64) -> RegistrationOutcome {
        RegistrationOutcome::Failed {
            created: at(created),
            cause: "WrongClusterCA".into(),
        }
    }

    #[test]
    fn one_failure_is_no_reason_to_wait_and_two_are() {
        let mut health = RegistrationHealth::default();
        assert_eq!(health.status(), RegistrationStatus::Unknown);
        health.record(failed(0), at(60));
        assert_eq!(health.status(), RegistrationStatus::Unknown);
        assert_eq!(health.admission(false, at(60)), Admission::Open);
        health.record(failed(60), at(120));
        assert_eq!(health.status(), RegistrationStatus::Unhealthy);
        let wait = Admission::Wait(Some(at(180)));
        assert_eq!(health.admission(false, at(120)), wait);
        assert_eq!(health.admission(false, at(180)), Admission::Probe);
        assert_eq!(health.admission(true, at(180)), Admission::Wait(None));
    }

    #[test]
    fn a_round_of_failures_counts_once_and_waits_double_up_to_a_bound() {
        let mut health = RegistrationHealth::default();
        for _ in 0..30 {
            health.record(failed(0), at(60));
        }
        let mut waits = Vec::new();
        for _ in 0..7 {
            let backoff = health.backoff().expect("it waits").clone();
            let began = backoff.until;
            health.record(failed(began.as_second()), at(began.as_second() + 50));
            let next = health.backoff().expect("it waits");
            waits.push(next.until.as_second() - began.as_second() - 50);
            assert_eq!(next.level, backoff.level + 1);
        }
        assert_eq!(waits, [120, 240, 480, 900, 900, 900, 900]);
    }

    #[test]
    fn a_success_ends_the_wait_although_the_ring_still_remembers() {
        let mut health = RegistrationHealth::unhealthy(None);
        health.record(failed(0), at(10));
        health.record(RegistrationOutcome::Registered, at(100));
        assert_eq!(health.admission(true, at(100)), Admission::Open);
        assert_eq!(health.status(), RegistrationStatus::Unhealthy);
        health.record(RegistrationOutcome::Registered, at(110));
        health.record(RegistrationOutcome::Registered, at(120));
        assert_eq!(health.status(), RegistrationStatus::Healthy);
        health.record(failed(100), at(130));
        assert_eq!(health.status(), RegistrationStatus::Healthy);
    }

    #[test]
    fn waits_end_at_whole_seconds() {
        let now = Timestamp::from_millisecond(1_250).expect("in range");
        assert_eq!(RegistrationBackoff::begin(1, "x".into(), now).until, at(62));
    }
}
