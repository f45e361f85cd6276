//! Loops that sleep until something changes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use controller_ports::Clock;
use futures::FutureExt as _;
use tokio::sync::Notify;

use crate::context::Context;

/// So long after the last change the cluster counts as busy: longer than the deletion of an
/// instance takes.
const BUSY: Duration = Duration::from_mins(15);

/// What loops are woken by.
#[derive(Debug)]
pub(crate) struct Wakes {
    pub(crate) provisioning: Notify,
    pub(crate) disruption: Notify,
    pub(crate) counter: Notify,
    pub(crate) commands: Notify,
    /// For loops that are rare while the cluster is quiet.
    resting: Notify,
    last_change: Mutex<Duration>,
}

impl Wakes {
    /// The cluster counts as busy from `now` on.
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            provisioning: Notify::default(),
            disruption: Notify::default(),
            counter: Notify::default(),
            commands: Notify::default(),
            resting: Notify::default(),
            last_change: Mutex::new(now),
        }
    }

    /// Something changed at `now` that a decision could see.
    fn wake(&self, now: Duration) {
        *self.last_change() = now;
        self.provisioning.notify_one();
        self.disruption.notify_one();
        self.counter.notify_one();
        self.resting.notify_waiters();
    }

    /// Whether something changed lately: launches and terminations are changes, so what goes wrong
    /// with them goes wrong while the cluster is busy.
    fn is_busy(&self, now: Duration) -> bool {
        now.saturating_sub(*self.last_change()) < BUSY
    }

    fn last_change(&self) -> MutexGuard<'_, Duration> {
        self.last_change
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn rest(&self, clock: &dyn Clock, busy: Duration, quiet: Duration) {
        let end = clock.monotonic() + quiet;
        clock.sleep(busy).await;
        // Registered before the look, so that no change in between is missed.
        let mut changed = std::pin::pin!(self.resting.notified());
        changed.as_mut().enable();
        let now = clock.monotonic();
        if self.is_busy(now) || now >= end {
            return;
        }
        let mut changed = changed.fuse();
        let mut due = std::pin::pin!(clock.sleep(end.saturating_sub(now)).fuse());
        futures::select_biased! {
            () = changed => clock.sleep(busy).await,
            () = due => {}
        }
    }
}

impl Context {
    /// Something changed that a decision could see.
    pub(crate) fn wake(&self) {
        self.wakes.wake(self.clock.monotonic());
    }

    /// Waits between two rounds of a loop: `busy` while the cluster is busy, `quiet` while it is
    /// not; a change ends the quiet, and `busy` later the next round begins.
    pub(crate) async fn rest(&self, busy: Duration, quiet: Duration) {
        self.wakes.rest(&*self.clock, busy, quiet).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestClock;

    const MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_quiet_loop_rests_until_something_changes() {
        let clock = TestClock::default();
        let wakes = Wakes::new(clock.monotonic());
        let round = || wakes.rest(&clock, 2 * MINUTE, 60 * MINUTE);
        round().await;
        assert_eq!(clock.monotonic(), 2 * MINUTE, "busy from the start");
        clock.sleep(BUSY).await;
        let quiet = clock.monotonic();
        round().await;
        assert_eq!(clock.monotonic(), quiet + 60 * MINUTE);
        let changes = async {
            clock.sleep(10 * MINUTE).await;
            wakes.wake(clock.monotonic());
        };
        let began = clock.monotonic();
        futures::join!(round(), changes);
        assert_eq!(clock.monotonic(), began + 12 * MINUTE);
        round().await;
        assert_eq!(clock.monotonic(), began + 14 * MINUTE, "busy again");
    }
}
