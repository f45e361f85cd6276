//! Virtual time: one paused runtime on a fresh thread per run.
//!
//! Time moves only when nobody can run, to the next timer. Three watchdogs end a run that would
//! not end: the virtual horizon, a count of turns at one instant, and a limit on real time.

mod thread;

use std::sync::mpsc;
use std::time::Duration;

use crate::format::Scenario;
use crate::world::outcome::Outcome;
use crate::world::ports::CrashPoint;
use crate::world::setup::SetupError;

/// How to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
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
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            seed: None,
            jitter: true,
            keep_trace: false,
            crash: None,
            restart_after: Duration::from_secs(10),
            install: true,
            rbac: None,
            // A debug build on a busy machine takes seconds for what release does in one.
            real_limit: Duration::from_mins(10),
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
}

/// Runs a scenario on a thread of its own and waits for it.
///
/// # Errors
///
/// When there is no outcome: the scenario cannot be set up, or the run does not come to an end.
pub fn run(scenario: &Scenario, options: &RunOptions) -> Result<Outcome, RunError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let (scenario, limit) = (scenario.clone(), options.real_limit);
    let options = options.clone();
    let body = move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            thread::on_this_thread(&scenario, &options)
        }));
        let result = result.unwrap_or_else(|panic| {
            Err(RunError::Panicked(crate::world::ports::message_of(
                panic.as_ref(),
            )))
        });
        // The receiver is gone when the limit was reached: nobody wants the outcome.
        drop(sender.send(result));
    };
    // A thread of its own: thread-local generators of dependencies start from the seed.
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
