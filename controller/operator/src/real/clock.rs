//! The production clock.

use std::time::Duration;

use async_trait::async_trait;
use controller_ports::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The system's clock, or a faster one that starts at the system's time.
#[derive(Debug)]
pub struct SystemClock {
    epoch: Timestamp,
    start: Instant,
    scale: f64,
}

impl SystemClock {
    /// Real time.
    pub fn real() -> Self {
        Self::scaled(1.0)
    }

    /// Time that runs `scale` times as fast as real time. The caller has checked that the scale is
    /// finite and positive.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where real time is read"
    )]
    pub fn scaled(scale: f64) -> Self {
        Self {
            epoch: Timestamp::now(),
            start: Instant::now(),
            scale,
        }
    }

    /// As [`Self::scaled`], for a clock that was right at `epoch`: processes that are given the
    /// same two numbers agree on the time, whenever they start.
    pub fn scaled_since(epoch: Timestamp, scale: f64) -> Self {
        let clock = Self::scaled(scale);
        let lead = clock.epoch.duration_since(epoch).mul_f64(scale);
        let epoch = epoch.saturating_add(lead).unwrap_or(Timestamp::MAX);
        Self { epoch, ..clock }
    }

    fn is_real(&self) -> bool {
        (self.scale - 1.0).abs() < f64::EPSILON
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where real time is read"
    )]
    fn now(&self) -> Timestamp {
        if self.is_real() {
            // Follows corrections of the system's clock, which elapsed time would not.
            return Timestamp::now();
        }
        let elapsed = SignedDuration::try_from(self.monotonic()).unwrap_or(SignedDuration::MAX);
        self.epoch.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Duration {
        let elapsed = self.start.elapsed();
        if self.is_real() {
            elapsed
        } else {
            elapsed.mul_f64(self.scale)
        }
    }

    async fn sleep(&self, duration: Duration) {
        let real = if self.is_real() {
            duration
        } else {
            duration.div_f64(self.scale)
        };
        tokio::time::sleep(real).await;
    }
}

/// tokio's clock from a fixed epoch, for tests under paused time.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct TokioClock {
    start: Instant,
}

#[cfg(test)]
impl TokioClock {
    pub(crate) fn for_tests() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

#[cfg(test)]
#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.monotonic()).expect("tests are short");
        Timestamp::UNIX_EPOCH + elapsed
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_with_the_same_epoch_agree_on_the_time() {
        let epoch = SystemClock::real().now() - SignedDuration::from_secs(60);
        let clock = SystemClock::scaled_since(epoch, 20.0);
        let ahead = clock.now().duration_since(epoch).as_secs();
        assert!((1200..1300).contains(&ahead), "a minute is twenty: {ahead}");
    }
}
