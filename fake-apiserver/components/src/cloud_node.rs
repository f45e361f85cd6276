//! The cloud side of nodes: azure-cloud-node-manager initialises them, the cloud node lifecycle
//! controller takes them away with their machines, and a node agent passes scheduled events on
//! (kubernetes/kubernetes `staging/src/k8s.io/cloud-provider/controllers`).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{Change, Component, Event, Identity, Object, Request, Resource, Status};
use crate::events::{About, Recorder, normal};
use crate::host::{Host, HostFact};
use crate::kinds::{NODES, identities};
use crate::object::{condition_status, items, text};
use crate::options::Timings;
use crate::outbox::{Outbox, Target, delete_plain, strategic};
use crate::time;

const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// What the cloud says about machines, by node name.
#[derive(Debug)]
struct Machine {
    host: Host,
    /// A platform event its node agent has seen: kind and deadline.
    scheduled: Option<(String, Timestamp)>,
}

#[derive(Debug)]
struct NodeView {
    uid: String,
    provider_id: String,
    /// `Ready` is `True`.
    ready: bool,
    object: Object,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Initialize(String),
    Report(String),
    /// A look at nodes that are not ready and whose machine is gone.
    Monitor,
}

/// All cloud-side controllers of nodes.
#[derive(Debug)]
pub(crate) struct CloudNode {
    out: Outbox,
    events: Recorder,
    lifecycle_events: Recorder,
    timings: Timings,
    machines: BTreeMap<String, Machine>,
    /// Provider ids of machines that are gone, by node name, until their nodes are gone as well.
    gone: BTreeMap<String, String>,
    nodes: BTreeMap<String, NodeView>,
    timers: BTreeSet<(Timestamp, Timer)>,
    pending: BTreeMap<u64, String>,
}

impl CloudNode {
    pub(crate) fn new(timings: &Timings) -> Self {
        Self {
            out: Outbox::new(identities::controller("cloud-node-manager")),
            events: Recorder::new("cloud-node-controller"),
            lifecycle_events: Recorder::new("cloud-node-lifecycle-controller"),
            timings: timings.clone(),
            machines: BTreeMap::new(),
            gone: BTreeMap::new(),
            nodes: BTreeMap::new(),
            timers: BTreeSet::new(),
            pending: BTreeMap::new(),
        }
    }

    pub(crate) fn apply(&mut self, now: Timestamp, fact: &HostFact) {
        match fact {
            HostFact::Started(host) => {
                let name = host.hostname.clone();
                // The machine exists again, whatever it is called now.
                self.gone.retain(|_, id| *id != host.provider_id);
                self.machines.insert(
                    name,
                    Machine {
                        host: host.clone(),
                        scheduled: None,
                    },
                );
            }
            HostFact::Stopped { provider_id } => {
                if let Some(name) = self.name_of(provider_id) {
                    self.machines.remove(&name);
                    self.gone.insert(name, provider_id.clone());
                    self.arm_monitor(now);
                }
            }
            HostFact::Scheduled {
                provider_id,
                kind,
                not_before,
            } => {
                if let Some(name) = self.name_of(provider_id)
                    && let Some(machine) = self.machines.get_mut(&name)
                {
                    machine.scheduled = Some((kind.clone(), *not_before));
                    self.arm(now, Timer::Report(name));
                }
            }
        }
    }

    fn name_of(&self, provider_id: &str) -> Option<String> {
        let found = self
            .machines
            .iter()
            .find(|(_, m)| m.host.provider_id == *provider_id);
        found.map(|(name, _)| name.clone())
    }

    /// Whether the machine behind a node does not exist.
    fn is_lost(&self, name: &str, view: &NodeView) -> bool {
        self.gone
            .get(name)
            .is_some_and(|id| view.provider_id.is_empty() || view.provider_id == *id)
    }

    /// A node agent that polls the instance metadata service turns the event into a condition.
    fn report_scheduled(&mut self, now: Timestamp, name: &str) {
        if !self.nodes.contains_key(name) {
            return;
        }
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        let Some((kind, not_before)) = machine.scheduled.take() else {
            return;
        };
        let condition = match kind.as_str() {
            "Preempt" => "PreemptionScheduled".to_owned(),
            other => format!("{other}Scheduled"),
        };
        let at = time::rfc3339(now);
        let body = json!({ "status": { "conditions": [{
            "type": condition,
            "status": "True",
            "reason": format!("{kind}Scheduled"),
            "message": format!("{kind} scheduled not before {}", time::rfc3339(not_before)),
            "lastHeartbeatTime": at,
            "lastTransitionTime": at,
        }] } });
        let identity = identities::controller("node-problem-detector");
        let target = Target::new(NODES, "", name).status();
        self.out.tell_as(identity, target, strategic(body));
    }

    fn see(&mut self, now: Timestamp, change: Change, node: &Object) {
        let name = node.name();
        if change == Change::Deleted {
            self.nodes.remove(name);
            self.gone.remove(name);
            return;
        }
        let value = node.value();
        let view = NodeView {
            uid: node.uid().to_owned(),
            provider_id: text(&value["spec"]["providerID"]).to_owned(),
            ready: condition_status(value, "Ready") == "True",
            object: node.clone(),
        };
        let suspicious = !view.ready && self.is_lost(name, &view);
        let new = self.nodes.insert(name.to_owned(), view).is_none();
        if new {
            self.report_scheduled(now, name);
            if is_uninitialized(value) {
                self.arm(
                    now + self.timings.cloud_node,
                    Timer::Initialize(name.to_owned()),
                );
            }
        }
        if suspicious {
            self.arm_monitor(now);
        }
    }

