//! The controller as a process: start, crash, restart.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use controller_ports::{CpuPool, Entropy, Ports, Spawner, Transport};
use futures::FutureExt;
use tokio::sync::Notify;

use crate::format::BootstrapFault;
use crate::story::Kind;
use crate::trace::{Entry, Trace};
use crate::world::controller::{SettingError, configuration};
use crate::world::ports::{
    ActorTransport, FencedSpawner, Finding, Findings, Incarnation, InlinePool, Shared, SimClock,
    Target, Wire, WriteGate,
};
use crate::world::site::Site;

/// Where the servers are.
#[derive(Clone, Debug)]
pub struct Places {
    /// URL of ARM.
    pub arm: String,
    /// URL of the API server, for the controller and the nodes.
    pub kube: String,
}

/// Where the controller runs.
#[derive(Clone, Debug)]
pub enum Host {
    /// Nowhere.
    Nobody,
    /// In this process, over in-process transports that trace, fence and count.
    Simulated,
    /// In this process, over real sockets.
    Inside {
        /// To the API server, identity included.
        kube: Transport,
        /// To ARM.
        arm: Transport,
        /// Where long computations run.
        cpu: Arc<dyn CpuPool>,
    },
    /// In a process of its own.
    Child(Child),
}

/// A controller in a process of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The program.
    pub program: PathBuf,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// File for what it says; every life adds to it.
    pub log: PathBuf,
}

/// What is broken in bootstrap data right now.
pub(crate) type Corruption = Arc<Mutex<Option<BootstrapFault>>>;

/// The controller's process table entry.
pub(crate) struct Controller {
    pub(crate) gate: Arc<WriteGate>,
    pub(crate) requests: Arc<AtomicU64>,
    pub(crate) corruption: Corruption,
    pub(crate) exited: Arc<Notify>,
    host: Host,
    places: Places,
    token: String,
    exit: Arc<Mutex<Option<String>>>,
    settings: BTreeMap<String, String>,
    entropy: Entropy,
    jitter: bool,
    trace: Trace,
    clock: SimClock,
    findings: Findings,
    lives: u32,
    current: Option<Arc<Incarnation>>,
    /// When it starts again.
    pub(crate) restart_at: Option<Duration>,
}

/// What a [`Controller`] is built from.
pub(crate) struct Given {
    pub(crate) host: Host,
    pub(crate) places: Places,
    pub(crate) token: String,
    pub(crate) gate: WriteGate,
    pub(crate) corruption: Corruption,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) entropy: Entropy,
    pub(crate) jitter: bool,
    pub(crate) trace: Trace,
    pub(crate) clock: SimClock,
    pub(crate) findings: Findings,
}

