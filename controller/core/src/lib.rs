//! Every decision of the controller, as pure functions over snapshots.
//!
//! ```text
//! schedule(&SchedulingInput) -> Placement
//! plan_disruption(&Snapshot, &DisruptionPolicy, now, StepBudget) -> Plan
//! lifecycle steps: (state, observation, now) -> (state, effects)
//! ```
//!
//! The shell turns Kubernetes objects into [`model`] values once, calls in here, and executes
//! what comes back. Every answer carries its reasons.
//!
//! # Invariants
//!
//! - No I/O, no async, no clock, no entropy, no logging; `now` is a parameter.
//! - Quantities and prices are exact integers.
//! - Equal inputs give equal outputs, whatever the order of equal elements.
//! - No string is parsed inside a decision.

#![warn(missing_docs)]

pub mod disruption;
pub mod explain;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod labels;
pub mod lifecycle;
pub mod model;
pub mod mutants;
pub mod quantity;
pub mod requirements;
pub mod scheduling;
mod selector;
pub mod taints;
