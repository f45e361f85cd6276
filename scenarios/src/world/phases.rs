//! The two phases of a run under faults: first trouble, then everything must come right.
//!
//! In the first phase only safety is judged (invariants, and what must never or always hold). When
//! faults stop, the scenario's goals have a budget of virtual time to come true.

use std::collections::VecDeque;
use std::time::Duration;

use crate::faults::{FaultPlan, ProcessFault};
use crate::format::{Expectation, Modality, Scenario};

/// When faults stop, when the run ends, and what happens to the process until then.
#[derive(Clone, Debug)]
pub(crate) struct Phases {
    /// When faults stop; `None`: there are none, or they have stopped.
    pub(crate) until: Option<Duration>,
    /// When the run ends.
    pub(crate) end: Duration,
    /// What happens to the process, in the order of time.
    pub(crate) process: VecDeque<(Duration, ProcessFault)>,
}

impl Phases {
    /// `relaxed`: faults that the scenario does not know of, so its own times mean little.
    pub(crate) fn new(scenario: &Scenario, plan: &FaultPlan, relaxed: bool) -> Self {
        let stop = plan.stops_at(scenario);
        let end = if relaxed && !plan.is_empty() {
            scenario.horizon.max(stop + plan.budget)
        } else {
            scenario.horizon
        };
        let mut process: Vec<(Duration, ProcessFault)> = plan
            .process
            .iter()
            .filter_map(|fault| match fault {
                ProcessFault::Pause { at, .. } | ProcessFault::Failover { at } => {
                    Some((*at, fault.clone()))
                }
                // The gate counts these.
                ProcessFault::CrashAtWrite { .. } | ProcessFault::CrashAtAwait { .. } => None,
            })
            .filter(|(at, _)| *at < stop)
            .collect();
        process.sort_by_key(|(at, _)| *at);
        Self {
            until: (!plan.is_empty()).then_some(stop),
            end,
            process: process.into(),
        }
    }

    /// When something is due here.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let next = self.process.front().map(|(at, _)| *at);
        next.into_iter().chain(self.until).min()
    }
}

/// What is expected of a run under faults that the scenario does not know of.
///
/// Goals of the last part get the convergence budget; goals that a later step of the timeline may
/// overtake are not judged, nor is what must hold in some part of the run only.
pub(crate) fn relaxed(scenario: &Scenario, phases: &Phases) -> Vec<Expectation> {
    let last = scenario.last_step();
    let mut kept = Vec::new();
    for expectation in &scenario.expect {
        let mut expectation = expectation.clone();
        let whole = expectation.from.is_zero() && expectation.to >= scenario.horizon;
        match expectation.modality {
            Modality::Eventually if expectation.from >= last || last.is_zero() => {
                expectation.to = expectation.to.max(phases.end);
            }
            Modality::Always | Modality::Never if whole => {}
            _ => continue,
        }
        kept.push(expectation);
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::faults::{FaultKind, Rule};

    const TEXT: &str = "\
# It proves.
name: x
horizon: 20m
timeline:
  - at: 4m
    set-quota: {scope: regional, limit: 100}
expect:
  - eventually: pods.running == 10
    within: 3m
  - eventually: pods.running == 2
    after: 4m
    within: 5m
  - always: nodes.ready >= 1
    after: 3m
  - never: vms > 5
";

    fn scenario() -> Scenario {
        Scenario::parse("x.yaml", TEXT, Path::new(".")).expect("a scenario")
    }

    #[test]
    fn goals_get_the_budget_and_overtaken_ones_are_not_judged() {
        let scenario = scenario();
        let mut plan = FaultPlan::none(1);
        plan.rules.push(Rule::new(FaultKind::Latency, 10));
        let phases = Phases::new(&scenario, &plan, true);
        assert_eq!(phases.until, Some(Duration::from_mins(9)));
        assert_eq!(phases.end, Duration::from_mins(39));
        let kept = relaxed(&scenario, &phases);
        let texts: Vec<&str> = kept
            .iter()
            .map(|expectation| expectation.expression.text.as_str())
            .collect();
        assert_eq!(texts, ["pods.running == 2", "vms > 5"]);
        assert_eq!(kept[0].to, phases.end);
    }

    #[test]
    fn faults_that_the_scenario_knows_leave_its_times_alone() {
        let scenario = scenario();
        let mut plan = FaultPlan::none(1);
        plan.process.push(ProcessFault::Failover {
            at: Duration::from_mins(1),
        });
        let phases = Phases::new(&scenario, &plan, false);
        assert_eq!(phases.end, scenario.horizon);
        assert_eq!(phases.wake_at(), Some(Duration::from_mins(1)));
        let none = Phases::new(&scenario, &FaultPlan::none(1), true);
        assert_eq!((none.until, none.end), (None, scenario.horizon));
    }
}
