//! Wall time of the emulated cluster: an epoch plus tokio's clock, optionally scaled.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Where the server takes its time from.
///
/// Under a paused tokio runtime this is virtual time; over real sockets it is real time, `scale`
/// times as fast.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Timestamp,
    source: Source,
    scale: f64,
}

/// What tells how much time has passed.
#[derive(Clone, Copy, Debug)]
enum Source {
    Tokio(Instant),
    Shared(fn() -> Duration),
}

impl Clock {
    /// Cluster time is `epoch` at the tokio instant `start` and runs `scale` times as fast.
    pub fn new(epoch: Timestamp, start: Instant, scale: f64) -> Self {
        Self {
            epoch,
            source: Source::Tokio(start),
            scale,
        }
    }

    /// Cluster time is `epoch` plus what `elapsed` says, which never goes back. For one server
    /// that several tokio runtimes, each with a clock of its own, ask for the time.
    pub fn shared(epoch: Timestamp, elapsed: fn() -> Duration) -> Self {
        Self {
            epoch,
            source: Source::Shared(elapsed),
            scale: 1.0,
        }
    }

    /// The cluster's wall time.
    pub fn now(&self) -> Timestamp {
        let elapsed = match self.source {
            Source::Tokio(start) => start.elapsed(),
            Source::Shared(elapsed) => elapsed(),
        };
        let scaled = if self.is_real_speed() {
            elapsed
        } else {
            elapsed.mul_f64(self.scale)
        };
        let scaled = SignedDuration::try_from(scaled).unwrap_or(SignedDuration::MAX);
        self.epoch.checked_add(scaled).unwrap_or(Timestamp::MAX)
    }

    /// Sleeps for a span of cluster time.
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(self.real(span)).await;
    }

    /// The tokio instant a span of cluster time from now.
    pub fn instant_after(&self, span: Duration) -> Instant {
        Instant::now() + self.real(span)
    }

    /// How long a span of cluster time takes on tokio's clock.
    pub(crate) fn real(&self, span: Duration) -> Duration {
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
