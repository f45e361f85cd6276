//! Collects what asks for provisioning, so that one decision serves many pods
//! (`sigs.k8s.io/karpenter` `pkg/controllers/provisioning/batcher.go`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use controller_ports::Clock;
use futures::FutureExt;
use tokio::sync::Notify;

/// A batch that is being collected. Bounded by the number of pods: each asks once.
#[derive(Debug)]
pub(crate) struct Batcher {
    idle: Duration,
    max: Duration,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    seen: BTreeSet<Arc<str>>,
    window: Option<Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    opened: Duration,
    last: Duration,
}

impl Batcher {
    pub(crate) fn new(idle: Duration, max: Duration) -> Self {
        Self {
            idle,
            max,
            state: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Something asks to be served. Asking again in the same batch does not extend it.
    pub(crate) fn trigger(&self, who: &Arc<str>, now: Duration) {
        let mut state = self.state();
        if !state.seen.insert(Arc::clone(who)) {
            return;
        }
        let opened = state.window.map_or(now, |window| window.opened);
        state.window = Some(Window { opened, last: now });
        self.wake.notify_one();
    }

    /// Waits until something asked and the batch is complete; then a new batch begins.
    pub(crate) async fn wait(&self, clock: &dyn Clock) {
        loop {
            let end = {
                let mut state = self.state();
                match state.window {
                    Some(window) if self.end(window) <= clock.monotonic() => {
                        *state = State::default();
                        return;
                    }
                    window => window.map(|window| self.end(window)),
                }
            };
            let mut woken = std::pin::pin!(self.wake.notified().fuse());
            let mut ended = std::pin::pin!(
                async {
                    match end {
                        Some(end) => clock.sleep(end.saturating_sub(clock.monotonic())).await,
                        None => std::future::pending().await,
                    }
                }
                .fuse()
            );
            futures::select_biased! {
                () = woken => {}
                () = ended => {}
            }
        }
    }

    fn end(&self, window: Window) -> Duration {
        (window.last + self.idle).min(window.opened + self.max)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_when_it_is_quiet_or_old() {
        let batcher = Batcher::new(Duration::from_secs(1), Duration::from_secs(10));
        let end = |batcher: &Batcher| batcher.end(batcher.state().window.expect("open"));
        let name = |n: u64| Arc::<str>::from(n.to_string());
        batcher.trigger(&name(0), Duration::from_secs(100));
        assert_eq!(end(&batcher), Duration::from_secs(101));
        batcher.trigger(&name(0), Duration::from_millis(100_900));
        assert_eq!(
            end(&batcher),
            Duration::from_secs(101),
            "a repeat does not extend"
        );
        for n in 1..20 {
            batcher.trigger(&name(n), Duration::from_millis(100_000 + n * 700));
        }
        assert_eq!(end(&batcher), Duration::from_secs(110), "the longest batch");
    }
}
