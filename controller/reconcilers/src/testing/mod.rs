//! Test doubles: a clock over tokio's paused time, an API server, a cloud.

mod apiserver;
mod cloud;

use std::time::Duration;

use async_trait::async_trait;
use controller_ports::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

pub(crate) use self::apiserver::ApiServer;
pub(crate) use self::cloud::{Cloud, instance_type};

/// Wall time starts at the epoch when the clock is made.
#[derive(Debug)]
pub(crate) struct TestClock(Instant);

impl Default for TestClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::try_from(self.monotonic()).unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
