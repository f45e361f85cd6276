//! A deterministic Azure: one state machine of resources, capacity, quota and time.
//!
//! ```text
//! ArmRequest ──▶ Cloud::handle ──▶ ArmResponse        (what a client sees)
//!                    │
//!                 resources, capacity, quota, timers
//!                    │
//! now ─────────▶ Cloud::advance ─▶ CloudEvent         (what happened: a machine runs, stops, …)
//! ```
//!
//! [`Cloud::wake_at`] says when something happens next. Whoever drives the cloud calls `advance`
//! then, and after every request, and carries the events to the cluster.
//!
//! # Invariants
//! - Nothing here reads a clock, entropy or the environment: same configuration, seed, times and
//!   requests, same bytes.
//! - `handle` first lets everything happen that was due by `now`, so an answer never shows a state
//!   that time has already left behind.
//! - Every random draw is made from a stream named after what it is for and whom it concerns:
//!   removing one machine does not shift the draws of another.
//! - Quota and capacity counters equal what the stored machines hold (checked by a property test).
//! - A started machine is reported by exactly one `VmStarted`, and later by at most one
//!   `VmStopped` before it may start again.
//! - No request panics: what is not understood is answered as Azure Resource Manager answers it.

mod catalog;
mod cloud;
mod config;
mod control;
mod error;
mod event;
mod exchange;
mod lifecycle;
mod model;
mod operations;
mod path;
mod physics;
mod power;
mod random;
mod refusals;
mod render;
mod routes;
mod setup;
mod timers;
mod token;

pub use crate::{
    catalog::{Catalog, MicroUsd, Size},
    cloud::Cloud,
    config::{
        Application, CapacityOverride, CapacityType, CloudConfig, ClusterConfig, ClusterNetwork,
        ConfigError, Latency, NapMode, QuotaConfig, Refusal, SpotConfig, SystemPool,
    },
    control::{ControlError, DiskView, NicView, QuotaKind, QuotaView, VmState, VmView},
    event::{AgentPool, CloudEvent, ClusterFacts, NoClusterFacts, StartedVm, StopReason, Taint},
    exchange::{ArmRequest, ArmResponse, Method},
    setup::ClusterView,
};

#[cfg(test)]
mod tests;
