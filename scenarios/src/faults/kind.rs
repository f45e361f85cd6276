//! The kinds of trouble that a run may be given.

use std::fmt;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A request and its answer take longer.
    Latency,
    /// 500, 503 or 504, and nothing was done.
    ServerError,
    /// 429 with `Retry-After`, and nothing was done.
    Throttle,
    /// The connection breaks before the server sees the request.
    ResetBefore,
    /// The server does what it was asked; the connection breaks before the answer arrives.
    ResetAfter,
    /// A list that may be answered from a cache is answered from an old one.
    StaleRead,
    /// A watch ends without a word.
    WatchCut,
    /// Events of a watch arrive late.
    WatchDelay,
    /// A revision is said to be compacted.
    Expired,
    /// A watch is read haltingly: the server's events pile up.
    SlowConsumer,
    /// The controller dies before or after one of its writes.
    CrashAtWrite,
    /// The controller dies between two polls of one of its tasks.
    CrashAtAwait,
    /// The controller stands still for a while; its timers are late afterwards.
    Pause,
    /// A second replica waits, and the leader loses its lease.
    Failover,
}

impl FaultKind {
    /// All kinds, in the order in which draws are made: a new one is added at the end of its half,
    /// so that draws of the others stay what they are.
    pub const ALL: [Self; 14] = [
        Self::Latency,
        Self::ServerError,
        Self::Throttle,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::StaleRead,
        Self::WatchCut,
        Self::WatchDelay,
        Self::Expired,
        Self::SlowConsumer,
        Self::CrashAtWrite,
        Self::CrashAtAwait,
        Self::Pause,
        Self::Failover,
    ];

    /// Those that concern single requests: the first half of [`Self::ALL`].
    pub const REQUESTS: &'static [Self] = Self::ALL.split_at(10).0;

    /// The name in scenarios, traces and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::ServerError => "server-error",
            Self::Throttle => "throttle",
            Self::ResetBefore => "reset-before",
            Self::ResetAfter => "reset-after",
            Self::StaleRead => "stale-read",
            Self::WatchCut => "watch-cut",
            Self::WatchDelay => "watch-delay",
            Self::Expired => "expired",
            Self::SlowConsumer => "slow-consumer",
            Self::CrashAtWrite => "crash-at-write",
            Self::CrashAtAwait => "crash-at-await",
            Self::Pause => "pause",
            Self::Failover => "failover",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
