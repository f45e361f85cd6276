//! kube-scheduler: the queue and the cycle (kubernetes/kubernetes `pkg/scheduler`).
//!
//! Limits: no preemption, no volumes, no dynamic resources, no default spread constraints.

mod cache;
mod filter;
mod message;
mod queue;
mod score;
mod shape;
mod topology;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::cache::{Cache, NodeInfo};
use self::filter::{NOT_NAMED, check, check_alone};
use self::message::{NO_NODES, Tally};
use self::queue::{Arrival, Failure, Pending, Queue};
use self::shape::{Shape, Shapes};
use self::topology::Topology;
use crate::api::{
    Change, Component, Event, Identity, Object, Operation, Request, Resource, Status,
};
use crate::events::{About, event_name, regarding};
use crate::kinds::{NODES, PODS, SCHEDULER_EVENTS, identities};
use crate::object::{Key, generation, is_deleting, items, text};
use crate::options::Timings;
use crate::outbox::{Outbox, Target, merge, strategic};
use crate::pod;
use crate::time;

/// Verdicts remembered for shapes that fit nowhere, each valid for one version of the cache.
const VERDICTS_MAX: usize = 4096;

/// Notes of Events are cut at this many characters (`pkg/scheduler` `truncateMessage`).
const NOTE_MAX: usize = 1024;

/// The scheduler.
#[derive(Debug)]
pub(crate) struct Scheduler {
    out: Outbox,
    cache: Cache,
    queue: Queue,
    shapes: Shapes,
    /// By shape: version of the cache and the message.
    verdicts: BTreeMap<u64, (u64, Arc<str>)>,
    binding: BTreeMap<u64, Pending>,
    events_written: u64,
    /// The instant of the last step.
    now: Timestamp,
}

enum Attempt {
    Fits(String),
    /// No node at all: counts as an error.
    NoNodes,
    Fails(Arc<str>),
}

