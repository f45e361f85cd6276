//! The kubelets of all hosts: joining, node status, leases, pods.

pub mod bootstrap;
mod node;
mod pods;
mod shell;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::bootstrap::Bootstrap;
use self::node::{LEASE_NAMESPACE, NodeSpec};
use self::pods::{PodState, Stage, shortage};
use crate::api::{Change, Component, Event, Identity, Object, Operation, Request, Resource, Status};
use crate::events::{About, Recorder, normal};
use crate::host::{Host, HostFact, JoinFailure};
use crate::kinds::{LEASES, NODES, PODS, SECRETS, identities};
use crate::object::{is_deleting, text};
use crate::options::{Options, Timings};
use crate::outbox::{Outbox, Target, delete_now, merge, strategic};
use crate::pod;
use crate::quantity::Amounts;
use crate::time;

/// First pause before a failed registration is tried again; it doubles up to
/// [`REGISTER_PAUSE_MAX`] (`pkg/kubelet/kubelet_node_status.go`).
const REGISTER_PAUSE: Duration = Duration::from_millis(100);
const REGISTER_PAUSE_MAX: Duration = Duration::from_secs(7);

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
    Registering { pause: Duration },
    Registered { ready: bool, gpus: u32 },
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
        self.by_node.insert(host.hostname.clone(), provider_id.clone());
        self.arm(now + self.timings.bootstrap, Timer::Boot(provider_id.clone()));
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
        let Some(state) = self.hosts.remove(provider_id) else { return };
        let name = state.host.hostname;
        if self.by_node.get(&name).is_some_and(|owner| owner == provider_id) {
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
        self.hosts.get(provider_id).is_some_and(|state| state.start == start)
    }
}

/// Joining.
impl Kubelets {
    fn boot(&mut self, now: Timestamp, id: &str) {
        let Some(state) = self.hosts.get_mut(id) else { return };
        if let Some(pool) = state.host.agent_pool.clone() {
            state.spec = Some(NodeSpec::from_agent_pool(&state.host, &pool, state.address.clone()));
            self.register(now, id);
            return;
        }
        match bootstrap::parse(&state.host.custom_data, &self.cluster_ca_pem) {
            Err(failure) => self.give_up(id, failure),
            Ok(bootstrap) => {
                let secret = format!("bootstrap-token-{}", bootstrap.token_id);
                state.progress = Progress::Authenticating(Box::new(bootstrap));
                // Authentication is the API server's work: it reads the Secret as itself.
                let target = Target::new(SECRETS, "kube-system", &secret);
                let request = self.out.ask(target, Operation::Get);
                self.pending.insert(request, Pending::Token(id.to_owned()));
            }
        }
    }

    fn authenticated(&mut self, now: Timestamp, id: &str, result: &Result<Object, Status>) {
        let Some(state) = self.hosts.get_mut(id) else { return };
        let Progress::Authenticating(bootstrap) = &state.progress else { return };
        match check_token(now, bootstrap, result.as_ref()) {
            Err(why) => self.give_up(id, JoinFailure::TokenRefused(why)),
            Ok(()) => {
                let spec = NodeSpec::from_bootstrap(&state.host, bootstrap, state.address.clone());
                state.spec = Some(spec);
                self.register(now, id);
            }
        }
    }

    fn give_up(&mut self, id: &str, failure: JoinFailure) {
        let Some(state) = self.hosts.get_mut(id) else { return };
        state.progress = Progress::Out;
        self.failures.push(JoinReport {
            provider_id: id.to_owned(),
            hostname: state.host.hostname.clone(),
            failure,
        });
    }

    fn register(&mut self, now: Timestamp, id: &str) {
        let Some(state) = self.hosts.get_mut(id) else { return };
        let Some(spec) = &state.spec else { return };
        if !matches!(state.progress, Progress::Registering { .. }) {
            state.progress = Progress::Registering { pause: REGISTER_PAUSE };
        }
        let node = spec.object(now);
        let identity = identities::node(&spec.name);
        let target = Target::new(NODES, "", "");
        let request = self.out.ask_as(identity, target, Operation::Create(node));
        self.pending.insert(request, Pending::Register(id.to_owned()));
    }

