//! Exponential back-off with jitter from a seeded stream.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

/// Bounds of a back-off: the first wait and the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// Wait after the first failure.
    pub(crate) first: Duration,
    /// Longest wait.
    pub(crate) max: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row (at least one): doubles up to the longest,
    /// then up to a quarter is taken off, so that what failed together does not return together.
    pub(crate) fn wait(self, failures: u32, random: &mut ChaCha8Rng) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.max);
        let quarter = u64::try_from(full.as_nanos() / 4).unwrap_or(u64::MAX);
        let off = if quarter == 0 {
            0
        } else {
            random.next_u64() % quarter
        };
        full.saturating_sub(Duration::from_nanos(off))
    }
}

#[cfg(test)]
mod tests {
    use controller_ports::Entropy;

    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_never_fall_below_three_quarters() {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            max: Duration::from_secs(10),
        };
        let mut random = Entropy::from_seed(1).stream("test");
        let mut full = Duration::from_millis(100);
        for failures in 1..200 {
            let wait = backoff.wait(failures, &mut random);
            assert!(
                wait <= full && wait >= full * 3 / 4,
                "{failures}: {wait:?} of {full:?}"
            );
            full = (full * 2).min(backoff.max);
        }
    }
}
