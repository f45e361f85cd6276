//! When to look at the state of things although nothing has changed.

use std::time::Duration;

/// What time alone breaks, such as a machine that outlives its claim, is looked for this often
/// after a change.
const FIRST: Duration = Duration::from_mins(10);
/// Longest time between two looks.
const MAX: Duration = Duration::from_hours(6);

/// Looks less and less often the longer nothing changes: what time alone breaks is broken soon
/// after a change.
#[derive(Debug)]
pub(crate) struct Pulse {
    last: Duration,
    period: Duration,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            last: Duration::ZERO,
            period: FIRST,
        }
    }
}

impl Pulse {
    /// When the next look is due.
    pub(crate) fn due(&self) -> Duration {
        self.last + self.period
    }

    /// Whether to look now; `changed`: something has, which is a reason of its own.
    pub(crate) fn beat(&mut self, now: Duration, changed: bool) -> bool {
        let is_due = now >= self.due();
        if changed {
            self.period = FIRST;
        } else if is_due {
            self.period = MAX.min(self.period * 2);
        }
        if changed || is_due {
            self.last = now;
        }
        changed || is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rare_while_nothing_changes() {
        let mut pulse = Pulse::default();
        let minutes = |pulse: &Pulse| pulse.due().as_secs() / 60;
        let mut dues = Vec::new();
        for _ in 0..8 {
            dues.push(minutes(&pulse));
            let early = pulse.due().saturating_sub(Duration::from_secs(1));
            assert!(!pulse.beat(early, false));
            assert!(pulse.beat(pulse.due(), false));
        }
        assert_eq!(dues, [10, 30, 70, 150, 310, 630, 990, 1350]);
        assert!(pulse.beat(Duration::from_hours(24), true));
        assert_eq!(minutes(&pulse), 24 * 60 + 10);
    }
}
