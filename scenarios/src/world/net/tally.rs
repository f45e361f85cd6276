//! Requests and writes, counted by servers whose clients are processes of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

use crate::world::ports::{Target, is_write};

/// Counts of the controller's requests; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    requests: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
}

impl Tally {
    /// Counts a request.
    pub(crate) fn count(&self, target: Target, method: &Method, path: &str) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if is_write(target, method, path) {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Of these, writes.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}
