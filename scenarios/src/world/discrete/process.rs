//! The controller as a process: start, crash, restart.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use controller_ports::{Entropy, Ports, Spawner};
use futures::FutureExt;
use tokio::sync::Notify;

use crate::format::BootstrapFault;
use crate::story::Kind;
use crate::trace::{Entry, Trace};
use crate::world::controller::{Places, SettingError, configuration};
use crate::world::ports::{
    ActorTransport, Finding, Findings, FencedSpawner, Incarnation, InlinePool, Shared, SimClock,
    Target, Wire, WriteGate,
};
use crate::world::site::{CONTROLLER_TOKEN, Site};

/// Where ARM is, as URLs in answers spell it.
pub(super) const ARM_URL: &str = "https://management.azure.test";
/// Where the API server is, as bootstrap data spells it.
pub(super) const KUBE_ADDRESS: &str = "kubernetes.test:443";

/// What is broken in bootstrap data right now.
pub(super) type Corruption = Arc<Mutex<Option<BootstrapFault>>>;

/// The controller's process table entry.
pub(super) struct Controller {
    pub(super) gate: Arc<WriteGate>,
    pub(super) requests: Arc<AtomicU64>,
    pub(super) corruption: Corruption,
    pub(super) exited: Arc<Notify>,
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
    pub(super) restart_at: Option<Duration>,
}

/// What a [`Controller`] is built from.
pub(super) struct Given {
    pub(super) gate: WriteGate,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) entropy: Entropy,
    pub(super) jitter: bool,
    pub(super) trace: Trace,
    pub(super) clock: SimClock,
    pub(super) findings: Findings,
}

impl Controller {
    pub(super) fn new(given: Given) -> Self {
        Self {
            gate: Arc::new(given.gate),
            requests: Arc::new(AtomicU64::new(0)),
            corruption: Corruption::default(),
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

    pub(super) fn is_running(&self) -> bool {
        self.current.is_some()
    }

    /// Starts a new incarnation: new identity, new entropy, empty caches.
    pub(super) fn start(&mut self, site: &mut Site) -> Result<(), SettingError> {
        self.restart_at = None;
        self.lives += 1;
        let incarnation = Incarnation::new("controller", self.lives);
        let config = {
            let ca = site.api.ca();
            let url = format!("https://{KUBE_ADDRESS}");
            let places = Places { arm: ARM_URL, kube: &url, ca_pem: ca.pem() };
            let cloud = site.arm.with_cloud(|cloud, _| cloud.config().clone());
            let identity = format!("karpenter-{}", self.lives);
            configuration(&cloud, &site.cluster, &places, &identity, &self.settings)?
        };
        let ports = self.ports(site, &incarnation);
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
        let name = incarnation.name().to_owned();
        self.current = Some(incarnation);
        self.record(&name, "start");
        site.chronicle.say(self.clock.elapsed(), Kind::Process, format!("{name} started"), "");
        Ok(())
    }

    fn ports(&self, site: &Site, incarnation: &Arc<Incarnation>) -> Ports {
        let entropy = self.entropy.child("controller").child(incarnation.name());
        let shared = Shared {
            trace: self.trace.clone(),
            clock: self.clock,
            requests: Arc::clone(&self.requests),
            entropy: self.entropy.child("network"),
        };
        let transport = |target, router, token| {
            let inner = Wire::new(router).transport();
            ActorTransport::new(Arc::clone(incarnation), target, inner, token, shared.clone())
                .gated(Arc::clone(&self.gate))
        };
        let corruption = Arc::clone(&self.corruption);
        let jitter = self.jitter.then(|| self.entropy.child("jitter").child(incarnation.name()));
        Ports {
            clock: Arc::new(self.clock),
            entropy,
            kube: transport(Target::Kube, site.api.router(), Some(CONTROLLER_TOKEN)).transport(),
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
    pub(super) async fn crash(&mut self, site: &mut Site, restart_after: Duration) {
        let Some(incarnation) = self.current.take() else { return };
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
    pub(super) fn stop(&mut self) {
        if let Some(incarnation) = self.current.take() {
            incarnation.kill();
            self.record(incarnation.name(), "stop");
        }
        self.restart_at = None;
    }

    /// Takes note of an end that nobody asked for: a finding, and a restart as Kubernetes would.
    pub(super) fn take_exit(&mut self) {
        let message = self.exit.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(message), Some(incarnation)) = (message, self.current.take()) else { return };
        incarnation.kill();
        self.record(incarnation.name(), "exit");
        let process = incarnation.name().to_owned();
        self.findings.add(Finding::Exit { process, message });
        self.restart_at = Some(self.clock.elapsed() + Duration::from_secs(10));
    }

    fn record(&self, process: &str, what: &str) {
        self.trace.record(self.clock.millis(), process, Entry::Proc { what });
    }
}
