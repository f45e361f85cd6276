//! What goes wrong in one run: from a scenario's file, or drawn from a seed.

use std::collections::BTreeSet;
use std::time::Duration;

use controller_ports::Entropy;
use rand_core::Rng;

use super::class::{Class, Verb};
use super::kind::FaultKind;
use crate::format::Scenario;
use crate::world::ports::{Moment, Target};

/// How long after the last step of the timeline faults go on by default: the controller's answer
/// to the step takes place under faults as well.
pub const LINGER: Duration = Duration::from_mins(5);

/// Virtual time for everything to come right once faults have stopped.
pub const BUDGET: Duration = Duration::from_mins(30);

/// The `faults:` section of a scenario, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// When faults stop; absent: [`LINGER`] after the last step.
    pub until: Option<Duration>,
    /// Virtual time for convergence after that; absent: [`BUDGET`].
    pub budget: Option<Duration>,
    /// Whether a second replica runs.
    pub standby: bool,
    /// Faults of requests.
    pub rules: Vec<Rule>,
    /// Faults of the controller's process.
    pub process: Vec<ProcessFault>,
}

/// Requests of a kind that go wrong at a rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What goes wrong; one of [`FaultKind::REQUESTS`].
    pub kind: FaultKind,
    /// How many in a thousand of those it is legal for.
    pub per_mille: u32,
    /// At which server; absent: both.
    pub target: Option<Target>,
    /// Only requests about this, as [`Class::resource`] spells it, or `leases`; absent: all.
    pub resource: Option<String>,
    /// Only writes, or only others.
    pub writes: Option<bool>,
    /// From when.
    pub from: Duration,
    /// Until when; absent: as long as there are faults.
    pub until: Option<Duration>,
    /// The longest delay, hold or `Retry-After`.
    pub amount: Duration,
}

impl Rule {
    /// Of this kind, at this rate, everywhere.
    pub fn new(kind: FaultKind, per_mille: u32) -> Self {
        Self {
            kind,
            per_mille,
            target: None,
            resource: None,
            writes: None,
            from: Duration::ZERO,
            until: None,
            amount: usual(kind),
        }
    }

    pub(super) fn concerns(&self, target: Target, class: &Class, now: Duration) -> bool {
        let resource = class.resource.split('/').next().unwrap_or_default();
        let here = self
            .resource
            .as_ref()
            .is_none_or(|wanted| *wanted == class.resource || *wanted == resource);
        here && self.target.is_none_or(|wanted| wanted == target)
            && self
                .writes
                .is_none_or(|wanted| wanted == class.verb.is_write())
            && now >= self.from
            && self.until.is_none_or(|until| now < until)
    }
}

/// The usual longest delay of a kind.
pub(crate) fn usual(kind: FaultKind) -> Duration {
    match kind {
        FaultKind::Latency => Duration::from_secs(2),
        FaultKind::Throttle => Duration::from_secs(10),
        FaultKind::WatchCut => Duration::from_mins(2),
        FaultKind::WatchDelay => Duration::from_secs(10),
        FaultKind::SlowConsumer => Duration::from_secs(30),
        _ => Duration::ZERO,
    }
}

/// Something that happens to the controller's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessFault {
    /// It dies around a write.
    CrashAtWrite {
        /// Counted from 1 over all incarnations.
        write: u64,
        /// On which side.
        moment: Moment,
        /// And starts again after this long.
        restart_after: Duration,
    },
    /// It dies before a poll.
    CrashAtAwait {
        /// Of tasks whose name begins so; empty: of any.
        task: String,
        /// Counted from 1 over all incarnations.
        poll: u64,
        /// And starts again after this long.
        restart_after: Duration,
    },
    /// It stands still.
    Pause {
        /// Since the start of the run.
        at: Duration,
        /// For how long.
        lasts: Duration,
    },
    /// The leader stands still until another replica has taken over, and learns of it late.
    Failover {
        /// Since the start of the run.
        at: Duration,
    },
}

impl ProcessFault {
    /// Its kind.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::CrashAtWrite { .. } => FaultKind::CrashAtWrite,
            Self::CrashAtAwait { .. } => FaultKind::CrashAtAwait,
            Self::Pause { .. } => FaultKind::Pause,
            Self::Failover { .. } => FaultKind::Failover,
        }
    }
}

