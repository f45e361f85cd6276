//! The kubelets of all hosts: joining, node status, leases, pods.

pub mod bootstrap;
mod joining;
mod node;
mod pods;
mod running;
mod shell;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use self::bootstrap::Bootstrap;
use self::node::NodeSpec;
use self::pods::{PodState, Stage};
use crate::api::{Change, Component, Event, Identity, Object, Request, Resource, Status};
use crate::events::Recorder;
use crate::host::{Host, HostFact, JoinFailure};
use crate::kinds::{NODES, PODS, identities};
use crate::options::{Options, Timings};
use crate::outbox::Outbox;
use crate::quantity::Amounts;

/// A host that gave up joining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReport {
    /// `azure:///subscriptions/…/virtualMachines/NAME`.
    pub provider_id: String,
    /// The name the Node would have had.
    pub hostname: String,
    /// Why there is no Node.
    pub failure: JoinFailure,
}

/// How far a host has come.
#[derive(Clone, Debug)]
enum Progress {
    Booting,
    /// Waits for the API server's word on its bootstrap token.
    Authenticating(Box<Bootstrap>),
    Registering {
        pause: Duration,
    },
    Registered {
        ready: bool,
        gpus: u32,
    },
    /// Gave up, or its Node was deleted.
    Out,
}

#[derive(Debug)]
struct HostState {
    host: Host,
    address: String,
    /// Distinguishes incarnations: timers of an earlier start are void.
    start: u64,
    progress: Progress,
    spec: Option<NodeSpec>,
    pods_started: u32,
    number: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Boot(String),
    Register(String),
    Ready(String),
    DevicePlugin(String),
    Heartbeat(String),
    Start(String),
    Stop(String),
}

#[derive(Debug)]
enum Pending {
    Token(String),
    Register(String),
    Lease(String),
}

/// Every kubelet of the cluster, keyed by host.
#[derive(Debug)]
pub(crate) struct Kubelets {
    out: Outbox,
    events: Recorder,
    timings: Timings,
    heartbeat: Option<Duration>,
    cluster_ca_pem: String,
    /// By provider id.
    hosts: BTreeMap<String, HostState>,
    /// Provider id by node name, for hosts that run.
    by_node: BTreeMap<String, String>,
    /// Uid by node name.
    nodes: BTreeMap<String, String>,
    /// Bound pods by uid.
    pods: BTreeMap<String, PodState>,
    pods_by_node: BTreeMap<String, BTreeSet<String>>,
    /// What the pods taken by a node ask for, and how many they are.
    used: BTreeMap<String, (Amounts, usize)>,
    timers: BTreeSet<(Timestamp, u64, Timer)>,
    pending: BTreeMap<u64, Pending>,
    failures: Vec<JoinReport>,
    starts: u64,
}

