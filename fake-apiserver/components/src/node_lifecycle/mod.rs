//! The node lifecycle controller: health of nodes, the taints that mirror it, and taint eviction
//! (kubernetes/kubernetes `pkg/controller/nodelifecycle`, `pkg/controller/tainteviction`).

mod eviction;
mod taints;
mod zones;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::eviction::Evictions;
use self::taints::{NOT_READY, UNREACHABLE, execute_key, execute_taint, is_managed, wanted_taints};
use self::zones::{Health, Zones};
use crate::api::{Change, Component, Event, Identity, Object, Operation, Request, Resource};
use crate::events::{About, Recorder, normal, warning};
use crate::host::HostFact;
use crate::kinds::{NODES, PODS, identities};
use crate::object::{condition, created, items, text};
use crate::options::Timings;
use crate::outbox::{Outbox, Target, strategic};
use crate::time;
use crate::toleration::Taint;

/// Conditions a kubelet owns; all become `Unknown` when it falls silent.
const KUBELET_CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

#[derive(Debug)]
struct NodeView {
    object: Object,
    health: Health,
    zone: String,
    /// `lastHeartbeatTime` of `Ready` as last seen.
    heartbeat: String,
    /// When the node last gave a sign of life.
    probe: Timestamp,
    /// The key of the `NoExecute` taint it should carry.
    execute: Option<&'static str>,
    /// Its registration has been reported.
    reported: bool,
}

/// The controller.
#[derive(Debug)]
pub(crate) struct NodeLifecycle {
    out: Outbox,
    events: Recorder,
    timings: Timings,
    nodes: BTreeMap<String, NodeView>,
    /// Names of nodes whose hosts run, by provider id.
    alive: BTreeMap<String, String>,
    alive_names: BTreeSet<String>,
    /// Nodes that are gone and not yet reported as such: name and uid.
    removed: Vec<(String, String)>,
    /// When silent nodes become unknown.
    expiries: BTreeSet<(Timestamp, String)>,
    /// Nodes with something left to do at the next look.
    restless: BTreeSet<String>,
    /// Nodes that wait for a `NoExecute` taint.
    queue: BTreeSet<String>,
    zones: Zones,
    evictions: Evictions,
    tick_at: Option<Timestamp>,
}

impl NodeLifecycle {
    pub(crate) fn new(timings: &Timings) -> Self {
        Self {
            out: Outbox::new(identities::controller("node-controller")),
            events: Recorder::new("node-controller"),
            timings: timings.clone(),
            nodes: BTreeMap::new(),
            alive: BTreeMap::new(),
            alive_names: BTreeSet::new(),
            removed: Vec::new(),
            expiries: BTreeSet::new(),
            restless: BTreeSet::new(),
            queue: BTreeSet::new(),
            zones: Zones::default(),
            evictions: Evictions::default(),
            tick_at: None,
        }
    }

    /// Heartbeats are lazy: a host that runs is alive without a word, and one that stopped has
    /// been silent since.
    pub(crate) fn apply(&mut self, now: Timestamp, fact: &HostFact) {
        match fact {
            HostFact::Started(host) => {
                self.alive
                    .insert(host.provider_id.clone(), host.hostname.clone());
                self.alive_names.insert(host.hostname.clone());
            }
            HostFact::Stopped { provider_id } => {
                let Some(name) = self.alive.remove(provider_id) else {
                    return;
                };
                self.alive_names.remove(&name);
                if let Some(view) = self.nodes.get_mut(&name) {
                    view.probe = now;
                }
                self.watch_for_silence(&name);
            }
            HostFact::Scheduled { .. } => {}
        }
    }

    /// Arms the moment at which a silent node is given up.
    fn watch_for_silence(&mut self, name: &str) {
        let Some(view) = self.nodes.get(name) else {
            return;
        };
        if self.alive_names.contains(name) || view.health == Health::Unknown {
            return;
        }
        let grace = match view.health {
            Health::NeverSeen => self.timings.node_startup_grace,
            _ => self.timings.node_monitor_grace,
        };
        let at = self.next_look(view.probe + grace);
        self.expiries.insert((at, name.to_owned()));
    }

