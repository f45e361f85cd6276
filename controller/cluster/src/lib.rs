//! A synchronous mirror of the cluster, kept as compact core values.
//!
//! ```text
//! watchers ── Object ──▶ convert ──▶ state (pods, nodes, claims, pools, …) ──▶ snapshot
//! ```
//!
//! Each object is converted once, when it arrives; quantities, selectors and durations become
//! validated values there. A snapshot is put together from shared parts.
//!
//! # Invariants
//!
//! - Nothing here waits, sends or reads time.
//! - `reset` with a full list yields the state that replaying the events yields.
//! - No Kubernetes object is kept, only what decisions read.

mod convert;
mod object;
mod snapshot;
mod state;

pub use convert::{
    Invalid, from_core_requirements, from_core_taint, resources_from_list, resources_to_list,
    to_core_requirements, to_core_taint,
};
pub use object::{Kind, Object};
pub use state::{ClaimRecord, ClusterState, ExpectedClaim, NodeRecord};
