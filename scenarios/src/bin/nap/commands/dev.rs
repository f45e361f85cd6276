//! `nap dev`, `nap env`, `nap az-login`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::{Args, ValueEnum};
use scenarios::format::Scenario;
use scenarios::world::discrete::{RunError, RunOptions};
use scenarios::world::live::{
    EXPORTS, LiveError, LiveOptions, Provisioner, default_state_dir, serve,
};
use scenarios::world::setup::SetupError;

use crate::exit::{ENVIRONMENT, FAILED, OK, USAGE, data, talk};

/// Interrupted by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// A cluster without a scenario: no pools until somebody applies them, and no end.
const PLAIN: &str = "# A cluster to play with.\nname: dev\n";

#[derive(Debug, Args)]
pub(crate) struct DevArguments {
    /// Port of ARM; 0 takes a free one
    #[arg(long, default_value_t = 8443)]
    arm_port: u16,
    /// Port of the API server; 0 takes a free one
    #[arg(long, default_value_t = 6443)]
    kube_port: u16,
    /// Folder for env.sh and kubeconfig; default: $XDG_STATE_HOME/nap/dev
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// A scenario whose cloud, manifests and timeline are used
    #[arg(long)]
    scenario: Option<PathBuf>,
    /// How much faster than real time everything runs
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// How long machines take to boot
    #[arg(long, value_enum, default_value_t = Latency::Fast)]
    latency: Latency,
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

#[derive(Debug, Args)]
pub(crate) struct EnvArguments {
    /// Folder that nap dev was given; default: $XDG_STATE_HOME/nap/dev
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// Print commands that take the exports back
    #[arg(long)]
    unset: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArguments {
    /// Folder that nap dev was given; default: $NAP_STATE_DIR, else $XDG_STATE_HOME/nap/dev
    #[arg(long)]
    state_dir: Option<PathBuf>,
}

pub(crate) fn dev(arguments: &DevArguments) -> u8 {
    let Some(state_dir) = state_dir(arguments.state_dir.as_deref()) else {
        talk("error: no home directory: name a folder with --state-dir DIR");
        return ENVIRONMENT;
    };
    if !arguments.time_scale.is_finite() || arguments.time_scale <= 0.0 {
        talk("error: --time-scale must be a positive number");
        return USAGE;
    }
    let mut scenario = match scenario(arguments.scenario.as_deref()) {
        Ok(scenario) => scenario,
        Err(message) => {
            talk(&message);
            return USAGE;
        }
    };
    if arguments.latency == Latency::Realistic {
        scenario.cloud.latency = fake_arm_cloud::Latency::Realistic;
        scenario.cluster.realistic = true;
    }
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
        run: RunOptions { install: !arguments.no_controller, ..RunOptions::default() },
    };
    crate::commands::live::logging();
    let served = crate::commands::live::block_on(async {
        let stop = crate::commands::live::interrupted()?;
        Ok(serve(&scenario, &options, stop, |files| {
            let (arm, kube) = (&files.arm_url, &files.kube_url);
            data(&format!("ready arm={arm} kube={kube} state={}\n", files.folder().display()));
        })
        .await)
    });
    match served {
        // Only Ctrl-C ends it; a lost world ends with what was found.
        Ok(Ok(outcome)) if outcome.findings.is_empty() => INTERRUPTED,
        Ok(Ok(outcome)) => {
            for finding in &outcome.findings {
                talk(&format!("found: {finding}"));
            }
            FAILED
        }
        Ok(Err(error)) => explain(&error),
        Err(error) => {
            talk(&format!("error: {error}"));
            ENVIRONMENT
        }
    }
}

pub(crate) fn explain(error: &LiveError) -> u8 {
    if let LiveError::Run(RunError::Setup(SetupError::Scenario(located))) = error {
        talk(&located.render());
        return USAGE;
    }
    talk(&format!("error: {error}"));
    ENVIRONMENT
}

fn scenario(file: Option<&Path>) -> Result<Scenario, String> {
    let mut scenario = match file {
        Some(file) => Scenario::load(file),
        None => Scenario::parse("dev", PLAIN, Path::new(".")),
    }
    .map_err(|error| error.render())?;
    // Nothing is judged, and nothing ends before Ctrl-C: a century is as good as for ever.
    scenario.expect.clear();
    scenario.horizon = Duration::from_secs(100 * 365 * 86_400);
    Ok(scenario)
}

pub(crate) fn env(arguments: &EnvArguments) -> u8 {
    if arguments.unset {
        data(&format!("unset {}\n", EXPORTS.join(" ")));
        return OK;
    }
    let Some(folder) = state_dir(arguments.state_dir.as_deref()) else {
        talk("error: no home directory: name a folder with --state-dir DIR");
        return ENVIRONMENT;
    };
    let path = folder.join("env.sh");
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            data(&text);
            OK
        }
        Err(error) => {
            talk(&format!("error: {}: {error}; is 'nap dev' running there?", path.display()));
            ENVIRONMENT
        }
    }
}

pub(crate) fn az_login(arguments: &LoginArguments) -> u8 {
    let given = arguments.state_dir.clone().or_else(|| variable("NAP_STATE_DIR").map(PathBuf::from));
    let Some(folder) = state_dir(given.as_deref()) else {
        talk("error: no home directory: name a folder with --state-dir DIR");
        return ENVIRONMENT;
    };
    match login(&folder) {
        Ok(()) => OK,
        Err(message) => {
            talk(&format!("error: {message}"));
            ENVIRONMENT
        }
    }
}

/// Registers the emulated cloud and signs in, with the exports of `env.sh` in force.
fn login(folder: &Path) -> Result<(), String> {
    let path = folder.join("az-login.json");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}; is 'nap dev' running there?", path.display()))?;
    let login: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let value = |key: &str| login[key].as_str().unwrap_or_default().to_owned();
    let endpoint = value("endpoint");
    // A cloud of an earlier emulation may be registered in this folder.
    let known = az(folder, &["cloud", "show", "--name", "nap", "--output", "none"]).is_ok();
    let verb = if known { "update" } else { "register" };
    az(folder, &["cloud", verb, "--name", "nap", "--endpoint-resource-manager", &endpoint])?;
    az(folder, &["cloud", "set", "--name", "nap"])?;
    let (client, secret, tenant) = (value("clientId"), value("clientSecret"), value("tenantId"));
    az(
        folder,
        &[
            "login", "--service-principal", "--username", &client, "--password", &secret,
            "--tenant", &tenant, "--output", "none",
        ],
    )
}

fn az(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let script = format!(". '{}' && exec az \"$@\"", folder.join("env.sh").display());
    let output = Command::new("sh")
        .args(["-c", &script, "az"])
        .args(arguments)
        .output()
        .map_err(|error| format!("sh: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("az {}: {}", arguments.join(" "), said.trim()))
}

#[expect(clippy::disallowed_methods, reason = "the binary's one reader of the environment")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn state_dir(given: Option<&Path>) -> Option<PathBuf> {
    given.map(Path::to_owned).or_else(|| {
        default_state_dir(
            variable("XDG_STATE_HOME").map(PathBuf::from),
            variable("HOME").map(PathBuf::from),
        )
    })
}
