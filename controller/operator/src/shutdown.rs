//! One signal that everything is to end, seen by everyone.

use std::future::Future;

use tokio_util::sync::CancellationToken;

/// Tells tasks that the process is to end. Clones are the same signal.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal; again is harmless.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether it was given.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when it is given.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// Runs `work` until it ends or the signal is given; `None` when the signal came first.
    pub async fn or<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = std::pin::pin!(futures::FutureExt::fuse(work));
        let mut wait = std::pin::pin!(futures::FutureExt::fuse(self.0.cancelled()));
        // The signal first: after it, no step of the work is begun.
        futures::select_biased! {
            () = wait => None,
            output = work => Some(output),
        }
    }
}
