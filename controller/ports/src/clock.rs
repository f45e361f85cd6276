//! Time: the wall clock and the timers that follow it.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use jiff::Timestamp;

/// Wall time and timers of one process.
///
/// Wall = epoch + elapsed × scale, so every sleep of ours goes through here: a sleep of one
/// minute at scale 20 takes three seconds of real time and moves [`Clock::now`] by a minute.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync {
    /// Wall time.
    fn now(&self) -> Timestamp;

    /// Time since the process started; never goes back, follows the scale.
    fn monotonic(&self) -> Duration;

    /// Waits. Timers have a resolution of one millisecond and round up.
    async fn sleep(&self, duration: Duration);
}

/// A deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("deadline has elapsed")]
pub struct Elapsed;

/// Runs `work` for at most `limit` of the clock's time; the work is dropped when it runs over.
pub async fn timeout<F: Future>(
    clock: &dyn Clock,
    limit: Duration,
    work: F,
) -> Result<F::Output, Elapsed> {
    let mut work = std::pin::pin!(work.fuse());
    let mut deadline = std::pin::pin!(clock.sleep(limit).fuse());
    // The work is polled first: an answer that arrives with the deadline counts.
    futures::select_biased! {
        output = work => Ok(output),
        () = deadline => Err(Elapsed),
    }
}
