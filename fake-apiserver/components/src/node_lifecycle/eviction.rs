//! Taint eviction: pods that do not tolerate a `NoExecute` taint of their node
//! (`pkg/controller/tainteviction`).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::Change;
use crate::events::{About, Recorder, normal};
use crate::kinds::PODS;
use crate::object::{Key, generation, is_deleting, text};
use crate::outbox::{Outbox, Target, delete_plain, strategic};
use crate::pod;
use crate::time;
use crate::toleration::{Stay, Taint, Toleration, stay};

#[derive(Debug)]
struct PodView {
    key: Key,
    node: String,
    tolerations: Vec<Toleration>,
    ready: bool,
    generation: i64,
    /// When it will be evicted.
    due: Option<Timestamp>,
    /// Its eviction has been asked for.
    marked: bool,
}

/// Pods that run, and those that must go.
#[derive(Debug)]
pub(super) struct Evictions {
    events: Recorder,
    pods: BTreeMap<String, PodView>,
    by_node: BTreeMap<String, BTreeSet<String>>,
    /// `NoExecute` taints by node; nodes without are absent.
    taints: BTreeMap<String, Vec<Taint>>,
    due: BTreeSet<(Timestamp, String)>,
}

impl Default for Evictions {
    fn default() -> Self {
        Self {
            events: Recorder::new("taint-eviction-controller"),
            pods: BTreeMap::new(),
            by_node: BTreeMap::new(),
            taints: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }
}

impl Evictions {
    /// Forgets all pods: a new list follows.
    pub(super) fn reset(&mut self) {
        self.pods.clear();
        self.by_node.clear();
        self.due.clear();
    }

    pub(super) fn see(&mut self, out: &mut Outbox, now: Timestamp, change: Change, pod: &Value) {
        let uid = text(&pod["metadata"]["uid"]);
        let node = pod::node_name(pod);
        let over = change == Change::Deleted || pod::is_terminal(pod) || is_deleting(pod);
        if over {
            self.forget_pod(uid);
            return;
        }
        if node.is_empty() {
            return;
        }
        if let Some(known) = self.pods.get_mut(uid) {
            known.ready = pod::is_ready(pod);
            let tolerations = Toleration::read_all(&pod["spec"]);
            if known.tolerations == tolerations {
                return;
            }
            known.tolerations = tolerations;
        } else {
            let metadata = &pod["metadata"];
            self.by_node
                .entry(node.to_owned())
                .or_default()
                .insert(uid.to_owned());
            let view = PodView {
                key: Key::new(text(&metadata["namespace"]), text(&metadata["name"])),
                node: node.to_owned(),
                tolerations: Toleration::read_all(&pod["spec"]),
                ready: pod::is_ready(pod),
                generation: generation(pod).max(1),
                due: None,
                marked: false,
            };
            self.pods.insert(uid.to_owned(), view);
        }
        if self.taints.contains_key(node) {
            self.judge(out, now, uid);
        }
    }

    fn forget_pod(&mut self, uid: &str) {
        let Some(view) = self.pods.remove(uid) else {
            return;
        };
        if let Some(at) = view.due {
            self.due.remove(&(at, uid.to_owned()));
        }
        if let Some(of_node) = self.by_node.get_mut(&view.node) {
            of_node.remove(uid);
            if of_node.is_empty() {
                self.by_node.remove(&view.node);
            }
        }
    }

    pub(super) fn forget_node(&mut self, name: &str) {
        self.taints.remove(name);
        for uid in self.by_node.get(name).into_iter().flatten() {
            if let Some(view) = self.pods.get_mut(uid)
                && let Some(at) = view.due.take()
            {
                self.due.remove(&(at, uid.clone()));
            }
        }
    }

    pub(super) fn node_taints(
        &mut self,
        out: &mut Outbox,
        now: Timestamp,
        name: &str,
        taints: Vec<Taint>,
    ) {
        let execute: Vec<Taint> = taints
            .into_iter()
            .filter(|taint| taint.effect == "NoExecute")
            .collect();
        if self.taints.get(name).map_or(&[][..], Vec::as_slice) == execute {
            return;
        }
        if execute.is_empty() {
            self.taints.remove(name);
        } else {
            self.taints.insert(name.to_owned(), execute);
        }
        for uid in self.by_node.get(name).cloned().into_iter().flatten() {
            self.judge(out, now, &uid);
        }
    }

    /// Decides whether and when a pod must go.
    fn judge(&mut self, out: &mut Outbox, now: Timestamp, uid: &str) {
        let Some(view) = self.pods.get_mut(uid) else {
            return;
        };
        let taints = self.taints.get(&view.node).map_or(&[][..], Vec::as_slice);
        match stay(&view.tolerations, taints) {
            Stay::Not => {
                if let Some(at) = view.due.take() {
                    self.due.remove(&(at, uid.to_owned()));
                }
                self.evict(out, now, uid);
            }
            Stay::Forever => {
                let Some(at) = view.due.take() else { return };
                self.due.remove(&(at, uid.to_owned()));
                let about = About::pod(&view.key.namespace, &view.key.name, uid);
                let message = format!(
                    "Cancelling deletion of Pod {}/{}",
                    view.key.namespace, view.key.name
                );
                let note = normal("TaintManagerEviction", &message);
                self.events.write(out, now, &about, note);
            }
            // A running clock is not set back by a further taint.
            Stay::For(_) if view.due.is_some() => {}
            Stay::For(duration) => {
                let at = now + duration;
                view.due = Some(at);
                self.due.insert((at, uid.to_owned()));
            }
        }
    }

    pub(super) fn fire(&mut self, out: &mut Outbox, now: Timestamp) {
        while let Some((at, _)) = self.due.first()
            && *at <= now
        {
            if let Some((_, uid)) = self.due.pop_first() {
                self.evict(out, now, &uid);
            }
        }
    }

    fn evict(&mut self, out: &mut Outbox, now: Timestamp, uid: &str) {
        let Some(view) = self.pods.get_mut(uid) else {
            return;
        };
        if std::mem::replace(&mut view.marked, true) {
            return;
        }
        view.due = None;
        let (namespace, name) = (&view.key.namespace, &view.key.name);
        let about = About::pod(namespace, name, uid);
        let message = format!("Marking for deletion Pod {namespace}/{name}");
        self.events
            .write(out, now, &about, normal("TaintManagerEviction", &message));
        let body = json!({
            "metadata": { "uid": uid },
            "status": { "conditions": [{
                "type": "DisruptionTarget",
                "status": "True",
                "observedGeneration": view.generation,
                "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint",
                "lastTransitionTime": time::rfc3339(now),
            }] },
        });
        let target = Target::new(PODS, namespace, name);
        out.tell(target.status(), strategic(body));
        out.tell(target, delete_plain());
    }

    /// Ready pods of a node, with their uids.
    pub(super) fn ready_pods(&self, node: &str) -> Vec<(String, Key)> {
        self.by_node
            .get(node)
            .into_iter()
            .flatten()
            .filter_map(|uid| {
                let view = self.pods.get(uid)?;
                view.ready.then(|| (uid.clone(), view.key.clone()))
            })
            .collect()
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }
}