    /// The controller looks every period; the first look after an instant.
    fn next_look(&self, after: Timestamp) -> Timestamp {
        let period = i64::try_from(self.timings.node_monitor_period.as_secs())
            .unwrap_or(5)
            .max(1);
        let seconds = (after.as_second().div_euclid(period) + 1) * period;
        Timestamp::from_second(seconds).unwrap_or(after + SignedDuration::from_secs(period))
    }
}

/// What nodes report.
impl NodeLifecycle {
    fn see(&mut self, now: Timestamp, change: Change, node: &Object) {
        let name = node.name();
        if change == Change::Deleted {
            if self.nodes.remove(name).is_some() {
                self.removed.push((name.to_owned(), node.uid().to_owned()));
            }
            self.restless.remove(name);
            self.queue.remove(name);
            self.evictions.forget_node(name);
            return;
        }
        let value = node.value();
        let health = Health::read(value);
        let ready = condition(value, "Ready");
        let heartbeat = ready.map_or("", |ready| text(&ready["lastHeartbeatTime"]));
        let old = self.nodes.get(name);
        let fresh = old.is_none_or(|old| old.heartbeat != heartbeat);
        let was = old.map(|old| old.health);
        let known = old.is_some();
        let probe = match old {
            Some(old) if !fresh => old.probe,
            None if health == Health::NeverSeen => created(value).unwrap_or(now),
            _ => now,
        };
        let view = NodeView {
            object: node.clone(),
            health,
            zone: zones::zone_of(value),
            heartbeat: heartbeat.to_owned(),
            probe,
            execute: old.map_or_else(|| execute_taint(value), |old| old.execute),
            reported: old.is_some_and(|old| old.reported),
        };
        self.nodes.insert(name.to_owned(), view);
        if fresh {
            self.watch_for_silence(name);
        }
        if !known {
            self.label_os_and_arch(node);
        }
        if was == Some(Health::Ready) && health != Health::Ready {
            self.pods_not_ready(now, name, health);
        }
        if known && health == Health::Unknown && was != Some(Health::Unknown) {
            self.execute_at_once(now, name);
        }
        self.reconcile_taints(now, name);
        self.evictions
            .node_taints(&mut self.out, now, name, Taint::read_all(value));
        self.settle(name);
    }

    /// A node just given up gets its `NoExecute` taint at once, if its zone allows.
    fn execute_at_once(&mut self, now: Timestamp, name: &str) {
        self.zones.assess(
            self.nodes
                .values()
                .map(|view| (view.zone.as_str(), view.health)),
        );
        let halted = self.zones.all_down();
        let Some(view) = self.nodes.get_mut(name) else {
            return;
        };
        // The taint of a node that was not ready before is only swapped.
        if view.execute.is_some() || (!halted && self.zones.take(&view.zone, now)) {
            view.execute = Some(UNREACHABLE);
        }
    }

    /// Whether the next look has something to do for a node.
    fn settle(&mut self, name: &str) {
        let Some(view) = self.nodes.get(name) else {
            return;
        };
        let wants_execute = match view.health {
            Health::Ready => view.execute.is_some(),
            Health::NotReady => view.execute != Some(NOT_READY),
            Health::Unknown => view.execute != Some(UNREACHABLE),
            Health::NeverSeen => false,
        };
        if !view.reported || wants_execute {
            self.restless.insert(name.to_owned());
        } else {
            self.restless.remove(name);
        }
    }

    fn label_os_and_arch(&mut self, node: &Object) {
        let labels = &node.value()["metadata"]["labels"];
        let mut wanted = serde_json::Map::new();
        for name in ["os", "arch"] {
            let stable = &labels[format!("kubernetes.io/{name}")];
            let beta = format!("beta.kubernetes.io/{name}");
            if stable.is_string() && labels[&beta] != *stable {
                wanted.insert(beta, stable.clone());
            }
        }
        if !wanted.is_empty() {
            let body = json!({ "metadata": { "labels": wanted } });
            self.out
                .tell(Target::new(NODES, "", node.name()), strategic(body));
        }
    }

