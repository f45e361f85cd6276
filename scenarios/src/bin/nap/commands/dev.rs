//! `nap dev`, and where it keeps its state.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args, ValueEnum};
use scenarios::format::Scenario;
use scenarios::world::discrete::{RunError, RunOptions};
use scenarios::world::live::{
    Files, LiveError, LiveOptions, Provisioner, default_state_dir, serve,
};
use scenarios::world::setup::SetupError;

use crate::commands::live::{block_on, interrupted, logging};
use crate::exit::{ENVIRONMENT, FAILED, INTERRUPTED, USAGE, data, talk};

/// A cluster without a scenario: no pools until somebody applies them, and no end.
const PLAIN: &str = "# A cluster to play with.\nname: dev\n";

/// Start an emulated AKS on this machine: ARM, API server, controller
///
/// One cluster, nap-dev in resource group nap-dev, with a system node. Default node pools are off
/// (as with `az aks create --node-provisioning-default-pools None`): apply your own AKSNodeClass
/// and NodePool, or give a scenario that switches them on. Everything listens on loopback only.
/// Ctrl-C ends it all; what stays in the state directory is the certificate authority, so that
/// the next start there is trusted by whoever trusted this one.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Port of ARM; 0 takes a free one
    #[arg(long, default_value_t = 8443)]
    arm_port: u16,
    /// Port of the API server; 0 takes a free one
    #[arg(long, default_value_t = 6443)]
    kube_port: u16,
    /// Folder for env.sh and kubeconfig; default: `$XDG_STATE_HOME/nap/dev`
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// A scenario whose cloud, manifests and timeline are used
    #[arg(long)]
    scenario: Option<PathBuf>,
    /// How much faster than real time everything runs
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// How long machines take to boot; default: fast, or what the scenario says
    #[arg(long, value_enum)]
    latency: Option<Latency>,
    /// A nap-controller to run instead of the one inside
    #[arg(long, conflicts_with = "no_controller")]
    controller: Option<PathBuf>,
    /// Run no controller and install no custom resources
    #[arg(long)]
    no_controller: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Latency {
    /// At most fifteen seconds
    Fast,
    /// Minutes, as on Azure
    Realistic,
}

pub(crate) fn run(arguments: &Arguments) -> u8 {
    let Some(state_dir) = state_dir(arguments.state_dir.as_deref()) else {
        return no_home();
    };
    if !is_scale(arguments.time_scale) {
        return USAGE;
    }
    let scenario = match scenario(arguments) {
        Ok(scenario) => scenario,
        Err(message) => {
            talk(&message);
            return USAGE;
        }
    };
    let controller = match (&arguments.controller, arguments.no_controller) {
        (_, true) => Provisioner::Nobody,
        (Some(program), _) => Provisioner::Program(program.clone()),
        (None, false) => Provisioner::Inside,
    };
    let options = LiveOptions {
        arm_port: arguments.arm_port,
        kube_port: arguments.kube_port,
        scale: arguments.time_scale,
        state_dir,
        controller,
        log: None,
        run: RunOptions {
            install: !arguments.no_controller,
            ..RunOptions::default()
        },
    };
    logging();
    let default_folder = arguments.state_dir.is_none();
    let served = block_on(async {
        let (stop, happened) = interrupted()?;
        let served = serve(&scenario, &options, stop, |files| {
            greet(files, default_folder);
        })
        .await;
        Ok((served, happened.load(Ordering::Relaxed)))
    });
    match served {
        Ok((Ok(outcome), interrupted)) => {
            for finding in &outcome.findings {
                talk(&format!("found: {finding}"));
            }
            if interrupted { INTERRUPTED } else { FAILED }
        }
        Ok((Err(error), _)) => explain(&error),
        Err(error) => {
            talk(&format!("error: {error}"));
            ENVIRONMENT
        }
    }
}

fn greet(files: &Files, default_folder: bool) {
    let folder = files.folder().display();
    let option = if default_folder {
        String::new()
    } else {
        format!(" --state-dir {folder}")
    };
    talk(&format!(
        "In another shell:\n  \
         eval \"$(nap env{option})\"\n  \
         kubectl get nodes\n  \
         nap az-login && az vm list --output table\n\
         Ctrl-C ends it."
    ));
    let (arm, kube) = (&files.arm_url, &files.kube_url);
    data(&format!("ready kube={kube} arm={arm} state={folder}\n"));
}

fn explain(error: &LiveError) -> u8 {
    if let LiveError::Run(RunError::Setup(SetupError::Scenario(located))) = error {
        talk(&located.render());
        return USAGE;
    }
    talk(&format!("error: {error}"));
    ENVIRONMENT
}

fn scenario(arguments: &Arguments) -> Result<Scenario, String> {
    let mut scenario = match &arguments.scenario {
        Some(file) => Scenario::load(file),
        None => Scenario::parse("dev", PLAIN, Path::new(".")),
    }
    .map_err(|error| error.render())?;
    if let Some(latency) = arguments.latency {
        scenario.cluster.realistic = latency == Latency::Realistic;
        scenario.cloud.latency = match latency {
            Latency::Fast => fake_arm_cloud::Latency::Fast,
            Latency::Realistic => fake_arm_cloud::Latency::Realistic,
        };
    }
    // Nothing is judged, and nothing ends before Ctrl-C: a century is as good as for ever.
    scenario.expect.clear();
    scenario.horizon = Duration::from_hours(100 * 365 * 24);
    Ok(scenario)
}

/// Whether time can run that fast; says so when not.
pub(crate) fn is_scale(scale: f64) -> bool {
    let is_scale = scale.is_finite() && scale > 0.0;
    if !is_scale {
        talk("error: --time-scale must be a positive number");
    }
    is_scale
}

/// There is no place for state.
pub(crate) fn no_home() -> u8 {
    talk("error: no home directory: name a folder with --state-dir DIR");
    ENVIRONMENT
}

/// The binary's one reader of the environment.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The folder that was given, or the default one.
pub(crate) fn state_dir(given: Option<&Path>) -> Option<PathBuf> {
    given.map(Path::to_owned).or_else(|| {
        default_state_dir(
            variable("XDG_STATE_HOME").map(PathBuf::from),
            variable("HOME").map(PathBuf::from),
        )
    })
}
