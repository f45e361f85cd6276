//! Loops that sleep until something changes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
}

impl Context {
    /// Something changed that a decision could see.
    pub(crate) fn wake(&self) {
        let wakes = &self.wakes;
        let mut last = wakes
            .last_change
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = self.clock.monotonic();
        drop(last);
        wakes.provisioning.notify_one();
        wakes.disruption.notify_one();
        wakes.counter.notify_one();
        wakes.resting.notify_waiters();
    }

    /// Whether something changed lately: launches and terminations are changes, so what goes wrong
    /// with them goes wrong while the cluster is busy.
    pub(crate) fn is_busy(&self) -> bool {
        let last = self
            .wakes
            .last_change
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.clock.monotonic().saturating_sub(*last) < BUSY
    }

    /// Waits between two rounds of a loop: `busy` while the cluster is busy, `quiet` while it is
    /// not; a change ends the quiet, and `busy` later the next round begins.
    pub(crate) async fn rest(&self, busy: Duration, quiet: Duration) {
        let end = self.clock.monotonic() + quiet;
        self.clock.sleep(busy).await;
        if self.is_busy() {
            return;
        }
        // Registered before the last look, so that no change in between is missed.
        let mut changed = std::pin::pin!(self.wakes.resting.notified());
        changed.as_mut().enable();
        let left = end.saturating_sub(self.clock.monotonic());
        if self.is_busy() || left.is_zero() {
            return;
        }
        let mut changed = changed.fuse();
        let mut due = std::pin::pin!(self.clock.sleep(left).fuse());
        futures::select_biased! {
            () = changed => self.clock.sleep(busy).await,
            () = due => {}
        }
    }
}