/// Everything that goes wrong in one run.
///
/// Each draw is made by identity: taking a rule away leaves the draws of the others alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// Root of all draws.
    pub(super) entropy: Entropy,
    /// Faults of requests.
    pub rules: Vec<Rule>,
    /// Faults of the process.
    pub process: Vec<ProcessFault>,
    /// Whether a second replica runs.
    pub standby: bool,
    /// When faults stop; absent: [`LINGER`] after the scenario's last step.
    pub until: Option<Duration>,
    /// Virtual time for convergence after that.
    pub budget: Duration,
    /// Only these request faults happen, by identity; absent: all that are drawn.
    pub only: Option<BTreeSet<String>>,
}

impl FaultPlan {
    /// Nothing goes wrong.
    pub fn none(seed: u64) -> Self {
        Self {
            entropy: Entropy::from_seed(seed).child("faults"),
            rules: Vec::new(),
            process: Vec::new(),
            standby: false,
            until: None,
            budget: BUDGET,
            only: None,
        }
    }

    /// What the scenario says.
    pub fn of(scenario: &Scenario, seed: u64) -> Self {
        let faults = &scenario.faults;
        Self {
            rules: faults.rules.clone(),
            process: faults.process.clone(),
            standby: faults.standby,
            until: faults.until,
            budget: faults.budget.unwrap_or(BUDGET),
            ..Self::none(seed)
        }
    }

    /// A plan of its own for each seed: first which kinds there are at all, then how hard each
    /// strikes.
    pub fn swarm(seed: u64) -> Self {
        let mut plan = Self::none(seed);
        let options = plan.entropy.child("swarm");
        for &kind in FaultKind::REQUESTS {
            let mut draw = Draw(options.stream(kind.as_str()));
            if draw.coin() {
                plan.rules.extend(drawn_rule(kind, &mut draw));
            }
        }
        for (kind, most) in [
            (FaultKind::CrashAtWrite, 3),
            (FaultKind::CrashAtAwait, 2),
            (FaultKind::Pause, 2),
            (FaultKind::Failover, 1),
        ] {
            let mut draw = Draw(options.stream(kind.as_str()));
            if draw.coin() {
                let count = draw.between(1, most);
                plan.process
                    .extend((0..count).map(|_| drawn_process(kind, &mut draw)));
            }
        }
        plan.standby = plan.wants_standby();
        plan
    }

    /// What the scenario says and what the seed draws.
    pub fn swarm_over(scenario: &Scenario, seed: u64) -> Self {
        let (mut plan, own) = (Self::swarm(seed), Self::of(scenario, seed));
        plan.rules.extend(own.rules);
        plan.process.extend(own.process);
        plan.standby |= own.standby;
        plan.until = own.until;
        plan.budget = own.budget;
        plan
    }

    fn wants_standby(&self) -> bool {
        self.process
            .iter()
            .any(|fault| fault.kind() == FaultKind::Failover)
    }

    /// Whether nothing goes wrong.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.process.is_empty()
    }

    /// The kinds that are on.
    pub fn kinds(&self) -> BTreeSet<FaultKind> {
        let rules = self.rules.iter().map(|rule| rule.kind);
        rules
            .chain(self.process.iter().map(ProcessFault::kind))
            .collect()
    }

    /// The plan without a kind.
    #[must_use]
    pub fn without(mut self, kind: FaultKind) -> Self {
        self.rules.retain(|rule| rule.kind != kind);
        self.process.retain(|fault| fault.kind() != kind);
        if kind == FaultKind::Failover {
            self.standby = false;
        }
        self
    }

    /// When faults stop in a run of this scenario.
    pub fn stops_at(&self, scenario: &Scenario) -> Duration {
        self.until.unwrap_or_else(|| scenario.last_step() + LINGER)
    }

    /// One line that says what is on.
    pub fn describe(&self) -> String {
        use crate::format::format_duration as text;
        if self.is_empty() {
            return "no faults".to_owned();
        }
        let rules = self.rules.iter().map(|rule| {
            let place = rule.target.map(|target| format!(" at {}", target.as_str()));
            let amount = if rule.amount > Duration::ZERO {
                format!(" up to {}", text(rule.amount))
            } else {
                String::default()
            };
            format!(
                "{}{} {}.{} %{amount}",
                rule.kind,
                place.unwrap_or_default(),
                rule.per_mille / 10,
                rule.per_mille % 10
            )
        });
        let process = self.process.iter().map(|fault| match fault {
            ProcessFault::CrashAtWrite { write, moment, .. } => {
                let what = match moment {
                    Moment::Before => "crash before",
                    Moment::After => "crash after",
                    Moment::Ambiguous => "no answer to",
                };
                format!("{what} write {write}")
            }
            ProcessFault::CrashAtAwait { poll, .. } => format!("crash at poll {poll}"),
            ProcessFault::Pause { at, lasts } => {
                format!("pause at {} for {}", text(*at), text(*lasts))
            }
            ProcessFault::Failover { at } => format!("failover at {}", text(*at)),
        });
        rules.chain(process).collect::<Vec<_>>().join(", ")
    }
}

