//! The controller: one entry point, wired from ports.
//!
//! `main` builds production ports and calls [`run_with`]; a harness builds simulated ports and
//! calls [`run`]. What happens after that is the same.
//!
//! # Invariants
//!
//! - Nothing here knows in which world it runs: no test-only branch, no socket of its own.
//! - Only [`config`] reads the environment.
//! - Clients are built in `wiring` and nowhere else.

pub mod config;
mod wiring;

use std::fmt;

use controller_ports::Ports;
use futures::future::BoxFuture;
use tokio::net::TcpListener;

pub use config::Config;
pub use controller_azure as azure;

/// What belongs to the operating-system process rather than to the controller. All of it is
/// optional; a simulation leaves it out.
#[derive(Default)]
pub struct Process {
    /// Socket that serves `/metrics`.
    pub metrics: Option<TcpListener>,
    /// Socket that serves `/healthz` and `/readyz`.
    pub health: Option<TcpListener>,
    /// Where metrics are kept; absent: in a registry of the run's own.
    pub registry: Option<controller_operator::Metrics>,
    /// Resolves when the controller is to stop: it finishes the step in hand, gives the lease
    /// back and returns.
    pub shutdown: Option<BoxFuture<'static, ()>>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("metrics", &self.metrics)
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

/// Runs the controller until it fails or loses its lease; without sockets, never told to stop.
///
/// # Errors
///
/// When the configuration does not hold together, when the cluster lacks the custom resources,
/// or when leadership is lost.
pub async fn run(config: Config, ports: Ports) -> anyhow::Result<()> {
    run_with(config, ports, Process::default()).await
}

/// Runs the controller until it fails, loses its lease or is told to stop.
///
/// # Errors
///
/// As [`run`].
pub async fn run_with(config: Config, ports: Ports, process: Process) -> anyhow::Result<()> {
    config.check()?;
    wiring::run(config, ports, process).await
}
