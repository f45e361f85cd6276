//! Draws faults for requests, by identity.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand_core::Rng;

use super::class::{Class, Verb};
use super::is_legal;
use super::kind::FaultKind;
use super::plan::{FaultPlan, Rule};
use crate::world::ports::Target;

/// Identities that are remembered for shrinking; a run with more is shrunk by rules first.
const INJECTED_MAX: usize = 10_000;

/// What befalls one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Which request: actor, server, verb, what it is about, and the how manyth of these.
    pub identity: String,
    /// Before the server sees it.
    pub before: Duration,
    /// Before its answer arrives.
    pub after: Duration,
    /// What happens to it.
    pub outcome: Outcome,
    /// For a watch that starts: what happens to its stream.
    pub stream: Stream,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// What the server makes of it.
    #[default]
    Served,
    /// The connection breaks before the server sees it.
    ResetBefore,
    /// The server does it; nobody hears.
    ResetAfter,
    /// The server does it; the answer is 504.
    TimeoutAfter,
    /// The server answers with this status and does nothing.
    Refused(u16),
    /// 429 with this many seconds to wait.
    Throttled(u64),
    /// An answer from this many changes ago.
    Stale(u64),
    /// The revision or page is gone.
    Expired,
}

/// What happens to the stream of a watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// It ends after this long.
    pub cut_after: Option<Duration>,
    /// Its events arrive this much later.
    pub delay: Option<Duration>,
    /// After each chunk nobody reads for this long.
    pub hold: Option<Duration>,
}

impl Stream {
    /// Whether it is left alone.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// A fault that was injected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Injected {
    /// Virtual time since the start.
    pub at: Duration,
    /// What.
    pub kind: FaultKind,
    /// To which request; [`FaultPlan::only`] takes these.
    pub identity: String,
}

/// Draws faults while they are on, and counts them.
#[derive(Debug)]
pub struct Injector {
    plan: FaultPlan,
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Requests of each actor and class so far.
    occurrences: BTreeMap<(String, Target, Class), u64>,
    counts: BTreeMap<FaultKind, u64>,
    injected: Vec<Injected>,
    /// Revisions that answers told, oldest first, for stale reads.
    revisions: Vec<u64>,
}

/// Revisions that stale reads may go back by.
const REVISIONS_MAX: usize = 64;

