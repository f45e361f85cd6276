//! The pod garbage collector: pods on nodes that do not exist, and deleted pods that never had a
//! node (kubernetes/kubernetes `pkg/controller/podgc`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::api::{Change, Component, Event, Identity, Object, Request, Resource};
use crate::kinds::{NODES, PODS, identities};
use crate::object::{Key, generation, is_deleting};
use crate::options::Timings;
use crate::outbox::{Outbox, Target, delete_now, strategic};
use crate::pod;
use crate::time::rfc3339;

#[derive(Debug)]
struct PodView {
    key: Key,
    node: String,
    terminal: bool,
    generation: i64,
}

/// The controller.
#[derive(Debug)]
pub(crate) struct PodGc {
    out: Outbox,
    period: Duration,
    quarantine: Duration,
    nodes: BTreeSet<String>,
    pods: BTreeMap<String, PodView>,
    by_node: BTreeMap<String, BTreeSet<String>>,
    /// Nodes that pods name and that do not exist, with the look that noticed them.
    missing: BTreeMap<String, Option<Timestamp>>,
    /// Deleted pods without a node.
    homeless: BTreeSet<String>,
    look_at: Option<Timestamp>,
}

impl PodGc {
    pub(crate) fn new(timings: &Timings) -> Self {
        Self {
            out: Outbox::new(identities::controller("pod-garbage-collector")),
            period: timings.pod_gc_period,
            quarantine: timings.pod_gc_quarantine,
            nodes: BTreeSet::new(),
            pods: BTreeMap::new(),
            by_node: BTreeMap::new(),
            missing: BTreeMap::new(),
            homeless: BTreeSet::new(),
            look_at: None,
        }
    }

    fn see_node(&mut self, change: Change, name: &str) {
        if change == Change::Deleted {
            self.nodes.remove(name);
            self.suspect(name);
        } else {
            self.nodes.insert(name.to_owned());
            self.missing.remove(name);
        }
    }

    fn suspect(&mut self, node: &str) {
        if !node.is_empty() && !self.nodes.contains(node) && self.by_node.contains_key(node) {
            self.missing.entry(node.to_owned()).or_default();
        }
    }

    fn see_pod(&mut self, change: Change, object: &Object) {
        let (uid, value) = (object.uid(), object.value());
        if let Some(old) = self.pods.remove(uid)
            && let Some(uids) = self.by_node.get_mut(&old.node)
        {
            uids.remove(uid);
            if uids.is_empty() {
                self.by_node.remove(&old.node);
                self.missing.remove(&old.node);
            }
        }
        self.homeless.remove(uid);
        if change == Change::Deleted {
            return;
        }
        let node = pod::node_name(value).to_owned();
        if node.is_empty() {
            if is_deleting(value) {
                self.homeless.insert(uid.to_owned());
            }
        } else {
            self.by_node
                .entry(node.clone())
                .or_default()
                .insert(uid.to_owned());
        }
        let view = PodView {
            key: Key::of(object),
            node: node.clone(),
            terminal: pod::is_terminal(value),
            generation: generation(value).max(1),
        };
        self.pods.insert(uid.to_owned(), view);
        self.suspect(&node);
    }

    fn look(&mut self, now: Timestamp) {
        self.look_at = None;
        for uid in std::mem::take(&mut self.homeless) {
            if let Some(pod) = self.pods.get(&uid) {
                let target = Target::new(PODS, &pod.key.namespace, &pod.key.name);
                self.out.tell(target, delete_now(None));
            }
        }
        let mut lost = Vec::new();
        for (node, noticed) in &mut self.missing {
            match noticed {
                None => *noticed = Some(now),
                Some(at) if *at + self.quarantine <= now => lost.push(node.clone()),
                Some(_) => {}
            }
        }
        for node in lost {
            self.missing.remove(&node);
            for uid in self.by_node.get(&node).into_iter().flatten() {
                let Some(pod) = self.pods.get(uid) else {
                    continue;
                };
                let target = Target::new(PODS, &pod.key.namespace, &pod.key.name);
                if !pod.terminal {
                    let body = json!({
                        "metadata": { "uid": uid },
                        "status": { "phase": "Failed", "conditions": [{
                            "type": "DisruptionTarget",
                            "status": "True",
                            "observedGeneration": pod.generation,
                            "reason": "DeletionByPodGC",
                            "message": "PodGC: node no longer exists",
                            "lastTransitionTime": rfc3339(now),
                        }] },
                    });
                    self.out.tell(target.status(), strategic(body));
                }
                self.out.tell(target, delete_now(None));
            }
        }
    }

    /// The first look of the period after an instant.
    fn next_look(&self, now: Timestamp) -> Timestamp {
        let period = i64::try_from(self.period.as_secs()).unwrap_or(20).max(1);
        let seconds = (now.as_second().div_euclid(period) + 1) * period;
        Timestamp::from_second(seconds).unwrap_or(now + self.period)
    }
}

impl Component for PodGc {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
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
                    self.see_node(Change::Added, node.name());
                }
                let named: Vec<String> = self.by_node.keys().cloned().collect();
                for node in named {
                    self.suspect(&node);
                }
            }
            Event::Listed { objects, .. } => {
                self.pods.clear();
                self.by_node.clear();
                self.homeless.clear();
                for pod in &objects {
                    self.see_pod(Change::Added, pod);
                }
            }
            Event::Watch(event) if event.resource == NODES => {
                self.see_node(event.change, event.object.name());
            }
            Event::Watch(event) => self.see_pod(event.change, &event.object),
            Event::Reply { .. } => {}
            Event::Wake => self.look(now),
        }
        let idle = self.missing.is_empty() && self.homeless.is_empty();
        if self.look_at.is_none() && !idle {
            self.look_at = Some(self.next_look(now));
        }
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.look_at
    }
}
