//! Virtual time: one paused runtime on a fresh thread per run.
//!
//! Time moves only when nobody can run, to the next timer. Three watchdogs end a run that would
//! not end: the virtual horizon, a count of turns at one instant, and a limit on real time.

mod thread;

use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::faults::FaultPlan;
use crate::format::{Scenario, World};
use crate::world::net::{HttpVersion, InProcess};
use crate::world::outcome::Outcome;
use crate::world::ports::CrashPoint;
use crate::world::setup::SetupError;
use thread::Join;

pub(super) use thread::stage;

/// How to run.
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Where, unless the caller says it.
    pub world: World,
    /// What the controller and the API server speak, where bytes are carried.
    pub http: HttpVersion,
    /// Instead of the scenario's seed.
    pub seed: Option<u64>,
    /// Whether tasks and components give way to each other at random.
    pub jitter: bool,
    /// Whether the lines of the trace are kept.
    pub keep_trace: bool,
    /// Kill the controller here.
    pub crash: Option<CrashPoint>,
    /// How long the controller stays away after that.
    pub restart_after: Duration,
    /// Whether custom resources and the controller's rules are installed.
    pub install: bool,
    /// Instead of the rules that ship with the controller.
    pub rbac: Option<String>,
    /// Real time after which a run is given up.
    pub real_limit: Duration,
    /// Whether faults are drawn from the seed, beside the scenario's own.
    pub swarm: bool,
    /// Instead of the faults of the scenario and of the seed.
    pub faults: Option<FaultPlan>,
}

impl RunOptions {
    /// What goes wrong in a run, and whether the scenario does not know of it.
    pub(crate) fn plan(&self, scenario: &Scenario, seed: u64) -> (FaultPlan, bool) {
        match &self.faults {
            Some(plan) => (plan.clone(), true),
            None if self.swarm => (FaultPlan::swarm_over(scenario, seed), true),
            None => (FaultPlan::of(scenario, seed), false),
        }
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            world: World::Discrete,
            http: HttpVersion::Http1,
            seed: None,
            jitter: true,
            keep_trace: false,
            crash: None,
            restart_after: Duration::from_secs(10),
            install: true,
            rbac: None,
            // A debug build on a busy machine takes seconds for what release does in one.
            real_limit: Duration::from_mins(10),
            swarm: false,
            faults: None,
        }
    }
}

/// Why there is no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The scenario cannot be set up: a mistake in the file.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The run took too long in real time; it was left behind.
    #[error("the run took more than {0:?} of real time and was given up")]
    TooSlow(Duration),
    /// The run's thread died.
    #[error("the run panicked: {0}")]
    Panicked(String),
    /// No thread could be started.
    #[error("no thread can be started: {0}")]
    Thread(String),
    /// The world needs real sockets and real time.
    #[error("world {0} is not simulated: use nap sim --world {0}")]
    NotSimulated(&'static str),
}

/// Runs a scenario in this world.
///
/// # Errors
///
/// When there is no outcome: the scenario cannot be set up, or the run does not come to an end.
pub fn run(scenario: &Scenario, options: &RunOptions) -> Result<Outcome, RunError> {
    jumping(scenario, options, |site, _, _| {
        ("discrete", Arc::new(InProcess::of(site)))
    })
}

/// Runs in virtual time that jumps, over any network that lives on the same runtime.
pub(super) fn jumping(
    scenario: &Scenario,
    options: &RunOptions,
    join: Join,
) -> Result<Outcome, RunError> {
    on_a_fresh_thread(options.real_limit, {
        let (scenario, options) = (scenario.clone(), options.clone());
        move || thread::on_this_thread(&scenario, &options, join)
    })
}

/// Runs on a thread of its own and waits for it: thread-local generators of dependencies start
/// from the seed there.
pub(super) fn on_a_fresh_thread(
    limit: Duration,
    work: impl FnOnce() -> Result<Outcome, RunError> + Send + 'static,
) -> Result<Outcome, RunError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let body = move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let result = result.unwrap_or_else(|panic| {
            Err(RunError::Panicked(crate::world::ports::message_of(
                panic.as_ref(),
            )))
        });
        // The receiver is gone when the limit was reached: nobody wants the outcome.
        drop(sender.send(result));
    };
    std::thread::Builder::new()
        .name("run".to_owned())
        .stack_size(STACK)
        .spawn(body)
        .map_err(|error| RunError::Thread(error.to_string()))?;
    match receiver.recv_timeout(limit) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(RunError::TooSlow(limit)),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(RunError::Panicked(
            "the thread ended without a word".to_owned(),
        )),
    }
}

/// Debug builds of deep futures and recursive schemas need more than the default two megabytes.
const STACK: usize = 16 << 20;
