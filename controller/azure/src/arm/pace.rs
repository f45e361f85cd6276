//! When to ask again, and when not to ask at all.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::error::{ServiceError, THROTTLE_DEFAULT};

/// Tries per request: one, and the three retries of `Azure/azure-sdk-for-go`'s default policy.
pub(crate) const ATTEMPTS_MAX: u32 = 4;
/// Longest wait inside one call; a server that asks for more is reported as throttling.
pub(crate) const WAIT_MAX: Duration = Duration::from_mins(1);
const WAIT_FIRST_MILLIS: u64 = 800;

/// The wait before try number `attempt + 1`: doubled each time, between 80 and 130 percent so
/// that clients that failed together do not come back together.
pub(crate) fn backoff(attempt: u32, jitter: &mut ChaCha8Rng) -> Duration {
    let doubled = WAIT_FIRST_MILLIS << attempt.min(10);
    let percent = 80 + u64::from(jitter.next_u32() % 51);
    Duration::from_millis(doubled * percent / 100).min(WAIT_MAX)
}

/// Requests that share one of the server's buckets: a provider and a kind of request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bucket(String);

impl Bucket {
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let provider = path
            .rsplit_once("/providers/")
            .and_then(|(_, rest)| rest.split('/').next())
            .unwrap_or("Microsoft.Resources");
        let kind = match *method {
            Method::GET | Method::HEAD => "read",
            Method::DELETE => "delete",
            _ => "write",
        };
        Self(format!("{}/{kind}", provider.to_lowercase()))
    }
}

/// What servers have told about when to come back; one entry per provider and kind of request,
/// of which there are a dozen.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    blocked_until: BTreeMap<Bucket, Duration>,
}

impl Pace {
    /// How long the bucket is closed from now.
    pub(crate) fn wait(&self, bucket: &Bucket, now: Duration) -> Duration {
        self.blocked_until
            .get(bucket)
            .map_or(Duration::ZERO, |until| until.saturating_sub(now))
    }

    /// Learns from a 429: nobody asks again before the time is over, because each try that comes
    /// too early is refused with a new delay.
    pub(crate) fn throttled(&mut self, bucket: Bucket, error: &ServiceError, now: Duration) {
        let until = now + error.retry_after.unwrap_or(THROTTLE_DEFAULT);
        let entry = self.blocked_until.entry(bucket).or_default();
        *entry = (*entry).max(until);
    }
}