    fn registered(&mut self, now: Timestamp, id: &str, result: Result<Object, Status>) {
        let Some(state) = self.hosts.get_mut(id) else { return };
        let Some(spec) = &state.spec else { return };
        let Progress::Registering { pause } = &mut state.progress else { return };
        let name = spec.name.clone();
        let uid = match result {
            Ok(node) => node.uid().to_owned(),
            // The Node of an earlier life: take it over.
            Err(status) if status.code == 409 => {
                let Some(uid) = self.nodes.get(&name).cloned() else { return };
                let body = json!({ "status": spec.status(now, false, 0) });
                let target = Target::new(NODES, "", &name).status();
                self.out.tell_as(identities::node(&name), target, strategic(body));
                uid
            }
            Err(_) => {
                let at = now + *pause;
                *pause = (*pause * 2).min(REGISTER_PAUSE_MAX);
                self.arm(at, Timer::Register(id.to_owned()));
                return;
            }
        };
        state.progress = Progress::Registered { ready: false, gpus: 0 };
        self.nodes.insert(name.clone(), uid.clone());
        self.say(now, &name, "Starting", "Starting kubelet.");
        let lease = node::lease(now, &name, &uid);
        let target = Target::new(LEASES, LEASE_NAMESPACE, "");
        let request = self.out.ask_as(identities::node(&name), target, Operation::Create(lease));
        self.pending.insert(request, Pending::Lease(name));
        self.arm(now + self.timings.node_ready, Timer::Ready(id.to_owned()));
        if let Some(period) = self.heartbeat {
            self.arm(now + period, Timer::Heartbeat(id.to_owned()));
        }
    }

    fn become_ready(&mut self, now: Timestamp, id: &str) {
        let Some(state) = self.hosts.get_mut(id) else { return };
        let (Some(spec), Progress::Registered { ready, gpus }) = (&state.spec, &mut state.progress)
        else {
            return;
        };
        *ready = true;
        let name = spec.name.clone();
        let body = json!({ "status": spec.status(now, true, *gpus) });
        let gpu_host = state.host.gpu_count > 0;
        let target = Target::new(NODES, "", &name).status();
        self.out.tell_as(identities::node(&name), target, strategic(body));
        self.renew_lease(now, &name);
        let message = format!("Node {name} status is now: NodeReady");
        self.say(now, &name, "NodeReady", &message);
        if gpu_host {
            self.arm(now + self.timings.device_plugin, Timer::DevicePlugin(id.to_owned()));
        }
        let waiting: Vec<String> =
            self.pods_by_node.get(&name).into_iter().flatten().cloned().collect();
        for uid in waiting {
            self.advance(now, &uid);
        }
    }

    fn report_devices(&mut self, id: &str) {
        let Some(state) = self.hosts.get_mut(id) else { return };
        let (Some(spec), Progress::Registered { gpus, .. }) = (&state.spec, &mut state.progress)
        else {
            return;
        };
        *gpus = state.host.gpu_count;
        let body = json!({ "status": NodeSpec::devices(*gpus) });
        let name = spec.name.clone();
        let target = Target::new(NODES, "", &name).status();
        self.out.tell_as(identities::node(&name), target, strategic(body));
    }

    fn beat(&mut self, now: Timestamp, id: &str) {
        let Some(state) = self.hosts.get(id) else { return };
        if matches!(state.progress, Progress::Registered { .. }) {
            let name = state.host.hostname.clone();
            self.renew_lease(now, &name);
            if let Some(period) = self.heartbeat {
                self.arm(now + period, Timer::Heartbeat(id.to_owned()));
            }
        }
    }

    fn renew_lease(&mut self, now: Timestamp, name: &str) {
        let body = json!({ "spec": { "renewTime": time::micro(now) } });
        let target = Target::new(LEASES, LEASE_NAMESPACE, name);
        self.out.tell_as(identities::node(name), target, merge(body));
    }

    fn say(&mut self, now: Timestamp, node: &str, reason: &'static str, message: &str) {
        // Kubelets name the node as the uid of their events.
        let about = About::node(node, node);
        let identity = identities::node(node);
        self.events.write_as(&identity, &mut self.out, now, &about, normal(reason, message));
    }
}

