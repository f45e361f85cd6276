//! Worlds: the fakes, what drives them, and the controller between them.
//!
//! ```text
//!               Site: fake-arm ── bridge ── fake-apiserver + components
//!                       ▲                         ▲
//!                 transport (ARM)          transport (Kubernetes)      trace, fence, faults
//!                       └──────── controller::run ────────┘
//! ```
//!
//! A [`Site`] is the same in every world; worlds differ in what carries requests and in what time
//! is. [`discrete`] jumps from timer to timer on one thread, [`pipes`] does so with HTTP over
//! in-memory connections, [`turmoil`] ticks and makes each component a host, [`live`] uses sockets
//! and real time. [`run_in`] runs in any that is simulated.

pub mod bridge;
pub mod client;
pub mod controller;
pub mod discrete;
pub mod facts;
pub mod hooks;
pub mod live;
mod metrics;
pub mod net;
pub mod outcome;
mod phases;
pub mod pipes;
pub mod ports;
pub mod process;
mod pulse;
mod run;
pub mod setup;
pub mod site;
mod steps;
pub mod turmoil;

use crate::format::{Scenario, World};
use discrete::{RunError, RunOptions};

pub use outcome::{Ending, Outcome};
pub(crate) use phases::{Phases, relaxed};
pub use site::{Site, SiteOptions};

/// Runs a scenario in the world that the options name.
///
/// # Errors
///
/// As [`run_in`].
pub fn run(scenario: &Scenario, options: &RunOptions) -> Result<Outcome, RunError> {
    run_in(options.world, scenario, options)
}

/// Runs a scenario in this simulated world.
///
/// # Errors
///
/// When there is no outcome: the scenario cannot be set up, the run does not come to an end, or
/// the world is not simulated.
pub fn run_in(
    world: World,
    scenario: &Scenario,
    options: &RunOptions,
) -> Result<Outcome, RunError> {
    match world {
        World::Discrete => discrete::run(scenario, options),
        World::Pipes => pipes::run(scenario, options),
        World::Turmoil => turmoil::run(scenario, options),
        World::Live => Err(RunError::NotSimulated(world.as_str())),
    }
}
