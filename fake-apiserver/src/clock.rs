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
    start: Instant,
    scale: f64,
}

impl Clock {
    /// Cluster time is `epoch` at the tokio instant `start` and runs `scale` times as fast.
    pub fn new(epoch: Timestamp, start: Instant, scale: f64) -> Self {
        Self {
            epoch,
            start,
            scale,
        }
    }

    /// The cluster's wall time.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The wall time at a tokio instant.
    pub fn at(&self, instant: Instant) -> Timestamp {
        let elapsed = instant.saturating_duration_since(self.start);
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
