//! A cloud, its clock, and whoever waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fake_arm_cloud::{ArmRequest, ArmResponse, Cloud, CloudConfig, CloudEvent, ConfigError};
use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::{clock::Clock, routes};

/// A handle to one served cloud; clones share it.
#[derive(Clone, Debug)]
pub struct Arm {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cloud: Mutex<Cloud>,
    clock: Clock,
    /// Told after everything that may have changed `wake_at` or left events.
    changed: Notify,
}

impl Arm {
    /// A new cloud that begins at the clock's time.
    pub fn new(config: CloudConfig, seed: u64, clock: Clock) -> Result<Self, ConfigError> {
        let cloud = Cloud::new(config, seed, clock.now())?;
        Ok(Self {
            shared: Arc::new(Shared {
                cloud: Mutex::new(cloud),
                clock,
                changed: Notify::new(),
            }),
        })
    }

    /// All routes: ARM, Entra, retail prices and `/_control`.
    pub fn router(&self) -> axum::Router {
        routes::router(self.clone())
    }

    /// The cloud's time.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Answers one request at the clock's time.
    pub fn handle(&self, request: &ArmRequest) -> ArmResponse {
        let now = self.now();
        let response = self.lock().handle(now, request);
        self.shared.changed.notify_one();
        response
    }

    /// Looks at the cloud or changes it, at the clock's time.
    ///
    /// The lock is held meanwhile: `work` must not call this handle.
    pub fn with_cloud<R>(&self, work: impl FnOnce(&mut Cloud, Timestamp) -> R) -> R {
        let now = self.now();
        let result = work(&mut self.lock(), now);
        self.shared.changed.notify_one();
        result
    }

    /// Lets everything happen that is due, and takes the events. For drivers that keep time
    /// themselves; others use [`Self::next_events`].
    pub fn advance(&self) -> Vec<CloudEvent> {
        let now = self.now();
        self.lock().advance(now)
    }

    /// When [`Self::advance`] is wanted next.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.lock().wake_at()
    }

    /// [`Cloud::revision`], without waking anybody.
    pub fn revision(&self) -> u64 {
        self.lock().revision()
    }

    /// Returns after the next request or change, for drivers that keep time themselves. One that
    /// came since the last call counts.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// Waits until something happens and takes the events, never none. For one driver at a time;
    /// dropping the future loses nothing.
    pub async fn next_events(&self) -> Vec<CloudEvent> {
        loop {
            let events = self.advance();
            if !events.is_empty() {
                return events;
            }
            let wake_at = self.wake_at();
            let mut changed = std::pin::pin!(self.changed().fuse());
            match wake_at {
                None => changed.await,
                Some(at) => {
                    let mut due = std::pin::pin!(self.shared.clock.sleep_until(at).fuse());
                    futures::select_biased! {
                        () = due => {}
                        () = changed => {}
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cloud> {
        // A panic inside the cloud is a bug that its own thread reports; the state is still legal
        // enough to answer the requests that show it.
        self.shared
            .cloud
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
