//! What a binary may hang into every run: its interposer for entropy and wall time.
//!
//! The library works without; a binary that links an interposer reports how often it was needed.

use std::sync::OnceLock;

use jiff::Timestamp;

/// Functions called on the thread of each run.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// The run begins: from now on entropy comes from the seed and wall time is frozen at the
    /// epoch.
    pub enter: fn(seed: u64, epoch: Timestamp),
    /// The run has ended; answers how many calls were caught.
    pub leave: fn() -> u64,
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Installs hooks for this process; the first call wins.
pub fn install(hooks: Hooks) {
    HOOKS.get_or_init(|| hooks);
}

pub(crate) fn enter(seed: u64, epoch: Timestamp) {
    if let Some(hooks) = HOOKS.get() {
        (hooks.enter)(seed, epoch);
    }
}

pub(crate) fn leave() -> Option<u64> {
    HOOKS.get().map(|hooks| (hooks.leave)())
}
