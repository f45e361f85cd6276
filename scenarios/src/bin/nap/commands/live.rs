//! `nap sim --world live`, and what real time needs.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use scenarios::format::{Scenario, World};
use scenarios::suite::{Case, Result as CaseResult};
use scenarios::world::Outcome;
use scenarios::world::discrete::{RunError, RunOptions};
use scenarios::world::live::{
    LiveError, LiveOptions, Provisioner, controller_beside_us, serve,
};
use scenarios::world::setup::SetupError;

use crate::commands::{Output, sim};
use crate::exit::{ENVIRONMENT, USAGE, talk};

pub(crate) struct Live<'a> {
    pub(crate) files: &'a [PathBuf],
    pub(crate) seed: Option<u64>,
    pub(crate) time_scale: f64,
    pub(crate) controller: Option<&'a Path>,
    pub(crate) report: Option<&'a Path>,
    pub(crate) output: Output,
    pub(crate) junit: Option<&'a Path>,
}

/// Runs on a multi-thread runtime.
pub(crate) fn block_on<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(work)
}

/// Resolves at SIGINT or SIGTERM.
pub(crate) fn interrupted() -> io::Result<impl Future<Output = ()>> {
    controller_operator::real::termination()
}

/// Logs of controller and emulators, on stderr; `RUST_LOG` chooses.
pub(crate) fn logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_unset| tracing_subscriber::EnvFilter::new("warn"));
    // A second call keeps the first subscriber.
    drop(
        tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter).try_init(),
    );
}

pub(crate) fn run(live: &Live<'_>) -> u8 {
    if !live.time_scale.is_finite() || live.time_scale <= 0.0 {
        talk("error: --time-scale must be a positive number");
        return USAGE;
    }
    let program = match live.controller.map(Path::to_owned).map_or_else(controller_beside_us, Ok) {
        Ok(program) => program,
        Err(error) => {
            talk(&format!("error: {error}"));
            return ENVIRONMENT;
        }
    };
    logging();
    let (mut cases, mut trouble) = (Vec::new(), None);
    // One at a time: real time is shared, and each scenario wants the machine for itself.
    for file in live.files {
        let case = match one(file, live, &program) {
            Ok(result) => Case { file: file.clone(), result },
            Err(message) => {
                talk(&format!("error: {message}"));
                return ENVIRONMENT;
            }
        };
        if let Err(message) = sim::emit(&case, live.report, None, live.output) {
            trouble = Some(message);
        }
        cases.push(case);
    }
    sim::finish(&cases, live.output, live.junit, trouble)
}

fn one(file: &Path, live: &Live<'_>, program: &Path) -> Result<CaseResult, String> {
    let scenario = match Scenario::load(file) {
        Ok(scenario) => scenario,
        Err(error) => return Ok(CaseResult::Invalid(Box::new(error))),
    };
    if !scenario.worlds.contains(&World::Live) {
        let place = scenario.source.error("worlds", "the scenario is not allowed in world live");
        return Ok(CaseResult::Invalid(Box::new(place)));
    }
    let folder = tempfile::Builder::new()
        .prefix("nap-live-")
        .tempdir()
        .map_err(|error| format!("no temporary folder: {error}"))?;
    let options = LiveOptions {
        arm_port: 0,
        kube_port: 0,
        scale: live.time_scale,
        state_dir: folder.path().join("state"),
        controller: Provisioner::Program(program.to_owned()),
        run: RunOptions { seed: live.seed, ..RunOptions::default() },
    };
    let served = block_on(async {
        let stop = interrupted()?;
        Ok(serve(&scenario, &options, stop, |_| {}).await)
    });
    match served.map_err(|error| error.to_string())? {
        Ok(outcome) if outcome.horizon < scenario.horizon && outcome.findings.is_empty() => {
            Err("interrupted".to_owned())
        }
        Ok(outcome) => Ok(CaseResult::Ran(Box::<Outcome>::new(outcome))),
        Err(LiveError::Run(RunError::Setup(SetupError::Scenario(error)))) => {
            Ok(CaseResult::Invalid(error))
        }
        Err(LiveError::Run(error)) => Ok(CaseResult::Broken(error.to_string())),
        Err(error) => Err(error.to_string()),
    }
}