impl Injector {
    /// Faults are on from the start.
    pub fn new(plan: FaultPlan) -> Self {
        Self {
            plan,
            stopped: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// The plan.
    pub fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// From now on nothing goes wrong any more; streams that are held flow again.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Whether faults are over.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Takes note of a fault that somebody else caused.
    pub fn count(&self, at: Duration, kind: FaultKind, identity: &str) {
        let mut state = self.lock();
        *state.counts.entry(kind).or_default() += 1;
        if state.injected.len() < INJECTED_MAX {
            state.injected.push(Injected {
                at,
                kind,
                identity: identity.to_owned(),
            });
        }
    }

    /// How often each kind struck.
    pub fn counts(&self) -> BTreeMap<FaultKind, u64> {
        self.lock().counts.clone()
    }

    /// What struck, in the order of time, the first ten thousand.
    pub fn injected(&self) -> Vec<Injected> {
        self.lock().injected.clone()
    }

    /// A revision that a stale read may be answered from: one that was true `back` answers ago.
    pub(super) fn revision(&self, back: u64) -> Option<u64> {
        let state = self.lock();
        let back = usize::try_from(back).unwrap_or(usize::MAX);
        let at = state.revisions.len().checked_sub(back + 1)?;
        state.revisions.get(at).copied()
    }

    /// A revision that an answer told.
    pub(super) fn told(&self, revision: u64) {
        let mut state = self.lock();
        if state.revisions.last().is_none_or(|last| *last < revision) {
            if state.revisions.len() == REVISIONS_MAX {
                state.revisions.remove(0);
            }
            state.revisions.push(revision);
        }
    }

    /// What befalls a request.
    pub fn fate(&self, actor: &str, target: Target, class: &Class, now: Duration) -> Fate {
        if self.is_stopped() || self.plan.rules.is_empty() {
            return Fate::default();
        }
        let nth = {
            let mut state = self.lock();
            let key = (actor.to_owned(), target, class.clone());
            let counter = state.occurrences.entry(key).or_default();
            *counter += 1;
            *counter
        };
        let identity = format!(
            "{actor} {} {:?} {} {nth}",
            target.as_str(),
            class.verb,
            class.resource
        );
        let mut fate = Fate::default();
        let allowed = self
            .plan
            .only
            .as_ref()
            .is_none_or(|only| only.contains(&identity));
        if !allowed {
            return fate;
        }
        let mut random = self.plan.entropy.stream(&identity);
        for &kind in FaultKind::REQUESTS {
            // Drawn whether or not the kind is on: the others stay what they are.
            let (chance, amount) = (random.next_u32() % 1000, random.next_u64());
            if !is_legal(class.verb, kind) {
                continue;
            }
            let hit = self.strikes(kind, (target, class), now, chance);
            if let Some(rule) = hit
                && strike(&mut fate, class.verb, rule, amount)
            {
                self.count(now, kind, &identity);
            }
        }
        fate.identity = identity;
        fate
    }

    /// The rule of this kind that strikes; rates of several add up.
    fn strikes(
        &self,
        kind: FaultKind,
        (target, class): (Target, &Class),
        now: Duration,
        chance: u32,
    ) -> Option<&Rule> {
        let mut sum = 0;
        self.plan
            .rules
            .iter()
            .filter(|rule| rule.kind == kind && rule.concerns(target, class, now))
            .find(|rule| {
                sum += rule.per_mille;
                chance < sum
            })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a fault to a fate; false when an earlier one leaves no room for it.
fn strike(fate: &mut Fate, verb: Verb, rule: &Rule, amount: u64) -> bool {
    let millis = u64::try_from(rule.amount.as_millis()).unwrap_or(u64::MAX);
    let some =
        |salt: u64| Duration::from_millis(1 + (amount.rotate_left(17) ^ salt) % millis.max(1));
    match rule.kind {
        FaultKind::Latency => {
            // Where the time goes: there, back, or both.
            let whole = some(0);
            let quarters = u32::try_from(amount >> 32 & 3).unwrap_or_default();
            fate.before = whole * quarters / 3;
            fate.after = whole.saturating_sub(fate.before);
            return true;
        }
        FaultKind::WatchCut => fate.stream.cut_after = Some(some(0)),
        FaultKind::WatchDelay => fate.stream.delay = Some(some(0)),
        FaultKind::SlowConsumer => fate.stream.hold = Some(some(0)),
        _ => return replace(fate, verb, rule, amount),
    }
    true
}

/// A request has one outcome: the first that was drawn.
fn replace(fate: &mut Fate, verb: Verb, rule: &Rule, amount: u64) -> bool {
    if fate.outcome != Outcome::Served {
        return false;
    }
    fate.outcome = match rule.kind {
        FaultKind::ServerError => Outcome::Refused(match amount % 3 {
            0 => 500,
            1 => 503,
            _ => 504,
        }),
        FaultKind::Throttle => Outcome::Throttled(1 + amount % rule.amount.as_secs().max(1)),
        FaultKind::ResetBefore => Outcome::ResetBefore,
        // A gateway that gives up says 504 although the work goes on behind it.
        FaultKind::ResetAfter if amount & 1 == 0 => Outcome::ResetAfter,
        FaultKind::ResetAfter => Outcome::TimeoutAfter,
        FaultKind::StaleRead => Outcome::Stale(1 + amount % 8),
        FaultKind::Expired => Outcome::Expired,
        _ => return false,
    };
    debug_assert!(is_legal(verb, rule.kind), "{verb:?} {}", rule.kind);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put() -> Class {
        Class {
            verb: Verb::ArmWrite,
            resource: "virtualMachines".to_owned(),
        }
    }

    fn fates(plan: FaultPlan, count: u32) -> Vec<Fate> {
        let injector = Injector::new(plan);
        (0..count)
            .map(|_| injector.fate("controller#1", Target::Arm, &put(), Duration::ZERO))
            .collect()
    }

    fn plan(kinds: &[(FaultKind, u32)]) -> FaultPlan {
        let rules = kinds.iter().map(|(kind, rate)| Rule::new(*kind, *rate));
        FaultPlan {
            rules: rules.collect(),
            ..FaultPlan::none(3)
        }
    }

    #[test]
    fn removing_a_rule_leaves_the_others_draws_alone() {
        let both = fates(
            plan(&[(FaultKind::Latency, 300), (FaultKind::ResetAfter, 300)]),
            200,
        );
        let one = fates(plan(&[(FaultKind::ResetAfter, 300)]), 200);
        let outcomes = |fates: &[Fate]| fates.iter().map(|fate| fate.outcome).collect::<Vec<_>>();
        assert_eq!(outcomes(&both), outcomes(&one));
        assert!(
            both.iter()
                .any(|fate| fate.before + fate.after > Duration::ZERO)
        );
    }

    #[test]
    fn rates_are_kept_and_illegal_kinds_never_strike() {
        let fates = fates(
            plan(&[(FaultKind::ServerError, 100), (FaultKind::WatchCut, 1000)]),
            2000,
        );
        let refused = fates.iter().filter(|fate| fate.outcome != Outcome::Served);
        let refused = refused.count();
        assert!((150..=250).contains(&refused), "{refused}");
        assert!(fates.iter().all(|fate| fate.stream.is_clean()));
    }

    #[test]
    fn a_run_can_be_repeated_with_some_of_its_faults() {
        let injector = Injector::new(plan(&[(FaultKind::ResetBefore, 500)]));
        for _ in 0..20 {
            injector.fate("controller#1", Target::Arm, &put(), Duration::ZERO);
        }
        let injected = injector.injected();
        let chosen = injected[1].identity.clone();
        let mut less = plan(&[(FaultKind::ResetBefore, 500)]);
        less.only = Some([chosen.clone()].into());
        let again = Injector::new(less);
        for _ in 0..20 {
            again.fate("controller#1", Target::Arm, &put(), Duration::ZERO);
        }
        let identities: Vec<String> = again
            .injected()
            .into_iter()
            .map(|fault| fault.identity)
            .collect();
        assert_eq!(identities, [chosen]);
    }

    #[test]
    fn nothing_goes_wrong_once_faults_are_over() {
        let injector = Injector::new(plan(&[(FaultKind::ResetBefore, 1000)]));
        injector.stop();
        let fate = injector.fate("controller#1", Target::Arm, &put(), Duration::ZERO);
        assert_eq!(fate, Fate::default());
        assert!(injector.counts().is_empty());
    }
}