impl Kubelets {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            out: Outbox::new(identities::kubelets()),
            events: Recorder::new("kubelet"),
            timings: options.timings.clone(),
            heartbeat: options.heartbeat,
            cluster_ca_pem: options.cluster_ca_pem.clone(),
            hosts: BTreeMap::new(),
            by_node: BTreeMap::new(),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            pods_by_node: BTreeMap::new(),
            used: BTreeMap::new(),
            timers: BTreeSet::new(),
            pending: BTreeMap::new(),
            failures: Vec::new(),
            starts: 0,
        }
    }

    pub(crate) fn apply(&mut self, now: Timestamp, fact: &HostFact) {
        match fact {
            HostFact::Started(host) => self.start_host(now, host.clone()),
            HostFact::Stopped { provider_id } => self.stop_host(provider_id),
            // A node agent, not the kubelet, reports it: see `cloud_node`.
            HostFact::Scheduled { .. } => {}
        }
    }

    pub(crate) fn join_failures(&mut self) -> Vec<JoinReport> {
        std::mem::take(&mut self.failures)
    }

    fn start_host(&mut self, now: Timestamp, host: Host) {
        self.stop_host(&host.provider_id);
        self.starts += 1;
        let number = u32::try_from(self.starts).unwrap_or(u32::MAX);
        let provider_id = host.provider_id.clone();
        self.by_node
            .insert(host.hostname.clone(), provider_id.clone());
        self.arm(
            now + self.timings.bootstrap,
            Timer::Boot(provider_id.clone()),
        );
        self.hosts.insert(
            provider_id,
            HostState {
                host,
                address: format!("10.224.{}.{}", number / 250, number % 250 + 4),
                start: self.starts,
                progress: Progress::Booting,
                spec: None,
                pods_started: 0,
                number,
            },
        );
    }

    fn stop_host(&mut self, provider_id: &str) {
        let Some(state) = self.hosts.remove(provider_id) else {
            return;
        };
        let name = state.host.hostname;
        if self
            .by_node
            .get(&name)
            .is_some_and(|owner| owner == provider_id)
        {
            self.by_node.remove(&name);
            self.used.remove(&name);
        }
        // Containers died with the machine; a restarted kubelet begins anew.
        for uid in self.pods_by_node.get(&name).into_iter().flatten() {
            if let Some(pod) = self.pods.get_mut(uid)
                && pod.stage != Stage::Ended
            {
                pod.stage = Stage::Bound;
            }
        }
    }

    fn arm(&mut self, at: Timestamp, timer: Timer) {
        let start = match &timer {
            Timer::Boot(host)
            | Timer::Register(host)
            | Timer::Ready(host)
            | Timer::DevicePlugin(host)
            | Timer::Heartbeat(host) => self.hosts.get(host).map_or(self.starts, |s| s.start),
            Timer::Start(uid) | Timer::Stop(uid) => self
                .pods
                .get(uid)
                .and_then(|pod| self.host_of(&pod.node))
                .map_or(self.starts, |state| state.start),
        };
        self.timers.insert((at, start, timer));
    }

    fn host_of(&self, node: &str) -> Option<&HostState> {
        self.hosts.get(self.by_node.get(node)?)
    }

    fn fire(&mut self, now: Timestamp, start: u64, timer: Timer) {
        match timer {
            Timer::Boot(id) if self.is_current(&id, start) => self.boot(now, &id),
            Timer::Register(id) if self.is_current(&id, start) => self.register(now, &id),
            Timer::Ready(id) if self.is_current(&id, start) => self.become_ready(now, &id),
            Timer::DevicePlugin(id) if self.is_current(&id, start) => self.report_devices(&id),
            Timer::Heartbeat(id) if self.is_current(&id, start) => self.beat(now, &id),
            Timer::Start(uid) => self.containers_started(now, start, &uid),
            Timer::Stop(uid) => self.containers_stopped(now, start, &uid),
            _ => {}
        }
    }

    fn is_current(&self, provider_id: &str, start: u64) -> bool {
        self.hosts
            .get(provider_id)
            .is_some_and(|state| state.start == start)
    }
}

impl Kubelets {
    fn listed(&mut self, now: Timestamp, resource: Resource, objects: &[Object]) {
        if resource == NODES {
            self.nodes = objects
                .iter()
                .map(|o| (o.name().to_owned(), o.uid().to_owned()))
                .collect();
            return;
        }
        let listed: BTreeSet<&str> = objects.iter().map(Object::uid).collect();
        let gone: Vec<String> = self
            .pods
            .keys()
            .filter(|uid| !listed.contains(uid.as_str()))
            .cloned()
            .collect();
        for uid in gone {
            self.forget_pod(&uid);
        }
        for object in objects {
            self.see_pod(now, Change::Modified, object.value());
        }
    }

    fn see_node(&mut self, change: Change, node: &Object) {
        if change != Change::Deleted {
            self.nodes
                .insert(node.name().to_owned(), node.uid().to_owned());
            return;
        }
        self.nodes.remove(node.name());
        // A kubelet does not register twice: without its Node it can only complain.
        if let Some(id) = self.by_node.get(node.name())
            && let Some(state) = self.hosts.get_mut(id)
            && matches!(state.progress, Progress::Registered { .. })
        {
            state.progress = Progress::Out;
        }
    }

    fn reply(&mut self, now: Timestamp, id: u64, result: Result<Object, Status>) {
        match self.pending.remove(&id) {
            Some(Pending::Token(host)) => self.authenticated(now, &host, &result),
            Some(Pending::Register(host)) => self.registered(now, &host, result),
            // The lease of an earlier life is still there.
            Some(Pending::Lease(node)) if result.is_err() => self.renew_lease(now, &node),
            _ => {}
        }
    }
}

impl Component for Kubelets {
    fn name(&self) -> &'static str {
        "kubelet"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        &[NODES, PODS]
    }

    fn step(&mut self, now: Timestamp, event: Event) -> Vec<Request> {
        match event {
            Event::Listed { resource, objects } => self.listed(now, resource, &objects),
            Event::Watch(event) if event.resource == NODES => {
                self.see_node(event.change, &event.object);
            }
            Event::Watch(event) => self.see_pod(now, event.change, event.object.value()),
            Event::Reply { id, result } => self.reply(now, id, result),
            Event::Wake => {
                while let Some((at, ..)) = self.timers.first()
                    && *at <= now
                {
                    if let Some((_, start, timer)) = self.timers.pop_first() {
                        self.fire(now, start, timer);
                    }
                }
            }
        }
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, ..)| *at)
    }
}
