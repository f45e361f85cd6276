//! Scenarios over the real controller and both fakes, in virtual time.
//!
//! ```text
//! format ──▶ world::discrete ──▶ world::Outcome ──▶ suite, report, story
//!               │  Site (fakes, bridge, components)
//!               │  controller::run over traced, fenced transports
//!               └─ observe, invariants: truth from store and cloud
//! ```
//!
//! # Invariants
//!
//! - A run depends on its scenario, its seed and its options, and on nothing else: not on the
//!   clock, the thread, the working directory, the environment or an earlier run.
//! - Expectations and invariants read the store and the cloud, never the controller.
//! - Only `world::bridge` knows both the cloud and the cluster.
//! - What a dead process sends reaches nobody.
//! - Reports, timelines and traces are made from the same changes; none feeds back into a run.

pub mod faults;
pub mod format;
pub mod invariants;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod observe;
pub mod replay;
pub mod report;
pub mod shrink;
pub mod story;
pub mod suite;
pub mod sweep;
mod text;
pub mod trace;
pub mod world;