    fn arm(&mut self, at: Timestamp, timer: Timer) {
        self.timers.insert((at, timer));
    }

    /// The lifecycle controller looks every period; only a gone machine makes a look worth it.
    fn arm_monitor(&mut self, now: Timestamp) {
        if !self
            .timers
            .iter()
            .any(|(_, timer)| *timer == Timer::Monitor)
        {
            self.arm(now + self.timings.node_monitor_period, Timer::Monitor);
        }
    }

    fn initialize(&mut self, name: &str) {
        let Some(view) = self.nodes.get(name) else {
            return;
        };
        if !is_uninitialized(view.object.value()) {
            return;
        }
        // The machine may be gone again; its node is the lifecycle controller's business.
        let Some(machine) = self.machines.get(name) else {
            return;
        };
        let body = initialization(&machine.host, view.object.value());
        let request = self.out.ask(Target::new(NODES, "", name), strategic(body));
        self.pending.insert(request, name.to_owned());
    }

    fn initialized(&mut self, now: Timestamp, name: &str, result: &Result<Object, Status>) {
        match result {
            Ok(node) => {
                let about = About::node(name, node.uid());
                let note = normal("Synced", "Node synced successfully");
                self.events.write(&mut self.out, now, &about, note);
            }
            // A conflict means a newer node: its change is on the way. Look again shortly.
            Err(status) if status.code != 404 => {
                self.arm(
                    now + self.timings.cloud_node,
                    Timer::Initialize(name.to_owned()),
                );
            }
            Err(_) => {}
        }
    }

    /// Deletes nodes that are not ready and whose machine does not exist.
    fn monitor(&mut self, now: Timestamp) {
        let lost: Vec<(String, String)> = self
            .nodes
            .iter()
            .filter(|(name, view)| !view.ready && self.is_lost(name, view))
            .map(|(name, view)| (name.clone(), view.uid.clone()))
            .collect();
        let identity = identities::controller("cloud-controller-manager");
        for (name, uid) in lost {
            let message =
                format!("Deleting node {name} because it does not exist in the cloud provider");
            let about = About::node(&name, &uid);
            let note = normal("DeletingNode", &message);
            self.lifecycle_events
                .write_as(&identity, &mut self.out, now, &about, note);
            let target = Target::new(NODES, "", &name);
            self.out.tell_as(identity.clone(), target, delete_plain());
        }
        // Machines that never became nodes leave nothing to wait for.
        self.gone.retain(|name, _| self.nodes.contains_key(name));
    }
}

fn is_uninitialized(node: &Value) -> bool {
    items(&node["spec"]["taints"])
        .iter()
        .any(|taint| taint["key"] == UNINITIALIZED)
}

/// Provider id, zone, region and size, and the taint gone, in one patch.
fn initialization(host: &Host, node: &Value) -> Value {
    let taints: Vec<&Value> = items(&node["spec"]["taints"])
        .iter()
        .filter(|taint| taint["key"] != UNINITIALIZED)
        .collect();
    json!({
        "metadata": {
            // Taints are one list: a change made meanwhile must not be lost.
            "resourceVersion": node["metadata"]["resourceVersion"],
            "labels": {
                "beta.kubernetes.io/instance-type": host.instance_type,
                "node.kubernetes.io/instance-type": host.instance_type,
                "failure-domain.beta.kubernetes.io/region": host.region,
                "failure-domain.beta.kubernetes.io/zone": host.zone,
                "topology.kubernetes.io/region": host.region,
                "topology.kubernetes.io/zone": host.zone,
                "topology.disk.csi.azure.com/zone":
                    if host.zone == "0" { "" } else { host.zone.as_str() },
            },
        },
        "spec": {
            "providerID": host.provider_id,
            "taints": replaced(&taints),
        },
    })
}

/// The whole taint list, as a strategic merge patch replaces it; `null` when empty.
fn replaced(taints: &[&Value]) -> Value {
    if taints.is_empty() {
        Value::Null
    } else {
        json!(taints)
    }
}

impl Component for CloudNode {
    fn name(&self) -> &'static str {
        "cloud-node-manager"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        &[NODES]
    }

    fn step(&mut self, now: Timestamp, event: Event) -> Vec<Request> {
        match event {
            Event::Listed { objects, .. } => {
                self.nodes.clear();
                for node in &objects {
                    self.see(now, Change::Added, node);
                }
            }
            Event::Watch(event) => self.see(now, event.change, &event.object),
            Event::Reply { id, result } => {
                if let Some(name) = self.pending.remove(&id) {
                    self.initialized(now, &name, &result);
                }
            }
            Event::Wake => {
                while let Some((at, _)) = self.timers.first()
                    && *at <= now
                {
                    match self.timers.pop_first() {
                        Some((_, Timer::Initialize(name))) => self.initialize(&name),
                        Some((_, Timer::Report(name))) => self.report_scheduled(now, &name),
                        Some((_, Timer::Monitor)) => self.monitor(now),
                        None => {}
                    }
                }
            }
        }
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }
}
