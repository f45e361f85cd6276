//! Real sockets and real time: both fakes behind TLS on loopback, for foreign clients and for the
//! shipped controller as a process of its own.

mod files;
mod folder;
mod serve;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use controller_operator::real::{
    BlockingPool, SystemClock, arm_transport, install_crypto, kube_config, kube_transport,
    os_entropy,
};
use controller_ports::{Clock, Entropy};
use fake_apiserver::CertificateAuthority;

use crate::faults;
use crate::format::Scenario;
use crate::trace::Trace;
use crate::world::discrete::{RunError, RunOptions};
use crate::world::outcome::Outcome;
use crate::world::ports::{Incarnation, SimClock};
use crate::world::process::{Child, Corruption, Host, Places};
use crate::world::run::{Run, Stage};
use crate::world::setup::SetupError;
use crate::world::site::{Site, SiteOptions, Tokens};
use folder::Folder;

pub use files::{EXPORTS, Files, default_state_dir, unset};
pub use serve::{Listeners, PortError};

/// How to serve.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Port of ARM; 0 takes a free one.
    pub arm_port: u16,
    /// Port of the API server; 0 takes a free one.
    pub kube_port: u16,
    /// How much faster than real time everything runs.
    pub scale: f64,
    /// Folder for kubeconfig, certificates and the rest.
    pub state_dir: PathBuf,
    /// Who provisions nodes.
    pub controller: Provisioner,
    /// File for what a controller of its own process says; default: `controller.log` in the
    /// folder.
    pub log: Option<PathBuf>,
    /// How runs are judged.
    pub run: RunOptions,
}

/// Who provisions nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisioner {
    /// Nobody.
    Nobody,
    /// The controller inside this process.
    Inside,
    /// This program.
    Program(PathBuf),
}

/// Why serving failed.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// A port is taken.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The environment lacks something.
    #[error("{0}")]
    Environment(String),
    /// The scenario cannot be set up.
    #[error(transparent)]
    Run(#[from] RunError),
}

fn environment(what: &str) -> impl Fn(&dyn std::fmt::Display) -> LiveError + '_ {
    move |error| LiveError::Environment(format!("{what}: {error}"))
}

/// Serves a scenario's world until `stop` resolves or its horizon is reached; `ready` is called
/// with the files once everything is installed. Call it on a runtime of its own.
///
/// # Errors
///
/// When ports are taken, files cannot be written or the scenario cannot be set up.
pub async fn serve(
    scenario: &Scenario,
    options: &LiveOptions,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(&Files),
) -> Result<Outcome, LiveError> {
    install_crypto();
    check(&options.controller)?;
    let mut folder = Folder::open(&options.state_dir)?;
    let listeners = Listeners::bind(options.arm_port, options.kube_port).await?;
    let entropy = os_entropy().map_err(|error| environment("no entropy")(&error))?;
    let tokens = Tokens::drawn(&entropy);
    let clock = SimClock::start(SystemClock::real().now(), options.scale);
    let trace = Trace::new(options.run.keep_trace);
    let setting = Setting {
        clock,
        trace: trace.clone(),
        entropy,
        ca: folder.authority(&entropy, clock.epoch())?,
        kube_address: listeners.kube_address(),
    };
    let site = site(scenario, setting, &tokens)?;
    let servers = Incarnation::new("servers", 1);
    let corruption = Corruption::default();
    let breaking = faults::bootstrap(Arc::clone(&corruption));
    let served = listeners.serve(&site, breaking, &tokens.controller, &servers)?;
    let files = Files::write(folder, &site, &served, &tokens)
        .map_err(|error| environment("the state directory cannot be written")(&error))?;
    site.facts
        .set_kubeconfig(&site.cluster.name.clone(), files.kubeconfig_text());
    let places = Places {
        arm: served.arm_url.clone(),
        kube: served.kube_url.clone(),
    };
    let host = host(scenario, options, &site, &files).await?;
    let seed = options.run.seed.unwrap_or(scenario.seed);
    let stage = Stage {
        world: "live",
        seed,
        entropy,
        clock,
        trace,
        site,
        tokens,
        host,
        places,
        corruption,
    };
    let result = async {
        // Boxed: a stage is large, and so would be every future around this one.
        let mut run = Box::pin(Run::begin(scenario, &options.run, stage)).await?;
        ready(&files);
        run.drive(stop).await;
        Ok(run.finish())
    }
    .await;
    servers.kill();
    files.remove();
    result.map_err(LiveError::Run)
}

/// What a site is built on.
struct Setting {
    clock: SimClock,
    trace: Trace,
    entropy: Entropy,
    ca: CertificateAuthority,
    kube_address: String,
}

fn site(scenario: &Scenario, setting: Setting, tokens: &Tokens) -> Result<Site, LiveError> {
    let site = Site::new(SiteOptions {
        cloud: scenario.cloud.clone(),
        cluster: &scenario.cluster,
        clock: setting.clock,
        entropy: setting.entropy,
        jitter: false,
        trace: setting.trace,
        ca: Some(setting.ca),
        kube_address: &setting.kube_address,
        tokens,
    });
    site.map_err(|error| LiveError::Run(SetupError::cloud(&scenario.source, &error).into()))
}

/// A program that is not there is noticed before anything starts.
fn check(controller: &Provisioner) -> Result<(), LiveError> {
    match controller {
        Provisioner::Program(program) if !program.is_file() => {
            Err(LiveError::Environment(format!(
                "no controller at {}: build it with 'cargo build --release --bin nap-controller', \
                 or name it with --controller PATH",
                program.display()
            )))
        }
        _ => Ok(()),
    }
}

async fn host(
    scenario: &Scenario,
    options: &LiveOptions,
    site: &Site,
    files: &Files,
) -> Result<Host, LiveError> {
    let program = match &options.controller {
        _ if !scenario.controller.enabled => return Ok(Host::Nobody),
        Provisioner::Nobody => return Ok(Host::Nobody),
        Provisioner::Program(program) => program,
        Provisioner::Inside => {
            let config = kube_config(Some(&files.controller_kubeconfig()))
                .await
                .map_err(|error| environment("kubeconfig")(&error))?;
            let kube = kube_transport(&config).map_err(|error| environment("TLS")(&error))?;
            let arm = arm_transport(Some(&files.ca_bundle()))
                .map_err(|error| environment("TLS")(&error))?;
            return Ok(Host::Inside {
                kube,
                arm,
                cpu: Arc::new(BlockingPool),
            });
        }
    };
    let time = (site.clock().epoch(), options.scale);
    let log = options
        .log
        .clone()
        .unwrap_or_else(|| files.folder().join("controller.log"));
    // An earlier emulation's; usually there is none.
    drop(std::fs::remove_file(&log));
    Ok(Host::Child(Child {
        program: program.clone(),
        environment: files.controller_environment(site, time, &scenario.controller.settings),
        log,
    }))
}

/// `nap-controller` beside the running program.
///
/// # Errors
///
/// When the running program has no path.
pub fn controller_beside_us() -> std::io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own
        .parent()
        .unwrap_or_else(|| Path::new("."))
        .join("nap-controller"))
}
