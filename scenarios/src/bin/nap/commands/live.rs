//! `nap sim --world live`, and what real time needs.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use scenarios::format::{Scenario, World};
use scenarios::suite::{Case, Result as CaseResult};
use scenarios::world::discrete::{RunError, RunOptions};
use scenarios::world::live::{LiveError, LiveOptions, Provisioner, controller_beside_us, serve};
use scenarios::world::setup::SetupError;

use crate::commands::{Output, dev, sim};
use crate::exit::{ENVIRONMENT, INTERRUPTED, USAGE, talk};

pub(crate) struct Live<'a> {
    pub(crate) files: &'a [PathBuf],
    pub(crate) seed: Option<u64>,
    pub(crate) time_scale: f64,
    pub(crate) controller: Option<&'a Path>,
    pub(crate) report: Option<&'a Path>,
    pub(crate) trace: Option<&'a Path>,
    pub(crate) output: Output,
    pub(crate) junit: Option<&'a Path>,
}

/// Runs on a multi-thread runtime.
pub(crate) fn block_on<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

/// Resolves at SIGINT or SIGTERM, and whether that has happened.
pub(crate) fn interrupted() -> io::Result<(impl Future<Output = ()>, Arc<AtomicBool>)> {
    let signal = controller_operator::real::termination()?;
    let happened = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&happened);
    let stop = async move {
        signal.await;
        flag.store(true, Ordering::Relaxed);
    };
    Ok((stop, happened))
}

/// Logs of controller and emulators, on stderr; `RUST_LOG` chooses.
pub(crate) fn logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_unset| tracing_subscriber::EnvFilter::new("warn"));
    // A second call keeps the first subscriber.
    drop(
        tracing_subscriber::fmt()
            .with_writer(io::stderr)
            .with_env_filter(filter)
            .try_init(),
    );
}

/// Why there is no case.
enum Trouble {
    Interrupted,
    Environment(String),
}

pub(crate) fn run(live: &Live<'_>) -> u8 {
    if !dev::is_scale(live.time_scale) {
        return USAGE;
    }
    let program = match live
        .controller
        .map(Path::to_owned)
        .map_or_else(controller_beside_us, Ok)
    {
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
            Ok(result) => Case {
                variation: scenarios::sweep::Variation::PLAIN,
                file: file.clone(),
                result,
            },
            Err(Trouble::Interrupted) => {
                talk("interrupted");
                return INTERRUPTED;
            }
            Err(Trouble::Environment(message)) => {
                talk(&format!("error: {message}"));
                return ENVIRONMENT;
            }
        };
        if let Err(message) = sim::emit(&case, live.report, live.trace, live.output) {
            trouble = Some(message);
        }
        cases.push(case);
    }
    sim::finish(&cases, live.output, live.junit, trouble)
}

fn one(file: &Path, live: &Live<'_>, program: &Path) -> Result<CaseResult, Trouble> {
    let scenario = match Scenario::load(file) {
        Ok(scenario) => scenario,
        Err(error) => return Ok(CaseResult::Invalid(Box::new(error))),
    };
    if !scenario.worlds.contains(&World::Live) {
        let place = scenario
            .source
            .error("worlds", "the scenario is not allowed in world live");
        return Ok(CaseResult::Invalid(Box::new(place)));
    }
    let environment = |error: &dyn std::fmt::Display| Trouble::Environment(error.to_string());
    let folder = tempfile::Builder::new()
        .prefix("nap-live-")
        .tempdir()
        .map_err(|error| environment(&format_args!("no temporary folder: {error}")))?;
    let options = LiveOptions {
        arm_port: 0,
        kube_port: 0,
        scale: live.time_scale,
        state_dir: folder.path().join("state"),
        controller: Provisioner::Program(program.to_owned()),
        log: Some(sim::report_folder(live.report, &scenario.name).join("controller.log")),
        run: RunOptions {
            seed: live.seed,
            keep_trace: live.trace.is_some(),
            ..RunOptions::default()
        },
    };
    let served = block_on(async {
        let (stop, happened) = interrupted()?;
        let served = serve(&scenario, &options, stop, |_| {}).await;
        Ok((served, happened.load(Ordering::Relaxed)))
    });
    match served.map_err(|error| environment(&error))? {
        (_, true) => Err(Trouble::Interrupted),
        (Ok(outcome), _) => Ok(CaseResult::Ran(Box::new(outcome))),
        (Err(LiveError::Run(RunError::Setup(SetupError::Scenario(error)))), _) => {
            Ok(CaseResult::Invalid(error))
        }
        (Err(LiveError::Run(error)), _) => Ok(CaseResult::Broken(error.to_string())),
        (Err(error), _) => Err(environment(&error)),
    }
}
