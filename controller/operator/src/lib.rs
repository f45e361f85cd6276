//! Plumbing of an operator that knows no domain: lease, metrics, health, events, tasks, logs, real ports.
//!
//! # Invariants
//!
//! - Nothing here knows NodePools, NodeClaims or Azure; metric names and event reasons are the only
//!   domain words, as plain names.
//! - Time, randomness and tasks come through ports; only [`real`] touches the operating system.
//! - One [`metrics::Metrics`] per controller instance: two instances in one process share nothing.
//! - Order decides nothing by chance: every map that is walked is sorted.

#![warn(missing_docs)]

pub mod chain;
pub mod events;
pub mod health;
pub mod lease;
pub mod log;
pub mod metrics;
pub mod queue;
pub mod real;
pub mod shutdown;
pub mod tasks;

pub use chain::chain;
pub use events::{Event, EventKind, Recorder};
pub use health::Health;
pub use lease::{Elector, LeaseLost, LeaseSettings};
pub use metrics::{Metrics, Name};
pub use queue::{Outcome, QueueSettings, WorkQueue};
pub use shutdown::Shutdown;
pub use tasks::Tasks;