/// Draws for one option.
struct Draw<R>(R);

impl<R: Rng> Draw<R> {
    fn coin(&mut self) -> bool {
        self.0.next_u32() & 1 == 0
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.0.next_u64() % (most - least + 1)
    }

    /// Each order of magnitude is as likely as the next.
    fn wide(&mut self, least: u64, most: u64) -> u64 {
        let doublings = u64::from((most / least).ilog2());
        let low = least << self.between(0, doublings);
        self.between(low, (low * 2).min(most).max(low))
    }

    fn seconds(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_secs(self.wide(least, most))
    }
}

fn drawn_rule<R: Rng>(kind: FaultKind, draw: &mut Draw<R>) -> Option<Rule> {
    // Rates: from one in five hundred, which a run may never meet, to one in five, at which it
    // hardly gets anything done. A watch is a rarer thing than a request.
    let (least, most, amount) = match kind {
        FaultKind::Latency => (10, 500, draw.seconds(1, 20)),
        FaultKind::ServerError | FaultKind::ResetBefore => (2, 200, Duration::ZERO),
        FaultKind::Throttle => (2, 200, draw.seconds(1, 60)),
        FaultKind::ResetAfter => (2, 250, Duration::ZERO),
        FaultKind::WatchCut => (50, 800, draw.seconds(1, 240)),
        FaultKind::WatchDelay => (50, 800, draw.seconds(1, 30)),
        FaultKind::SlowConsumer => (20, 400, draw.seconds(2, 60)),
        FaultKind::Expired => (20, 300, Duration::ZERO),
        FaultKind::StaleRead => (50, 500, Duration::ZERO),
        _ => return None,
    };
    let mut rule = Rule::new(kind, u32::try_from(draw.wide(least, most)).unwrap_or(1));
    rule.amount = amount;
    // Now and then only one of the two servers is unwell.
    rule.target = match draw.between(0, 3) {
        0 => Some(Target::Kube),
        1 => Some(Target::Arm),
        _ => None,
    };
    if !legal_at(kind, rule.target) {
        rule.target = None;
    }
    Some(rule)
}

fn drawn_process<R: Rng>(kind: FaultKind, draw: &mut Draw<R>) -> ProcessFault {
    match kind {
        FaultKind::CrashAtWrite => ProcessFault::CrashAtWrite {
            // A small scenario has some sixty writes, a medium one some hundreds.
            write: draw.wide(1, 256),
            moment: if draw.coin() {
                Moment::Before
            } else {
                Moment::After
            },
            restart_after: draw.seconds(1, 60),
        },
        FaultKind::CrashAtAwait => ProcessFault::CrashAtAwait {
            task: String::new(),
            poll: draw.wide(64, 16_384),
            restart_after: draw.seconds(1, 60),
        },
        FaultKind::Failover => ProcessFault::Failover {
            at: draw.seconds(15, 600),
        },
        _ => ProcessFault::Pause {
            at: draw.seconds(2, 600),
            lasts: draw.seconds(1, 180),
        },
    }
}

/// Whether a kind can befall any request to this server.
pub(crate) fn legal_at(kind: FaultKind, target: Option<Target>) -> bool {
    let kube = |verb: Verb| verb < Verb::ArmRead;
    target.is_none_or(|target| {
        Verb::ALL
            .into_iter()
            .filter(|verb| kube(*verb) == (target == Target::Kube))
            .any(|verb| super::is_legal(verb, kind))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_seeds_differ() {
        assert_eq!(FaultPlan::swarm(7), FaultPlan::swarm(7));
        let described: BTreeSet<String> = (0..50)
            .map(|seed| FaultPlan::swarm(seed).describe())
            .collect();
        assert!(described.len() > 45, "{described:?}");
    }

    #[test]
    fn a_swarm_turns_every_kind_on_and_off() {
        for kind in FaultKind::ALL {
            let on = (0..200).filter(|seed| FaultPlan::swarm(*seed).kinds().contains(&kind));
            let share = on.count();
            assert!((60..=140).contains(&share), "{kind}: {share} of 200");
        }
    }

    #[test]
    fn what_is_drawn_is_legal_where_it_is_drawn() {
        for seed in 0..200 {
            for rule in FaultPlan::swarm(seed).rules {
                assert!(legal_at(rule.kind, rule.target), "{rule:?}");
                assert!((1..=1000).contains(&rule.per_mille), "{rule:?}");
            }
        }
    }
}
