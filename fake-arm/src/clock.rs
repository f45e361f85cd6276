//! The time of a cloud that is served.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Wall time as `epoch + elapsed × scale`, on tokio's clock: where that is paused, so is this.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Timestamp,
    source: Source,
    /// Thousandths, so that whole factors stay exact.
    scale: u64,
}

/// What tells how much time has passed.
#[derive(Clone, Copy, Debug)]
enum Source {
    Tokio(Instant),
    Shared(fn() -> Duration),
}

impl Clock {
    /// A clock that shows `epoch` at `start`. A scale of 20 lets a minute pass in three seconds;
    /// scales below a thousandth count as a thousandth.
    pub fn new(epoch: Timestamp, start: Instant, scale: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to a range that fits"
        )]
        let scale = (scale * 1000.0).round().clamp(1.0, 1e9) as u64;
        Self {
            epoch,
            source: Source::Tokio(start),
            scale,
        }
    }

    /// A clock that shows `epoch` and what `elapsed` says, which never goes back. For one cloud
    /// that several tokio runtimes, each with a clock of its own, ask for the time.
    pub fn shared(epoch: Timestamp, elapsed: fn() -> Duration) -> Self {
        Self {
            epoch,
            source: Source::Shared(elapsed),
            scale: 1000,
        }
    }

    /// What it shows now.
    pub fn now(&self) -> Timestamp {
        let elapsed = match self.source {
            Source::Tokio(start) => start.elapsed(),
            Source::Shared(elapsed) => elapsed(),
        };
        let nanos = elapsed.as_nanos() * u128::from(self.scale) / 1000;
        let elapsed = i64::try_from(nanos).map_or(SignedDuration::MAX, SignedDuration::from_nanos);
        self.epoch.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    /// Returns when the clock shows at least `at`.
    pub async fn sleep_until(&self, at: Timestamp) {
        let wait = at.duration_since(self.now());
        if wait.is_positive() {
            // Rounded up: the clock must have reached `at` afterwards.
            let nanos = wait.as_nanos().unsigned_abs() * 1000;
            let nanos = nanos.div_ceil(u128::from(self.scale));
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
            tokio::time::sleep(Duration::from_nanos(nanos)).await;
        }
    }
}
