//! The controller as a process: start, crash, restart.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use controller::Process;
use controller_operator::Metrics;
use controller_ports::{CpuPool, Entropy, Ports, Spawner, Transport};
use futures::FutureExt;
use tokio::sync::Notify;

use fake_apiserver_components::api::{Identity, Resource};

use crate::faults::{FaultKind, Faulty, Injector, Witness};
use crate::format::{BootstrapFault, format_duration};
use crate::story::Kind;
use crate::trace::{Entry, Trace};
use crate::world::controller::{SettingError, configuration};
use crate::world::net::{InProcess, Network};
use crate::world::ports::{
    ActorTransport, Acts, FencedSpawner, Finding, Findings, Incarnation, InlinePool, Shared,
    SimClock, Target, WriteGate,
};
use crate::world::site::Site;

/// Leases name the leader.
const LEASES: Resource = Resource {
    group: "coordination.k8s.io",
    version: "v1",
    plural: "leases",
};

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
pub(crate) enum Host {
    /// Nowhere.
    Nobody,
    /// In this process, over a network that is simulated, too; requests are traced, fenced and
    /// counted.
    Simulated(Arc<dyn Network>),
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
    pub(crate) acts: Acts,
    pub(crate) corruption: Corruption,
    pub(crate) exited: Arc<Notify>,
    host: Host,
    places: Places,
    token: String,
    settings: BTreeMap<String, String>,
    entropy: Entropy,
    jitter: bool,
    trace: Trace,
    clock: SimClock,
    findings: Findings,
    injector: Arc<Injector>,
    /// Lives so far.
    count: u32,
    /// Those that go on, the oldest first.
    lives: Vec<Life>,
    /// When a replica starts.
    starts: Vec<Duration>,
    replicas: usize,
    /// Whether something is done on purpose that may cost the lease.
    pub(crate) troubled: bool,
}

/// A replica that runs.
struct Life {
    incarnation: Arc<Incarnation>,
    /// Name in the lease.
    identity: String,
    /// What it said when it ended by itself.
    exit: Exit,
    /// What it counts.
    metrics: Metrics,
    /// When it goes on after standing still.
    resume_at: Option<Duration>,
}

type Exit = Arc<Mutex<Option<String>>>;

/// How long a leader stands still so that another replica takes over for certain: the lease (15 s),
/// the others' retries, and their start.
const FAILOVER_PAUSE: Duration = Duration::from_secs(40);

