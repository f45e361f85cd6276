//! Traits that a simulation replaces: clock, entropy, transports, tasks, the cloud provider.
//!
//! The production controller and the harness build the same [`Ports`] and call the same
//! `controller::run`. [`CloudProvider`] stands between reconcilers and the Azure provider and is
//! not a member of [`Ports`]: the controller always builds the real provider over the ARM
//! transport.
//!
//! # Invariants
//!
//! - This crate reads no clock, no entropy and no environment.
//! - It holds no implementation of a port that production or simulation would use.

#![warn(missing_docs)]

mod clock;
mod cloudprovider;
mod entropy;
mod spawner;
mod transport;

use std::sync::Arc;

pub use clock::{Clock, Elapsed, timeout};
pub use cloudprovider::{
    CloudProvider, CreateError, DriftReason, Instance, Interruption, LaunchRequest, NodeClass,
    Orphan, ProviderError, RepairPolicy, ResolvedNodeClass,
};
pub use entropy::Entropy;
pub use spawner::{CpuPool, Job, Spawner, TaskHandle, run_on};
pub use transport::{Body, BoxError, HttpService, Transport, empty_body, full_body};

/// Everything that differs between production and a simulation.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Wall time, sleeping, deadlines.
    pub clock: Arc<dyn Clock>,
    /// Root of every random choice.
    pub entropy: Entropy,
    /// Kubernetes API server; the identity of the controller is added inside.
    pub kube: Transport,
    /// ARM and its identity endpoints, by absolute URL; no identity is added.
    pub arm: Transport,
    /// Where tasks run.
    pub spawner: Arc<dyn Spawner>,
    /// Where long computations run.
    pub cpu: Arc<dyn CpuPool>,
}