impl Scheduler {
    pub(crate) fn new(timings: &Timings) -> Self {
        Self {
            out: Outbox::new(identities::scheduler()),
            cache: Cache::default(),
            queue: Queue::new(timings.unschedulable_flush),
            shapes: Shapes::default(),
            verdicts: BTreeMap::new(),
            binding: BTreeMap::new(),
            events_written: 0,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn see_pod(&mut self, now: Timestamp, change: Change, object: &Object) {
        let (uid, value) = (object.uid(), object.value());
        let gone = change == Change::Deleted || pod::is_terminal(value);
        if gone {
            self.queue.remove(uid);
            if let Some(placed) = self.cache.remove_pod(uid) {
                self.room_made(&placed.node, &placed.shape);
            }
            return;
        }
        let node = pod::node_name(value);
        if !node.is_empty() {
            self.queue.remove(uid);
            self.see_placed(uid, node, value);
            return;
        }
        let ours = matches!(
            text(&value["spec"]["schedulerName"]),
            "" | "default-scheduler"
        );
        let gated = !items(&value["spec"]["schedulingGates"]).is_empty();
        if !ours || gated || is_deleting(value) {
            self.queue.remove(uid);
            return;
        }
        // Between its binding and the change that shows it, a pod is assumed to be placed.
        if self.cache.pod(uid).is_some() {
            return;
        }
        let shape = self.shapes.of(value);
        let arrival = Arrival {
            uid: uid.to_owned(),
            key: Key::of(object),
            priority: value["spec"]["priority"].as_i64().unwrap_or_default(),
            generation: generation(value).max(1),
        };
        self.queue.add(now, arrival, shape);
    }

    fn see_placed(&mut self, uid: &str, node: &str, value: &Value) {
        let shape = self.shapes.of(value);
        let same = self
            .cache
            .pod(uid)
            .is_some_and(|pod| pod.node == node && Arc::ptr_eq(&pod.shape, &shape));
        if !same {
            self.cache.place(uid, node, &shape);
            // A pod that others want near them may have come.
            self.queue
                .wake(|other| !other.with.is_empty() || !other.spread.is_empty());
        }
        if is_deleting(value) {
            self.cache.mark_deleting(uid);
        }
    }

    /// A pod left a node: whoever fits there now, or minded that pod, may try again.
    fn room_made(&mut self, node: &str, left: &Shape) {
        let node = self.cache.node(node);
        let repelled = !left.without.is_empty();
        self.queue.wake(|shape| {
            repelled
                || !shape.spread.is_empty()
                || !shape.without.is_empty()
                || node.is_some_and(|node| check_alone(shape, node).is_ok())
        });
    }

    fn see_node(&mut self, change: Change, object: &Object) {
        if change == Change::Deleted {
            self.cache.remove_node(object.name());
            return;
        }
        if self.cache.set_node(object.name(), object.value())
            && let Some(node) = self.cache.node(object.name())
        {
            self.queue.wake(|shape| check_alone(shape, node).is_ok());
        }
    }

    /// Tries every pod that is due, best first.
    fn schedule(&mut self, now: Timestamp) {
        while let Some((uid, pending)) = self.queue.pop() {
            match self.attempt(&pending.shape) {
                Attempt::Fits(node) => self.bind(&uid, pending, &node),
                Attempt::NoNodes => {
                    let failure = Failure::Error;
                    self.failed(now, &uid, pending, Arc::from(NO_NODES), failure);
                }
                Attempt::Fails(message) => {
                    self.failed(now, &uid, pending, message, Failure::Unschedulable);
                }
            }
        }
    }

    fn attempt(&mut self, shape: &Shape) -> Attempt {
        if self.cache.count() == 0 {
            return Attempt::NoNodes;
        }
        let version = self.cache.version;
        if let Some((at, message)) = self.verdicts.get(&shape.id)
            && *at == version
        {
            return Attempt::Fails(Arc::clone(message));
        }
        let topology = Topology::count(shape, &self.cache);
        let mut tally = Tally::default();
        let mut feasible: Vec<&NodeInfo> = Vec::new();
        let mut consider = |node, tally: &mut Tally| match check(shape, node, topology.as_ref()) {
            Ok(()) => feasible.push(node),
            Err(rejection) => tally.add(rejection),
        };
        match &shape.affinity.only {
            Some(names) => {
                let named: Vec<&NodeInfo> = names
                    .iter()
                    .filter_map(|name| self.cache.node(name))
                    .collect();
                tally.add_unseen(self.cache.count() - named.len(), NOT_NAMED);
                for node in named {
                    consider(node, &mut tally);
                }
            }
            None => {
                for node in self.cache.nodes() {
                    consider(node, &mut tally);
                }
            }
        }
        if let Some(node) = score::best(shape, &feasible, &self.cache) {
            return Attempt::Fits(node.name.clone());
        }
        let message: Arc<str> = tally.message(shape.never_preempts).into();
        if self.verdicts.len() >= VERDICTS_MAX {
            self.verdicts.clear();
        }
        self.verdicts
            .insert(shape.id, (version, Arc::clone(&message)));
        Attempt::Fails(message)
    }

    fn bind(&mut self, uid: &str, pending: Pending, node: &str) {
        self.cache.place(uid, node, &pending.shape);
        let key = &pending.key;
        let body = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": { "namespace": key.namespace, "name": key.name, "uid": uid },
            "target": { "kind": "Node", "name": node },
        });
        let target = Target::new(PODS, &key.namespace, &key.name).sub("binding");
        let request = self.out.ask(target, Operation::Create(body));
        self.binding.insert(request, pending);
    }

    fn bound(&mut self, now: Timestamp, id: u64, result: &Result<Object, Status>) {
        let Some(pending) = self.binding.remove(&id) else {
            return;
        };
        let uid = pending.uid.clone();
        match result {
            Ok(_) => {
                let Some(placed) = self.cache.pod(&uid) else {
                    return;
                };
                let key = &pending.key;
                let note = format!(
                    "Successfully assigned {}/{} to {}",
                    key.namespace, key.name, placed.node
                );
                let body = self.event(now, &pending, ("Normal", "Scheduled", "Binding"), &note);
                let target = Target::new(SCHEDULER_EVENTS, &key.namespace, "");
                self.out.tell(target, Operation::Create(body));
            }
            Err(status) => {
                self.cache.remove_pod(&uid);
                // Gone, or bound by somebody else: its next change says what is left to do.
                if status.code != 404 && status.code != 409 {
                    let message: Arc<str> = status.message.as_str().into();
                    self.failed(now, &uid, pending, message, Failure::Error);
                }
            }
        }
    }

