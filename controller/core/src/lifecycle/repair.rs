//! When a node that stays unhealthy is replaced (Karpenter `pkg/controllers/node/health`).

use std::time::Duration;

use jiff::Timestamp;

use super::age::after;

/// Share of a pool's nodes, in percent, beyond which nothing is repaired: so many at once are the
/// fault of something else, and replacing them would not help.
const UNHEALTHY_PERCENT_MAX: usize = 20;

/// A condition of a node that some policy calls unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ailment<'a> {
    /// The condition's type.
    pub condition: &'a str,
    /// Since when it has that status.
    pub since: Timestamp,
    /// How long the policy puts up with it.
    pub toleration: Duration,
}

impl Ailment<'_> {
    /// When it is tolerated no longer.
    pub fn due(&self) -> Timestamp {
        after(self.since, self.toleration)
    }
}

/// The ailment that is due first; of several due at once, the first.
pub fn first_due<'a>(ailments: impl IntoIterator<Item = Ailment<'a>>) -> Option<Ailment<'a>> {
    ailments.into_iter().min_by_key(Ailment::due)
}

/// Whether so few nodes are unhealthy, whatever is tolerated, that one of them may be replaced: a
/// fifth, rounded up.
pub fn may_repair(unhealthy: usize, total: usize) -> bool {
    let allowed = total.saturating_mul(UNHEALTHY_PERCENT_MAX).div_ceil(100);
    unhealthy <= allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ailment_due_first_decides() {
        let ailment = |condition, since, minutes| Ailment {
            condition,
            since: Timestamp::from_second(since).expect("in range"),
            toleration: Duration::from_mins(minutes),
        };
        let found = first_due([
            ailment("Ready", 0, 10),
            ailment("NodeHealthy", 300, 0),
            ailment("Other", 300, 0),
        ]);
        let found = found.expect("several");
        assert_eq!(
            (found.condition, found.due().as_second()),
            ("NodeHealthy", 300)
        );
        assert_eq!(first_due([]), None);
    }

    #[test]
    fn a_fifth_of_the_nodes_may_be_unhealthy_rounded_up() {
        assert!(may_repair(1, 1) && may_repair(1, 3) && may_repair(2, 10));
        assert!(!may_repair(3, 10) && !may_repair(2, 5) && !may_repair(1, 0));
    }
}
