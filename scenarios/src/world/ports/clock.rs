//! Wall time from tokio's clock.

use std::time::Duration;

use async_trait::async_trait;
use controller_ports::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Wall time = epoch + tokio time elapsed × scale.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    epoch: Timestamp,
    start: Instant,
    scale: f64,
}

impl SimClock {
    /// A clock that shows `epoch` now.
    pub fn start(epoch: Timestamp, scale: f64) -> Self {
        Self {
            epoch,
            start: Instant::now(),
            scale,
        }
    }

    /// The tokio instant at which it showed the epoch.
    pub fn started(&self) -> Instant {
        self.start
    }

    /// The wall time at the start.
    pub fn epoch(&self) -> Timestamp {
        self.epoch
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        let real = self.start.elapsed();
        if self.is_real_speed() {
            real
        } else {
            real.mul_f64(self.scale)
        }
    }

    /// Milliseconds since the start, for traces.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Time from the start until a wall time; zero when it lies before.
    pub fn since_start(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.epoch)).unwrap_or_default()
    }

    /// The tokio instant of a wall time.
    pub fn instant(&self, at: Timestamp) -> Instant {
        self.instant_of(self.since_start(at))
    }

    /// The tokio instant of a time since the start.
    pub fn instant_of(&self, since_start: Duration) -> Instant {
        self.start + self.real(since_start)
    }

    /// The wall time now.
    pub fn wall(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.elapsed()).unwrap_or(SignedDuration::MAX);
        self.epoch.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    fn real(&self, span: Duration) -> Duration {
        if self.is_real_speed() {
            span
        } else {
            span.div_f64(self.scale)
        }
    }

    fn is_real_speed(&self) -> bool {
        (self.scale - 1.0).abs() < f64::EPSILON
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.wall()
    }

    fn monotonic(&self) -> Duration {
        self.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.real(duration)).await;
    }
}