/// Pods.
impl Kubelets {
    fn see_pod(&mut self, now: Timestamp, change: Change, value: &Value) {
        let uid = text(&value["metadata"]["uid"]);
        if change == Change::Deleted {
            self.forget_pod(uid);
            return;
        }
        if pod::node_name(value).is_empty() {
            return;
        }
        if let Some(known) = self.pods.get_mut(uid) {
            known.deleting = is_deleting(value);
            known.grace_seconds = pod::grace_seconds(value);
            if pod::is_terminal(value) && known.stage != Stage::Ended {
                known.stage = Stage::Ended;
                self.release(uid);
            }
        } else {
            let state = PodState::read(value);
            self.pods_by_node.entry(state.node.clone()).or_default().insert(uid.to_owned());
            self.pods.insert(uid.to_owned(), state);
        }
        self.advance(now, uid);
    }

    fn forget_pod(&mut self, uid: &str) {
        self.release(uid);
        let Some(state) = self.pods.remove(uid) else { return };
        if let Some(of_node) = self.pods_by_node.get_mut(&state.node) {
            of_node.remove(uid);
            if of_node.is_empty() {
                self.pods_by_node.remove(&state.node);
            }
        }
    }

    /// Gives back what a pod held on its node.
    fn release(&mut self, uid: &str) {
        let Some(state) = self.pods.get(uid) else { return };
        if let Some((amounts, pods)) = self.used.get_mut(&state.node)
            && matches!(state.stage, Stage::Creating | Stage::Running | Stage::Stopping)
        {
            amounts.subtract(&state.requests);
            *pods = pods.saturating_sub(1);
        }
    }

    /// Does the next thing for a pod, if its kubelet is up.
    fn advance(&mut self, now: Timestamp, uid: &str) {
        let Some(state) = self.pods.get(uid) else { return };
        let node = state.node.clone();
        let Some(host) = self.host_of(&node) else { return };
        let Progress::Registered { ready, .. } = host.progress else { return };
        match state.stage {
            Stage::Bound | Stage::Ended if state.deleting => self.remove(uid),
            Stage::Creating if state.deleting => self.stop(now, uid, Duration::ZERO),
            Stage::Running if state.deleting => {
                let grace = u64::try_from(state.grace_seconds).unwrap_or_default();
                let grace = Duration::from_secs(grace);
                self.stop(now, uid, grace.min(self.timings.container_stop));
            }
            Stage::Bound if ready || state.host_network => self.admit(now, uid, &node),
            _ => {}
        }
    }

    fn stop(&mut self, now: Timestamp, uid: &str, after: Duration) {
        if let Some(state) = self.pods.get_mut(uid) {
            state.stage = Stage::Stopping;
        }
        self.arm(now + after, Timer::Stop(uid.to_owned()));
    }

    fn admit(&mut self, now: Timestamp, uid: &str, node: &str) {
        let Some(host) = self.host_of(node) else { return };
        let Some(spec) = &host.spec else { return };
        let gpus = match host.progress {
            Progress::Registered { gpus, .. } => gpus,
            _ => 0,
        };
        let (allocatable, address) = (spec.allocatable(gpus), host.address.clone());
        let (used, pods) = self.used.entry(node.to_owned()).or_default();
        let Some(state) = self.pods.get_mut(uid) else { return };
        let body = match shortage(&state.requests, used, *pods, &allocatable) {
            Some(short) => {
                state.stage = Stage::Ended;
                PodState::rejected(uid, now, &short)
            }
            None => {
                used.add(&state.requests);
                *pods += 1;
                state.stage = Stage::Creating;
                state.creating(uid, now, &address)
            }
        };
        let creating = state.stage == Stage::Creating;
        self.patch_pod(uid, body);
        if creating {
            self.arm(now + self.timings.container_start, Timer::Start(uid.to_owned()));
        }
    }