impl Controller {
    pub(crate) fn new(given: Given) -> Self {
        Self {
            host: given.host,
            places: given.places,
            token: given.token,
            gate: Arc::new(given.gate),
            requests: Arc::new(AtomicU64::new(0)),
            corruption: given.corruption,
            exited: Arc::new(Notify::new()),
            exit: Arc::default(),
            settings: given.settings,
            entropy: given.entropy,
            jitter: given.jitter,
            trace: given.trace,
            clock: given.clock,
            findings: given.findings,
            lives: 0,
            current: None,
            restart_at: None,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.current.is_some()
    }

    /// Starts a new incarnation: new identity, new entropy, empty caches.
    pub(crate) fn start(&mut self, site: &mut Site) -> Result<(), SettingError> {
        self.restart_at = None;
        if matches!(self.host, Host::Nobody) {
            return Ok(());
        }
        self.lives += 1;
        let incarnation = Incarnation::new("controller", self.lives);
        match self.host.clone() {
            Host::Nobody => {}
            Host::Child(child) => self.spawn_child(&incarnation, &child),
            Host::Simulated => {
                let ports = self.ports(site, &incarnation);
                self.spawn_inside(site, ports)?;
            }
            Host::Inside { kube, arm, cpu } => {
                let ports = Ports {
                    kube,
                    arm,
                    cpu,
                    ..self.ports(site, &incarnation)
                };
                self.spawn_inside(site, ports)?;
            }
        }
        let name = incarnation.name().to_owned();
        self.current = Some(incarnation);
        self.record(&name, "start");
        site.chronicle.say(
            self.clock.elapsed(),
            Kind::Process,
            format!("{name} started"),
            "",
        );
        Ok(())
    }

    fn spawn_inside(&self, site: &Site, ports: Ports) -> Result<(), SettingError> {
        let config = {
            let ca = site.api.ca();
            let cloud = site.arm.with_cloud(|cloud, _| cloud.config().clone());
            let identity = format!("karpenter-{}", self.lives);
            let places = (&self.places, ca.pem());
            configuration(&cloud, &site.cluster, places, &identity, &self.settings)?
        };
        let spawner = Arc::clone(&ports.spawner);
        let (exit, exited) = (Arc::clone(&self.exit), Arc::clone(&self.exited));
        let main = controller::run(config, ports).map(move |result| {
            let message = match result {
                Ok(()) => "without an error".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            *exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
            exited.notify_one();
        });
        drop(spawner.spawn("main", main.boxed()));
        Ok(())
    }

    /// The process dies with its task: `kill_on_drop`.
    fn spawn_child(&self, incarnation: &Arc<Incarnation>, child: &Child) {
        let child = opened(&child.log).and_then(|(log, same)| {
            tokio::process::Command::new(&child.program)
                .env_clear()
                .envs(child.environment.iter().map(|(key, value)| (key, value)))
                .env("POD_NAME", format!("karpenter-{}", self.lives))
                .stdin(Stdio::null())
                .stdout(log)
                .stderr(same)
                .kill_on_drop(true)
                .spawn()
        });
        let (exit, exited) = (Arc::clone(&self.exit), Arc::clone(&self.exited));
        let wait = async move {
            let message = match child {
                Err(error) => format!("cannot be started: {error}"),
                Ok(mut child) => match child.wait().await {
                    Ok(status) => status.to_string(),
                    Err(error) => error.to_string(),
                },
            };
            *exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
            exited.notify_one();
        };
        let spawner = FencedSpawner::new(Arc::clone(incarnation), self.findings.clone(), None);
        drop(spawner.spawn("process", wait.boxed()));
    }

    fn ports(&self, site: &Site, incarnation: &Arc<Incarnation>) -> Ports {
        let entropy = self.entropy.child("controller").child(incarnation.name());
        let shared = Shared {
            trace: self.trace.clone(),
            clock: self.clock,
            requests: Arc::clone(&self.requests),
            entropy: self.entropy.child("network"),
            findings: self.findings.clone(),
        };
        let transport = |target, router, token: Option<&str>| {
            let inner = Wire::new(router).transport();
            ActorTransport::new(
                Arc::clone(incarnation),
                target,
                inner,
                token,
                shared.clone(),
            )
            .gated(Arc::clone(&self.gate))
        };
        let corruption = Arc::clone(&self.corruption);
        let jitter = self
            .jitter
            .then(|| self.entropy.child("jitter").child(incarnation.name()));
        Ports {
            clock: Arc::new(self.clock),
            entropy,
            kube: transport(Target::Kube, site.api.router(), Some(&self.token)).transport(),
            arm: transport(Target::Arm, site.arm.router(), None)
                .rewritten(crate::faults::bootstrap(corruption))
                .transport(),
            spawner: Arc::new(FencedSpawner::new(
                Arc::clone(incarnation),
                self.findings.clone(),
                jitter,
            )),
            cpu: Arc::new(InlinePool),
        }
    }

    /// Kills the process and checks that nothing of it lives on.
    pub(crate) async fn crash(&mut self, site: &mut Site, restart_after: Duration) {
        let Some(incarnation) = self.current.take() else {
            return;
        };
        incarnation.kill();
        self.record(incarnation.name(), "crash");
        let now = self.clock.elapsed();
        let text = format!("{} killed", incarnation.name());
        site.chronicle.say(now, Kind::Process, text, "");
        self.restart_at = Some(now + restart_after);
        // Stopped tasks are dropped at their next turn; a millisecond later all have had one.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let tasks = incarnation.alive();
        if !tasks.is_empty() {
            let process = incarnation.name().to_owned();
            self.findings.add(Finding::Leak { process, tasks });
        }
    }

    /// Stops the process because node auto-provisioning was switched off.
    pub(crate) fn stop(&mut self) {
        if let Some(incarnation) = self.current.take() {
            incarnation.kill();
            self.record(incarnation.name(), "stop");
        }
        self.restart_at = None;
    }

    /// Takes note of an end that nobody asked for: a finding, and a restart as Kubernetes would.
    pub(crate) fn take_exit(&mut self) {
        let message = self
            .exit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (Some(message), Some(incarnation)) = (message, self.current.take()) else {
            return;
        };
        incarnation.kill();
        self.record(incarnation.name(), "exit");
        let process = incarnation.name().to_owned();
        self.findings.add(Finding::Exit { process, message });
        self.restart_at = Some(self.clock.elapsed() + Duration::from_secs(10));
    }

    fn record(&self, process: &str, what: &str) {
        self.trace
            .record(self.clock.millis(), process, Entry::Proc { what });
    }
}

/// A log to add to, twice: for what a process says on either stream.
fn opened(path: &Path) -> std::io::Result<(File, File)> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let log = File::options().append(true).create(true).open(path)?;
    let same = log.try_clone()?;
    Ok((log, same))
}