/// What a [`Controller`] is built from.
pub(crate) struct Given {
    pub(crate) host: Host,
    pub(crate) places: Places,
    pub(crate) token: String,
    pub(crate) gate: WriteGate,
    pub(crate) injector: Arc<Injector>,
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
            acts: Acts::default(),
            corruption: given.corruption,
            exited: Arc::new(Notify::new()),
            settings: given.settings,
            entropy: given.entropy,
            jitter: given.jitter,
            trace: given.trace,
            clock: given.clock,
            findings: given.findings,
            replicas: 1 + usize::from(given.injector.plan().standby),
            troubled: !given.injector.plan().is_empty(),
            injector: given.injector,
            count: 0,
            lives: Vec::new(),
            starts: Vec::new(),
        }
    }

    /// Whether any replica runs or is about to.
    pub(crate) fn is_running(&self) -> bool {
        !(self.lives.is_empty() && self.starts.is_empty())
    }

    /// All replicas start at this time.
    pub(crate) fn start_at(&mut self, at: Duration) {
        self.starts = vec![at; self.replicas];
    }

    /// Whether it runs undisturbed.
    pub(crate) fn is_calm(&self) -> bool {
        !self.lives.is_empty()
            && self.starts.is_empty()
            && self.lives.iter().all(|life| life.resume_at.is_none())
    }

    /// What the only replica counts, in Prometheus' form, and whether it has counted from the
    /// start; `None` where there are several, or where nobody can look.
    pub(crate) fn metrics(&self) -> Option<(String, bool)> {
        let [life] = &self.lives[..] else { return None };
        let seen = !matches!(self.host, Host::Child(_)) && life.resume_at.is_none();
        seen.then(|| (life.metrics.encode(), self.count == 1))
    }

    /// Tasks of all replicas.
    pub(crate) fn tasks(&self) -> u64 {
        self.lives.iter().map(|life| life.incarnation.tasks()).sum()
    }

    /// When something is due here.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let resumes = self.lives.iter().filter_map(|life| life.resume_at);
        resumes.chain(self.starts.iter().copied()).min()
    }

    /// Starts and resumes whatever is due.
    pub(crate) fn step(&mut self, site: &mut Site, now: Duration) -> Result<(), SettingError> {
        for life in &mut self.lives {
            if life.resume_at.is_some_and(|at| at <= now) {
                life.resume_at = None;
                life.incarnation.resume();
                let name = life.incarnation.name();
                let resume = Entry::Proc { what: "resume" };
                self.trace.record(self.clock.millis(), name, resume);
                let text = format!("{name} goes on");
                site.chronicle.say(now, Kind::Process, text, "");
            }
        }
        let due = self.starts.iter().filter(|at| **at <= now).count();
        self.starts.retain(|at| *at > now);
        for _ in 0..due {
            self.start(site)?;
        }
        Ok(())
    }

    /// Starts a new incarnation: new identity, new entropy, empty caches.
    fn start(&mut self, site: &mut Site) -> Result<(), SettingError> {
        if matches!(self.host, Host::Nobody) {
            return Ok(());
        }
        self.count += 1;
        let incarnation = Incarnation::new("controller", self.count);
        let identity = format!("karpenter-{}", self.count);
        let (exit, metrics) = (Exit::default(), Metrics::new());
        match self.host.clone() {
            Host::Nobody => {}
            Host::Child(child) => self.spawn_child(&incarnation, &child, &exit),
            Host::Simulated(network) => {
                let ports = self.ports(&*network, &incarnation);
                let main = self.main(site, ports, (&exit, &metrics))?;
                network.start(&incarnation, main);
            }
            Host::Inside { kube, arm, cpu } => {
                let network = InProcess::of(site);
                let ports = Ports {
                    kube,
                    arm,
                    cpu,
                    ..self.ports(&network, &incarnation)
                };
                self.main(site, ports, (&exit, &metrics))?();
            }
        }
        let name = incarnation.name().to_owned();
        self.lives.push(Life {
            incarnation,
            identity,
            exit,
            metrics,
            resume_at: None,
        });
        self.record(&name, "start");
        site.chronicle.say(
            self.clock.elapsed(),
            Kind::Process,
            format!("{name} started"),
            "",
        );
        Ok(())
    }

    /// What starts the controller.
    fn main(
        &self,
        site: &Site,
        ports: Ports,
        (exit, metrics): (&Exit, &Metrics),
    ) -> Result<Box<dyn FnOnce() + Send>, SettingError> {
        let config = {
            let ca = site.api.ca();
            let cloud = site.arm.with_cloud(|cloud, _| cloud.config().clone());
            let identity = format!("karpenter-{}", self.count);
            let places = (&self.places, ca.pem());
            configuration(&cloud, &site.cluster, places, &identity, &self.settings)?
        };
        let process = Process {
            registry: Some(metrics.clone()),
            ..Process::default()
        };
        let spawner = Arc::clone(&ports.spawner);
        let (exit, exited) = (Arc::clone(exit), Arc::clone(&self.exited));
        let main = controller::run_with(config, ports, process).map(move |result| {
            let message = match result {
                Ok(()) => "without an error".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            *exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
            exited.notify_one();
        });
        Ok(Box::new(move || drop(spawner.spawn("main", main.boxed()))))
    }

    /// The process dies with its task: `kill_on_drop`.
    fn spawn_child(&self, incarnation: &Arc<Incarnation>, child: &Child, exit: &Exit) {
        let child = opened(&child.log).and_then(|(log, same)| {
            tokio::process::Command::new(&child.program)
                .env_clear()
                .envs(child.environment.iter().map(|(key, value)| (key, value)))
                .env("POD_NAME", format!("karpenter-{}", self.count))
                .stdin(Stdio::null())
                .stdout(log)
                .stderr(same)
                .kill_on_drop(true)
                .spawn()
        });
        let (exit, exited) = (Arc::clone(exit), Arc::clone(&self.exited));
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

    fn ports(&self, network: &dyn Network, incarnation: &Arc<Incarnation>) -> Ports {
        let entropy = self.entropy.child("controller").child(incarnation.name());
        let shared = Shared {
            trace: self.trace.clone(),
            clock: self.clock,
            requests: Arc::clone(&self.requests),
            entropy: self.entropy.child("network"),
            findings: self.findings.clone(),
            acts: Arc::clone(&self.acts),
        };
        let transport = |target, token: Option<&str>| {
            let inner = self.faulty(network.transport(incarnation, target), incarnation, target);
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
            kube: transport(Target::Kube, Some(&self.token)).transport(),
            arm: transport(Target::Arm, None)
                .rewritten(crate::faults::bootstrap(corruption))
                .transport(),
            spawner: Arc::new(
                FencedSpawner::new(Arc::clone(incarnation), self.findings.clone(), jitter)
                    .gated(Arc::clone(&self.gate)),
            ),
            cpu: Arc::new(InlinePool),
        }
    }

    /// Puts the run's request faults around a transport.
    fn faulty(
        &self,
        inner: Transport,
        incarnation: &Arc<Incarnation>,
        target: Target,
    ) -> Transport {
        let (trace, clock) = (self.trace.clone(), self.clock);
        let life = Arc::clone(incarnation);
        let witness: Witness = Arc::new(move |what, arg| {
            trace.record(clock.millis(), life.name(), Entry::Fault { what, arg });
        });
        let injector = Arc::clone(&self.injector);
        Faulty::new(inner, incarnation.name(), target, injector, self.clock)
            .witnessed(witness)
            .transport()
    }

    /// The replica that holds the lease; where there is none, the oldest.
    fn leader(&self, site: &Site) -> Option<usize> {
        let who = Identity::new("system:scenario", &["system:masters"]);
        let leases = site.api.with_api(|api| api.list(&who, LEASES));
        let holds = |life: &Life| {
            let (leases, _) = leases.as_ref().ok()?;
            leases
                .iter()
                .find(|lease| lease.value()["spec"]["holderIdentity"] == life.identity.as_str())
        };
        let leader = self.lives.iter().position(|life| holds(life).is_some());
        leader.or_else(|| (!self.lives.is_empty()).then_some(0))
    }

    /// The leader stands still for a while.
    pub(crate) fn pause(&mut self, site: &mut Site, lasts: Duration) {
        let Some(leader) = self.leader(site) else {
            return;
        };
        let now = self.clock.elapsed();
        let Some(life) = self.lives.get_mut(leader) else {
            return;
        };
        // It may lose its lease over it.
        self.troubled = true;
        life.incarnation.pause();
        life.resume_at = life.resume_at.max(Some(now + lasts));
        let name = life.incarnation.name().to_owned();
        self.record(&name, "pause");
        let text = format!("{name} stands still for {}", format_duration(lasts));
        site.chronicle.say(now, Kind::Process, text, "");
    }

    /// The leader stands still until another replica leads.
    pub(crate) fn fail_over(&mut self, site: &mut Site) {
        self.pause(site, FAILOVER_PAUSE);
    }

    /// Takes note of replicas that the gate has killed.
    pub(crate) async fn bury(&mut self, site: &mut Site) {
        for death in self.gate.take_deaths() {
            let kind = if death.at_await {
                FaultKind::CrashAtAwait
            } else {
                FaultKind::CrashAtWrite
            };
            self.injector
                .count(self.clock.elapsed(), kind, &death.incarnation);
            let at = self
                .lives
                .iter()
                .position(|life| life.incarnation.name() == death.incarnation);
            if let Some(at) = at {
                self.end(site, at, death.restart_after).await;
            }
        }
    }

    /// Kills the leader.
    pub(crate) async fn crash(&mut self, site: &mut Site, restart_after: Duration) {
        if let Some(leader) = self.leader(site) {
            self.end(site, leader, restart_after).await;
        }
    }

    /// Kills a replica and checks that nothing of it lives on.
    async fn end(&mut self, site: &mut Site, at: usize, restart_after: Duration) {
        let life = self.lives.remove(at);
        let incarnation = life.incarnation;
        let grace = self.kill(&incarnation);
        self.record(incarnation.name(), "crash");
        let now = self.clock.elapsed();
        let text = format!("{} killed", incarnation.name());
        site.chronicle.say(now, Kind::Process, text, "");
        self.starts.push(now + restart_after);
        // Stopped tasks are dropped at their next turn.
        tokio::time::sleep(grace).await;
        let tasks = incarnation.alive();
        if !tasks.is_empty() {
            let process = incarnation.name().to_owned();
            self.findings.add(Finding::Leak { process, tasks });
        }
    }

    /// Stops a life and closes what it had open; answers when its tasks are gone.
    fn kill(&self, incarnation: &Incarnation) -> Duration {
        incarnation.kill();
        match &self.host {
            Host::Simulated(network) => {
                network.died(incarnation);
                network.grace()
            }
            _ => Duration::from_millis(1),
        }
    }

    /// Stops all replicas because node auto-provisioning was switched off.
    pub(crate) fn stop(&mut self) {
        self.starts.clear();
        for life in std::mem::take(&mut self.lives) {
            self.kill(&life.incarnation);
            self.record(life.incarnation.name(), "stop");
        }
    }

    /// Takes note of ends that nobody asked for: a restart as Kubernetes would and, unless faults
    /// explain it, a finding. A leader that cannot renew its lease must end.
    pub(crate) fn take_exits(&mut self) {
        let ended = |life: &Life| {
            let exit = life.exit.lock().unwrap_or_else(PoisonError::into_inner);
            exit.clone()
        };
        while let Some((at, message)) = self
            .lives
            .iter()
            .enumerate()
            .find_map(|(at, life)| ended(life).map(|message| (at, message)))
        {
            let incarnation = self.lives.remove(at).incarnation;
            self.kill(&incarnation);
            self.record(incarnation.name(), "exit");
            let lease = message.starts_with("leader election lost");
            if !(lease && self.troubled) {
                let process = incarnation.name().to_owned();
                self.findings.add(Finding::Exit { process, message });
            }
            self.starts
                .push(self.clock.elapsed() + Duration::from_secs(10));
        }
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
