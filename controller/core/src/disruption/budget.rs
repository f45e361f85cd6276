//! How many nodes of a pool may go at once.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::cron::Cron;
use super::plan::DisruptionReason;
use crate::model::{Budget, Node, NodePoolName, Snapshot};
use crate::mutants::{self, Mutant};

/// What is left of each pool's budgets for one reason.
#[derive(Debug)]
pub(super) struct Budgets(BTreeMap<NodePoolName, Budgeted>);

#[derive(Debug)]
struct Budgeted {
    total: u32,
    left: u32,
}

impl Budgets {
    /// Allowed − already going, per pool.
    pub(super) fn new(snapshot: &Snapshot, reason: DisruptionReason, now: Timestamp) -> Self {
        let left = snapshot.pools.iter().map(|(name, catalog)| {
            let ours = |node: &&Node| {
                node.has_node
                    && node
                        .claim
                        .as_ref()
                        .is_some_and(|claim| claim.pool == *name && claim.conditions.initialized)
            };
            let nodes = snapshot.nodes.iter().filter(ours);
            let count = u32::try_from(nodes.clone().count()).unwrap_or(u32::MAX);
            let going = nodes.filter(|node| {
                let leaves = node.deleting || node.claim.as_ref().is_some_and(|c| c.deleting);
                !node.ready || leaves && !mutants::is(Mutant::GoingUncounted)
            });
            let going = u32::try_from(going.count()).unwrap_or(u32::MAX);
            let budgets = &catalog.pool.disruption.budgets;
            let allowed = allowed(budgets, reason, count, now).saturating_sub(going);
            (
                name.clone(),
                Budgeted {
                    total: allowed,
                    left: allowed,
                },
            )
        });
        Self(left.collect())
    }

    pub(super) fn left(&self, pool: &NodePoolName) -> u32 {
        self.0.get(pool).map_or(0, |budgeted| budgeted.left)
    }

    /// What was left before anything was taken.
    pub(super) fn total(&self, pool: &NodePoolName) -> u32 {
        self.0.get(pool).map_or(0, |budgeted| budgeted.total)
    }

    pub(super) fn take(&mut self, pool: &NodePoolName) {
        if let Some(budgeted) = self.0.get_mut(pool) {
            budgeted.left = budgeted.left.saturating_sub(1);
        }
    }
}

/// The smallest active budget for the reason; no budget at all allows everything.
pub(super) fn allowed(
    budgets: &[Budget],
    reason: DisruptionReason,
    nodes: u32,
    now: Timestamp,
) -> u32 {
    budgets
        .iter()
        .filter(|budget| {
            budget.reasons.is_empty() || budget.reasons.iter().any(|r| **r == *reason.as_str())
        })
        .map(|budget| match is_active(budget, now) {
            None => 0,
            Some(false) => u32::MAX,
            Some(true) => match budget.nodes {
                Ok(count) => count,
                // Rounded up, so that a small pool can be disrupted at all.
                Err(percent) => {
                    let share = (u64::from(nodes) * u64::from(percent)).div_ceil(100);
                    u32::try_from(share).unwrap_or(u32::MAX)
                }
            },
        })
        .min()
        .unwrap_or(u32::MAX)
}

/// Whether the budget's window is open; `None` when its schedule is malformed (then nothing is
/// allowed).
fn is_active(budget: &Budget, now: Timestamp) -> Option<bool> {
    let (schedule, duration) = match (&budget.schedule, budget.duration) {
        (None, None) => return Some(true),
        (Some(schedule), Some(duration)) => (schedule, duration),
        // The API demands both or none.
        _ => return None,
    };
    let cron = Cron::parse(schedule)?;
    let start = now
        .checked_sub(SignedDuration::try_from(duration).ok()?)
        .ok()?;
    // A schedule that never hits counts as open, as upstream: it fails on the safe side.
    Some(cron.next(start).is_none_or(|hit| hit <= now))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn budget(nodes: Result<u32, u32>, reasons: &[&str]) -> Budget {
        let reasons = reasons.iter().map(|&reason| reason.into()).collect();
        Budget {
            nodes,
            reasons,
            schedule: None,
            duration: None,
        }
    }

    #[test]
    fn the_smallest_active_budget_of_the_reason_wins() {
        use DisruptionReason::{Drifted, Empty, Underutilized};
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().expect("a timestamp");
        let mut budgets = vec![
            budget(Ok(10), &[]),
            budget(Ok(100), &[]),
            budget(Err(100), &[]),
            budget(Ok(15), &["Drifted", "Underutilized"]),
            budget(Ok(5), &["Drifted"]),
            Budget {
                schedule: Some("@weekly".into()),
                duration: Some(Duration::from_hours(1)),
                ..budget(Ok(0), &[])
            },
        ];
        let all = |budgets: &[Budget]| {
            [Underutilized, Drifted, Empty].map(|reason| allowed(budgets, reason, 100, now))
        };
        assert_eq!(all(&budgets), [10, 5, 10]);
        budgets.push(budget(Ok(4), &["Empty"]));
        assert_eq!(all(&budgets), [10, 5, 4]);
        budgets[5].duration = Some(Duration::from_hours(24 * 7));
        assert_eq!(
            all(&budgets),
            [0, 0, 0],
            "a window longer than the recurrence is always open"
        );
        budgets[5].schedule = Some("nonsense".into());
        assert_eq!(
            all(&budgets),
            [0, 0, 0],
            "a malformed schedule allows nothing"
        );
        assert_eq!(all(&[]), [u32::MAX; 3]);
    }

    #[test]
    fn percentages_round_up() {
        let now = Timestamp::UNIX_EPOCH;
        let allowed = |percent, nodes| {
            allowed(
                &[budget(Err(percent), &[])],
                DisruptionReason::Empty,
                nodes,
                now,
            )
        };
        assert_eq!(
            [
                allowed(10, 1),
                allowed(10, 11),
                allowed(0, 50),
                allowed(100, 7)
            ],
            [1, 2, 0, 7]
        );
    }
}
