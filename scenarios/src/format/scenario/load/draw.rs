//! Draws and proportions on whole numbers.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

/// `part` of `whole` of the way from one number to another.
pub(super) fn between(from: u32, to: u32, part: u64, whole: u64) -> u32 {
    let (from, to) = (u64::from(from), u64::from(to));
    let whole = whole.max(1);
    let value = if to >= from {
        from + ((to - from) * part + whole / 2) / whole
    } else {
        from - ((from - to) * part + whole / 2) / whole
    };
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Draws of one load.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub(super) fn new(stream: ChaCha8Rng) -> Self {
        Self(stream)
    }

    /// A number that differs from this one by at most so many per cent.
    pub(super) fn around(&mut self, value: u64, percent: u32) -> u64 {
        if percent == 0 {
            return value;
        }
        let reach = u128::from(value) * u128::from(percent) / 100;
        let drawn = (u128::from(self.0.next_u32()) * (2 * reach + 1)) >> 32;
        u64::try_from(u128::from(value) + drawn - reach).unwrap_or(value)
    }

    /// A time that is exponentially distributed around this mean.
    ///
    /// Von Neumann's method (1951): only comparisons of uniform numbers, hence no logarithm, whose
    /// last bit differs between machines. A falling run of odd length accepts its first number;
    /// each rejected run adds one mean.
    pub(super) fn exponential(&mut self, mean: Duration) -> Duration {
        let mut whole = 0_u128;
        let first = loop {
            let first = self.0.next_u32();
            let (mut last, mut length) = (first, 1_u32);
            loop {
                let next = self.0.next_u32();
                if next > last {
                    break;
                }
                last = next;
                length += 1;
            }
            if length % 2 == 1 {
                break first;
            }
            whole += 1;
        };
        let means = whole << 32 | u128::from(first);
        let millis = mean.as_millis().saturating_mul(means) >> 32;
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}