    fn containers_started(&mut self, now: Timestamp, start: u64, uid: &str) {
        let Some(state) = self.pods.get_mut(uid) else { return };
        if state.stage != Stage::Creating {
            return;
        }
        let Some(host) =
            self.by_node.get(&state.node).and_then(|id| self.hosts.get_mut(id))
        else {
            return;
        };
        if host.start != start {
            return;
        }
        host.pods_started += 1;
        let pod_ip = if state.host_network {
            host.address.clone()
        } else {
            let (block, number) = (host.number, host.pods_started);
            format!("10.{}.{}.{}", 244 + (block >> 8) % 8, block & 255, number % 250 + 2)
        };
        state.stage = Stage::Running;
        state.started = Some(now);
        let body = state.running(uid, now, &host.address, &pod_ip);
        let about = About::pod(&state.key.namespace, &state.key.name, uid);
        let identity = identities::node(&state.node);
        self.patch_pod(uid, body);
        let note = normal("Started", "Container started");
        self.events.write_as(&identity, &mut self.out, now, &about, note);
    }

    fn containers_stopped(&mut self, now: Timestamp, start: u64, uid: &str) {
        let Some(state) = self.pods.get(uid) else { return };
        let alive = self.host_of(&state.node).is_some_and(|host| host.start == start);
        if !alive || state.stage != Stage::Stopping {
            return;
        }
        let body = state.ended(uid, now);
        self.release(uid);
        if let Some(state) = self.pods.get_mut(uid) {
            state.stage = Stage::Ended;
        }
        self.patch_pod(uid, body);
        self.remove(uid);
    }

    /// The last word on a deleted pod: take the object away.
    fn remove(&mut self, uid: &str) {
        let Some(state) = self.pods.get_mut(uid) else { return };
        // Once is enough: a finalizer may hold the object, and whoever lifts it ends it.
        if std::mem::replace(&mut state.removed, true) {
            return;
        }
        let target = Target::new(PODS, &state.key.namespace, &state.key.name);
        self.out.tell_as(identities::node(&state.node), target, delete_now(Some(uid)));
    }

    fn patch_pod(&mut self, uid: &str, body: Value) {
        let Some(state) = self.pods.get(uid) else { return };
        let target = Target::new(PODS, &state.key.namespace, &state.key.name).status();
        self.out.tell_as(identities::node(&state.node), target, strategic(body));
    }
}

/// Feeds.
impl Kubelets {
    fn listed(&mut self, now: Timestamp, resource: Resource, objects: &[Object]) {
        if resource == NODES {
            self.nodes =
                objects.iter().map(|o| (o.name().to_owned(), o.uid().to_owned())).collect();
            return;
        }
        let listed: BTreeSet<&str> = objects.iter().map(Object::uid).collect();
        let gone: Vec<String> =
            self.pods.keys().filter(|uid| !listed.contains(uid.as_str())).cloned().collect();
        for uid in gone {
            self.forget_pod(&uid);
        }
        for object in objects {
            self.see_pod(now, Change::Modified, object.value());
        }
    }

    fn see_node(&mut self, change: Change, node: &Object) {
        if change != Change::Deleted {
            self.nodes.insert(node.name().to_owned(), node.uid().to_owned());
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

/// What the API server's bootstrap authenticator checks
/// (`plugin/pkg/auth/authenticator/token/bootstrap`).
fn check_token(
    now: Timestamp,
    bootstrap: &Bootstrap,
    secret: Result<&Object, &Status>,
) -> Result<(), String> {
    let id = &bootstrap.token_id;
    let secret = secret
        .map_err(|status| format!("no Secret for token id {id}: {}", status.message))?
        .value();
    let field = |name: &str| {
        let plain = secret["stringData"][name].as_str().map(str::to_owned);
        plain.or_else(|| decode(text(&secret["data"][name]))).unwrap_or_default()
    };
    if text(&secret["type"]) != "bootstrap.kubernetes.io/token" {
        return Err(format!("the Secret for token id {id} is not a bootstrap token"));
    }
    if is_deleting(secret) {
        return Err(format!("the Secret for token id {id} is being deleted"));
    }
    if field("token-secret") != bootstrap.token_secret || field("token-id") != *id {
        return Err(format!("the secret of token id {id} does not match"));
    }
    let expiration = field("expiration");
    if !expiration.is_empty() && time::parse(&expiration).is_none_or(|at| at <= now) {
        return Err(format!("token id {id} expired at {expiration}"));
    }
    if field("usage-bootstrap-authentication") != "true" {
        return Err(format!("token id {id} is not for authentication"));
    }
    Ok(())
}

fn decode(encoded: &str) -> Option<String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok()
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