    /// `nodeutil.MarkPodsNotReady`.
    fn pods_not_ready(&mut self, now: Timestamp, node: &str, health: Health) {
        if health == Health::Unknown
            && let Some(view) = self.nodes.get(node)
        {
            let about = About::node(node, view.object.uid());
            let message = format!("Node {node} status is now: NodeNotReady");
            self.events
                .write(&mut self.out, now, &about, normal("NodeNotReady", &message));
        }
        for (uid, pod) in self.evictions.ready_pods(node) {
            let body = json!({
                "metadata": { "uid": uid },
                "status": { "conditions": [{
                    "type": "Ready",
                    "status": "False",
                    "lastTransitionTime": time::rfc3339(now),
                }] },
            });
            let target = Target::new(PODS, &pod.namespace, &pod.name).status();
            self.out.tell(target, strategic(body));
            let about = About::pod(&pod.namespace, &pod.name, &uid);
            let note = warning("NodeNotReady", "Node is not ready");
            self.events.write(&mut self.out, now, &about, note);
        }
    }

    /// Makes the taints of a node mirror its conditions, in one patch.
    fn reconcile_taints(&mut self, now: Timestamp, name: &str) {
        let Some(view) = self.nodes.get(name) else {
            return;
        };
        let value = view.object.value();
        let wanted = wanted_taints(value, view);
        let present = items(&value["spec"]["taints"]);
        let managed = |taint: &Value| is_managed(text(&taint["key"]), text(&taint["effect"]));
        let keep = |taint: &&Value| {
            !managed(taint) || wanted.contains(&(text(&taint["key"]), text(&taint["effect"])))
        };
        let mut taints: Vec<Value> = present.iter().filter(keep).cloned().collect();
        let kept = taints.len();
        for (key, effect) in wanted {
            if !present
                .iter()
                .any(|t| t["key"] == key && t["effect"] == effect)
            {
                taints.push(json!({
                    "key": key, "effect": effect, "timeAdded": time::rfc3339(now),
                }));
            }
        }
        if kept == present.len() && taints.len() == kept {
            return;
        }
        let taints = if taints.is_empty() {
            Value::Null
        } else {
            Value::Array(taints)
        };
        let body = json!({
            "metadata": { "resourceVersion": value["metadata"]["resourceVersion"] },
            "spec": { "taints": taints },
        });
        // A conflict means that a newer node is on its way here: it is reconciled then.
        self.out.tell(Target::new(NODES, "", name), strategic(body));
    }
}

/// What the controller does at each look.
impl NodeLifecycle {
    fn look(&mut self, now: Timestamp) {
        self.tick_at = None;
        while let Some((at, _)) = self.expiries.first()
            && *at <= now
        {
            if let Some((_, name)) = self.expiries.pop_first() {
                self.give_up(now, &name);
            }
        }
        for (name, uid) in std::mem::take(&mut self.removed) {
            let message = format!("Node {name} event: Removing Node {name} from Controller");
            let about = About::node(&name, &uid);
            self.events
                .write(&mut self.out, now, &about, normal("RemovingNode", &message));
        }
        self.zones.assess(
            self.nodes
                .values()
                .map(|view| (view.zone.as_str(), view.health)),
        );
        let halted = self.zones.all_down();
        for name in self.restless.clone() {
            self.look_at(now, &name, halted);
        }
        if halted {
            self.queue.clear();
        }
    }

    fn look_at(&mut self, now: Timestamp, name: &str, halted: bool) {
        let Some(view) = self.nodes.get_mut(name) else {
            return;
        };
        if !view.reported {
            view.reported = true;
            let about = About::node(name, view.object.uid());
            let message = format!("Node {name} event: Registered Node {name} in Controller");
            self.events.write(
                &mut self.out,
                now,
                &about,
                normal("RegisteredNode", &message),
            );
        }
        if view.health == Health::Ready || halted {
            view.execute = None;
            self.queue.remove(name);
            self.reconcile_taints(now, name);
        } else {
            // An old taint of the other kind is swapped at once; a new one waits its turn.
            let key = execute_key(view.health);
            if view.execute.is_some() {
                view.execute = key;
                self.reconcile_taints(now, name);
            } else if key.is_some() {
                self.queue.insert(name.to_owned());
            }
        }
        self.settle(name);
    }

