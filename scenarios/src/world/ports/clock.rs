//! Wall time from tokio's clock.

use std::time::Duration;

use async_trait::async_trait;
use controller_ports::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Wall time = epoch + time elapsed × scale.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    epoch: Timestamp,
    source: Source,
    scale: f64,
}

/// What tells how much time has passed.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Tokio's clock since this instant.
    Tokio(Instant),
    /// This function: where several runtimes, each with a clock of its own, share one time.
    Shared(fn() -> Duration),
}

impl SimClock {
    /// A clock that shows `epoch` now.
    pub fn start(epoch: Timestamp, scale: f64) -> Self {
        Self {
            epoch,
            source: Source::Tokio(Instant::now()),
            scale,
        }
    }

    /// A clock that shows `epoch` and what `elapsed` says; it never goes back.
    pub fn shared(epoch: Timestamp, elapsed: fn() -> Duration) -> Self {
        Self {
            epoch,
            source: Source::Shared(elapsed),
            scale: 1.0,
        }
    }

    /// The emulated cloud's view of this clock.
    pub(crate) fn of_arm(&self) -> fake_arm::Clock {
        match self.source {
            Source::Tokio(start) => fake_arm::Clock::new(self.epoch, start, self.scale),
            Source::Shared(elapsed) => fake_arm::Clock::shared(self.epoch, elapsed),
        }
    }

    /// The emulated API server's view of this clock.
    pub(crate) fn of_apiserver(&self) -> fake_apiserver::Clock {
        match self.source {
            Source::Tokio(start) => fake_apiserver::Clock::new(self.epoch, start, self.scale),
            Source::Shared(elapsed) => fake_apiserver::Clock::shared(self.epoch, elapsed),
        }
    }

    /// The wall time at the start.
    pub fn epoch(&self) -> Timestamp {
        self.epoch
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        let real = match self.source {
            Source::Tokio(start) => start.elapsed(),
            Source::Shared(elapsed) => elapsed(),
        };
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

    /// The tokio instant of a time since the start, on the runtime that asks.
    pub fn instant_of(&self, since_start: Duration) -> Instant {
        match self.source {
            Source::Tokio(start) => start + self.real(since_start),
            Source::Shared(elapsed) => Instant::now() + since_start.saturating_sub(elapsed()),
        }
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