    /// Tells the world and waits for something to change.
    fn failed(
        &mut self,
        now: Timestamp,
        uid: &str,
        mut pending: Pending,
        message: Arc<str>,
        failure: Failure,
    ) {
        self.report(now, &mut pending, &message);
        if pending.message.as_ref() != Some(&message) {
            let since = *pending.failing_since.get_or_insert(now);
            let body = json!({ "status": { "conditions": [{
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": &*message,
                "observedGeneration": pending.generation,
                "lastProbeTime": null,
                "lastTransitionTime": time::rfc3339(since),
            }] } });
            let key = &pending.key;
            let target = Target::new(PODS, &key.namespace, &key.name).status();
            self.out.tell(target, strategic(body));
            pending.message = Some(message);
        }
        self.queue.park(now, uid, pending, failure);
    }

    /// The first two equal failures are Events of their own; from the third on the last of them
    /// becomes a series (`tools/events`).
    fn report(&mut self, now: Timestamp, pending: &mut Pending, message: &Arc<str>) {
        let repeated = pending.message.as_ref() == Some(message);
        pending.repeats = if repeated { pending.repeats + 1 } else { 0 };
        let namespace = pending.key.namespace.clone();
        if pending.repeats >= 2 {
            let series = json!({ "series": {
                "count": pending.repeats,
                "lastObservedTime": time::micro(now),
            } });
            let target = Target::new(SCHEDULER_EVENTS, &namespace, &pending.event_name);
            self.out.tell(target, merge(series));
            return;
        }
        let kind = ("Warning", "FailedScheduling", "Scheduling");
        let body = self.event(now, pending, kind, message);
        text(&body["metadata"]["name"]).clone_into(&mut pending.event_name);
        let target = Target::new(SCHEDULER_EVENTS, &namespace, "");
        self.out.tell(target, Operation::Create(body));
    }

    fn event(
        &mut self,
        now: Timestamp,
        pending: &Pending,
        (kind, reason, action): (&str, &str, &str),
        note: &str,
    ) -> Value {
        let key = &pending.key;
        let name = event_name(&key.name, now, &mut self.events_written);
        let note: String = note.chars().take(NOTE_MAX).collect();
        let about = About::pod(&key.namespace, &key.name, &pending.uid);
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": { "name": name, "namespace": key.namespace },
            "eventTime": time::micro(now),
            "reportingController": "default-scheduler",
            "reportingInstance": "default-scheduler-control-plane",
            "action": action,
            "reason": reason,
            "regarding": regarding(&about),
            "note": note,
            "type": kind,
        })
    }

    fn listed(&mut self, now: Timestamp, resource: Resource, objects: &[Object]) {
        if resource == NODES {
            self.cache.clear_nodes();
            for node in objects {
                self.see_node(Change::Added, node);
            }
        } else {
            self.cache.clear_pods();
            self.queue.clear();
            for pod in objects {
                self.see_pod(now, Change::Added, pod);
            }
        }
    }
}

impl Component for Scheduler {
    fn name(&self) -> &'static str {
        "kube-scheduler"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        // Nodes first: pods must not be judged before the nodes are known.
        &[NODES, PODS]
    }

    fn step(&mut self, now: Timestamp, event: Event) -> Vec<Request> {
        match event {
            Event::Listed { resource, objects } => self.listed(now, resource, &objects),
            Event::Watch(event) if event.resource == NODES => {
                self.see_node(event.change, &event.object);
            }
            Event::Watch(event) => self.see_pod(now, event.change, &event.object),
            Event::Reply { id, result } => self.bound(now, id, &result),
            Event::Wake => {
                self.queue.wake_due(now);
                self.schedule(now);
            }
        }
        self.now = now;
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        // Pods are placed once all that waits has been taken in: the real scheduler is slower
        // than its informers, and many nodes that become usable at once are seen together.
        if self.queue.is_idle() {
            self.queue.wake_at()
        } else {
            Some(self.now)
        }
    }
}

/// Backoff of the n-th attempt: one second doubled up to ten.
fn backoff(attempts: u32) -> Duration {
    Duration::from_secs(1 << attempts.saturating_sub(1).min(4)).min(Duration::from_secs(10))
}

#[cfg(test)]
mod tests;