    /// Marks a node whose kubelet fell silent.
    fn give_up(&mut self, now: Timestamp, name: &str) {
        let Some(view) = self.nodes.get(name) else {
            return;
        };
        if self.alive_names.contains(name) || view.health == Health::Unknown {
            return;
        }
        let grace = match view.health {
            Health::NeverSeen => self.timings.node_startup_grace,
            _ => self.timings.node_monitor_grace,
        };
        // A sign of life came after this was armed.
        if view.probe + grace > now {
            return;
        }
        let node = unknown(now, view.object.value());
        self.out.tell(
            Target::new(NODES, "", name).status(),
            Operation::Update(node),
        );
        // Should a conflict refuse it, the next look tries again.
        let again = self.next_look(now);
        self.expiries.insert((again, name.to_owned()));
    }

    /// Hands out `NoExecute` taints as fast as the zones allow.
    fn taint_queued(&mut self, now: Timestamp) {
        for name in self.queue.clone() {
            let Some(view) = self.nodes.get_mut(&name) else {
                continue;
            };
            let key = execute_key(view.health);
            if key.is_none() || view.execute == key {
                self.queue.remove(&name);
            } else if self.zones.take(&view.zone, now) {
                view.execute = key;
                self.queue.remove(&name);
                self.reconcile_taints(now, &name);
                self.settle(&name);
            }
        }
    }
}

/// The node with every condition its kubelet owns turned to `Unknown`.
fn unknown(now: Timestamp, node: &Value) -> Value {
    let mut node = node.clone();
    let at = time::rfc3339(now);
    let born = node["metadata"]["creationTimestamp"].clone();
    let mut conditions = items(&node["status"]["conditions"]).to_vec();
    for kind in KUBELET_CONDITIONS {
        match conditions
            .iter_mut()
            .find(|condition| condition["type"] == kind)
        {
            Some(known) => {
                known["status"] = json!("Unknown");
                known["reason"] = json!("NodeStatusUnknown");
                known["message"] = json!("Kubelet stopped posting node status.");
                known["lastTransitionTime"] = json!(at);
            }
            None => conditions.push(json!({
                "type": kind,
                "status": "Unknown",
                "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
                "lastHeartbeatTime": born,
                "lastTransitionTime": at,
            })),
        }
    }
    node["status"]["conditions"] = Value::Array(conditions);
    node
}

impl Component for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        &[NODES, PODS]
    }

    fn step(&mut self, now: Timestamp, event: Event) -> Vec<Request> {
        match event {
            Event::Listed { resource, objects } if resource == NODES => {
                self.nodes.clear();
                for node in &objects {
                    self.see(now, Change::Added, node);
                }
            }
            Event::Listed { objects, .. } => {
                self.evictions.reset();
                for pod in &objects {
                    self.evictions
                        .see(&mut self.out, now, Change::Added, pod.value());
                }
            }
            Event::Watch(event) if event.resource == NODES => {
                self.see(now, event.change, &event.object);
            }
            Event::Watch(event) => {
                let pod = event.object.value();
                self.evictions.see(&mut self.out, now, event.change, pod);
            }
            Event::Reply { .. } => {}
            Event::Wake => {
                if self.tick_at.is_some_and(|at| at <= now)
                    || self.expiries.first().is_some_and(|(at, _)| *at <= now)
                {
                    self.look(now);
                }
                self.evictions.fire(&mut self.out, now);
            }
        }
        self.taint_queued(now);
        if self.tick_at.is_none() && !(self.restless.is_empty() && self.removed.is_empty()) {
            self.tick_at = Some(self.next_look(now));
        }
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        let expiry = self.expiries.first().map(|(at, _)| *at);
        let token = self
            .queue
            .iter()
            .filter_map(|name| self.zones.next_token(&self.nodes.get(name)?.zone))
            .min();
        [self.tick_at, expiry, token, self.evictions.wake_at()]
            .into_iter()
            .flatten()
            .min()
    }
}
