//! The `DaemonSet` controller (kubernetes/kubernetes `pkg/controller/daemon`).
//!
//! Limits: one `ControllerRevision` per template, no `maxSurge`.

mod placement;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::placement::{NodeView, Wish};
use crate::api::{
    Change, Component, Event, Identity, Object, Operation, Request, Resource, Status,
};
use crate::deployment::hash;
use crate::events::{About, Recorder, normal, warning};
use crate::kinds::{CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS, identities};
use crate::object::{Key, generation, is_deleting, owner_reference, revision, text};
use crate::outbox::{Outbox, Target, delete_plain};
use crate::pod_index::{PodIndex, PodView};

const HASH: &str = "controller-revision-hash";
const GENERATION: &str = "pod-template-generation";

/// `BurstReplicas`: creations or deletions of one sync.
const BURST: usize = 250;

/// Pause after a failed creation.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct SetView {
    object: Object,
    wish: Wish,
    hash: String,
    /// Requests that must be answered before the next decision.
    awaited: usize,
    /// The revision object has been written.
    recorded: bool,
    sent: Option<Value>,
}

#[derive(Debug)]
enum Asked {
    Create(Key),
    Delete { set: Key, uid: String, name: String },
    Status(Key),
}

/// The controller.
#[derive(Debug)]
pub(crate) struct DaemonSets {
    out: Outbox,
    events: Recorder,
    sets: BTreeMap<Key, SetView>,
    by_uid: BTreeMap<String, Key>,
    nodes: BTreeMap<String, NodeView>,
    pods: PodIndex,
    dirty: BTreeSet<Key>,
    timers: BTreeSet<(Timestamp, Key)>,
    asked: BTreeMap<u64, Asked>,
    now: Timestamp,
}

impl DaemonSets {
    pub(crate) fn new() -> Self {
        Self {
            out: Outbox::new(identities::controller("daemon-set-controller")),
            events: Recorder::new("daemonset-controller"),
            sets: BTreeMap::new(),
            by_uid: BTreeMap::new(),
            nodes: BTreeMap::new(),
            pods: PodIndex::default(),
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            asked: BTreeMap::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn see_set(&mut self, change: Change, object: &Object) {
        let key = Key::of(object);
        let value = object.value();
        if change == Change::Deleted {
            if let Some(old) = self.sets.remove(&key) {
                self.by_uid.remove(old.object.uid());
            }
            self.dirty.remove(&key);
            return;
        }
        match self.sets.get_mut(&key) {
            Some(old) if old.object.uid() == object.uid() => {
                // The same state again says nothing new, an older one has been overtaken.
                if revision(value) <= revision(old.object.value()) {
                    return;
                }
                let hash = hash::of_template(value);
                old.recorded &= hash == old.hash;
                old.object = object.clone();
                old.wish = Wish::read(value);
                old.hash = hash;
                old.sent = None;
            }
            _ => {
                self.by_uid.insert(object.uid().to_owned(), key.clone());
                let view = SetView {
                    object: object.clone(),
                    wish: Wish::read(value),
                    hash: hash::of_template(value),
                    awaited: 0,
                    recorded: value["status"]["observedGeneration"].is_i64(),
                    sent: None,
                };
                self.sets.insert(key.clone(), view);
            }
        }
        self.dirty.insert(key);
    }

    fn see_node(&mut self, change: Change, object: &Object) {
        let before = self.nodes.remove(object.name());
        let after = (change != Change::Deleted).then(|| NodeView::read(object.value()));
        if before != after {
            self.dirty.extend(self.sets.keys().cloned());
        }
        if let Some(view) = after {
            self.nodes.insert(object.name().to_owned(), view);
        }
    }

    fn see_pod(&mut self, change: Change, object: &Object) {
        for owner in self.pods.see(change, object) {
            if let Some(key) = self.by_uid.get(&owner) {
                self.dirty.insert(key.clone());
            }
        }
    }

    fn sync(&mut self, now: Timestamp, key: &Key) {
        let Some(set) = self.sets.get(key) else {
            return;
        };
        if set.awaited > 0 {
            return;
        }
        if !is_deleting(set.object.value()) {
            self.record_revision(key);
            self.manage(key);
        }
        self.update_status(now, key);
    }

    fn record_revision(&mut self, key: &Key) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        if std::mem::replace(&mut set.recorded, true) {
            return;
        }
        let value = set.object.value();
        let mut labels = value["spec"]["template"]["metadata"]["labels"].clone();
        labels[HASH] = json!(set.hash);
        let mut template = value["spec"]["template"].clone();
        template["$patch"] = json!("replace");
        let body = json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": format!("{}-{}", key.name, set.hash),
                "namespace": key.namespace,
                "labels": labels,
                "annotations": {
                    "deprecated.daemonset.template.generation": generation(value).to_string(),
                },
                "ownerReferences": [owner_reference("apps/v1", "DaemonSet", value)],
            },
            "data": { "spec": { "template": template } },
            "revision": generation(value),
        });
        let target = Target::new(CONTROLLER_REVISIONS, &key.namespace, "");
        self.out.tell(target, Operation::Create(body));
    }

    fn manage(&mut self, key: &Key) {
        let Some(set) = self.sets.get(key) else {
            return;
        };
        let mut by_node: BTreeMap<&str, Vec<(&String, &PodView)>> = BTreeMap::new();
        for (uid, pod) in self.pods.owned(set.object.uid()) {
            by_node.entry(&pod.target).or_default().push((uid, pod));
        }
        let mut create = Vec::new();
        let mut delete: Vec<(String, Key)> = Vec::new();
        for (name, node) in &self.nodes {
            let here = by_node.remove(name.as_str()).unwrap_or_default();
            let fit = set.wish.judge(name, node);
            let alive = here.iter().filter(|(_, pod)| !pod.deleting);
            let mut kept = false;
            for (uid, pod) in alive {
                // One pod per node; a failed one makes room for the next.
                if pod.is_terminal() || !fit.may_stay || kept {
                    delete.push(((*uid).clone(), pod.key.clone()));
                } else {
                    kept = true;
                }
            }
            // The next pod comes when the last is gone for good.
            if fit.should_run && here.is_empty() {
                create.push(name.clone());
            }
        }
        delete.extend(self.outdated(set));
        create.truncate(BURST);
        delete.truncate(BURST);
        self.act(key, &create, delete);
    }

    /// Pods of an older template that may go now (`rollingUpdate.maxUnavailable`).
    fn outdated(&self, set: &SetView) -> Vec<(String, Key)> {
        if text(&set.object.value()["spec"]["updateStrategy"]["type"]) == "OnDelete" {
            return Vec::new();
        }
        let active = self.pods.active(set.object.uid());
        let wanted = self
            .nodes
            .iter()
            .filter(|(n, node)| set.wish.judge(n, node).should_run);
        let wanted = wanted.count();
        let ready = active.iter().filter(|(_, pod)| pod.ready).count();
        let mut spare = set
            .wish
            .max_unavailable(wanted)
            .saturating_sub(wanted.saturating_sub(ready));
        let mut old: Vec<&(&String, &PodView)> = active
            .iter()
            .filter(|(_, pod)| pod.labels.get(HASH).is_none_or(|hash| *hash != set.hash))
            .collect();
        old.sort_by_key(|(uid, pod)| (pod.ready, pod.target.clone(), (*uid).clone()));
        let mut go = Vec::new();
        for (uid, pod) in old {
            if pod.ready && spare == 0 {
                continue;
            }
            spare = spare.saturating_sub(usize::from(pod.ready));
            go.push(((*uid).clone(), pod.key.clone()));
        }
        go
    }

    fn act(&mut self, key: &Key, create: &[String], delete: Vec<(String, Key)>) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        set.awaited += create.len() + delete.len();
        let object = set.object.clone();
        let hash = set.hash.clone();
        for node in create {
            let body = placement::pod_body(object.value(), node, &hash);
            let target = Target::new(PODS, &key.namespace, "");
            let id = self.out.ask(target, Operation::Create(body));
            self.asked.insert(id, Asked::Create(key.clone()));
        }
        for (uid, pod) in delete {
            let target = Target::new(PODS, &pod.namespace, &pod.name);
            let id = self.out.ask(target, delete_plain());
            self.pods.mark_deleting(&uid);
            self.asked.insert(
                id,
                Asked::Delete {
                    set: key.clone(),
                    uid,
                    name: pod.name,
                },
            );
        }
    }

    fn update_status(&mut self, now: Timestamp, key: &Key) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let value = set.object.value();
        let fits: BTreeMap<&str, bool> = self
            .nodes
            .iter()
            .map(|(name, node)| (name.as_str(), set.wish.judge(name, node).should_run))
            .collect();
        let owned = self.pods.owned(set.object.uid());
        let (status, next) = status::of(now, value, &set.hash, &fits, owned);
        if let Some(at) = next {
            self.timers.insert((at, key.clone()));
        }
        if value["status"] == status || set.sent.as_ref() == Some(&status) {
            return;
        }
        let mut body = value.clone();
        body["status"] = status.clone();
        set.sent = Some(status);
        let target = Target::new(DAEMON_SETS, &key.namespace, &key.name).status();
        let id = self.out.ask(target, Operation::Update(body));
        self.asked.insert(id, Asked::Status(key.clone()));
    }

    fn reply(&mut self, now: Timestamp, id: u64, result: Result<Object, Status>) {
        let Some(asked) = self.asked.remove(&id) else {
            return;
        };
        let key = match &asked {
            Asked::Create(key) | Asked::Status(key) | Asked::Delete { set: key, .. } => key.clone(),
        };
        let Some(set) = self.sets.get_mut(&key) else {
            return;
        };
        let about = About::new("apps/v1", "DaemonSet", set.object.value());
        if !matches!(asked, Asked::Status(_)) {
            set.awaited = set.awaited.saturating_sub(1);
            if set.awaited == 0 {
                self.dirty.insert(key.clone());
            }
        }
        match (asked, result) {
            (Asked::Status(_), Ok(object)) => self.see_set(Change::Modified, &object),
            // A conflict: the newer state is on its way and syncs again.
            (Asked::Status(_), Err(_)) => set.sent = None,
            (Asked::Create(_), Ok(pod)) => {
                let message = format!("Created pod: {}", pod.name());
                let note = normal("SuccessfulCreate", &message);
                self.events.write(&mut self.out, now, &about, note);
                self.pods.see(Change::Added, &pod);
            }
            (Asked::Create(_), Err(status)) => {
                let message = format!("Error creating: {}", status.message);
                let note = warning("FailedCreate", &message);
                self.events.write(&mut self.out, now, &about, note);
                self.dirty.remove(&key);
                self.timers.insert((now + RETRY, key));
            }
            (Asked::Delete { name, .. }, Ok(_)) => {
                let message = format!("Deleted pod: {name}");
                let note = normal("SuccessfulDelete", &message);
                self.events.write(&mut self.out, now, &about, note);
            }
            (Asked::Delete { uid, .. }, Err(_)) => self.pods.unmark_deleting(&uid),
        }
    }

    fn listed(&mut self, resource: Resource, objects: &[Object]) {
        match resource {
            PODS => self.pods = PodIndex::default(),
            NODES => self.nodes.clear(),
            _ => {
                self.sets.clear();
                self.by_uid.clear();
            }
        }
        for object in objects {
            self.see(resource, Change::Added, object);
        }
        self.dirty.extend(self.sets.keys().cloned());
    }

    fn see(&mut self, resource: Resource, change: Change, object: &Object) {
        match resource {
            PODS => self.see_pod(change, object),
            NODES => self.see_node(change, object),
            _ => self.see_set(change, object),
        }
    }
}

impl Component for DaemonSets {
    fn name(&self) -> &'static str {
        "daemon-set-controller"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        &[NODES, PODS, DAEMON_SETS]
    }

    fn step(&mut self, now: Timestamp, event: Event) -> Vec<Request> {
        match event {
            Event::Listed { resource, objects } => self.listed(resource, &objects),
            Event::Watch(event) => self.see(event.resource, event.change, &event.object),
            Event::Reply { id, result } => self.reply(now, id, result),
            Event::Wake => {
                while let Some((at, _)) = self.timers.first()
                    && *at <= now
                {
                    if let Some((_, key)) = self.timers.pop_first() {
                        self.dirty.insert(key);
                    }
                }
                for key in std::mem::take(&mut self.dirty) {
                    self.sync(now, &key);
                }
            }
        }
        self.now = now;
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        // Sets are synced once all that waits has been taken in, as a work queue does.
        let timer = self.timers.first().map(|(at, _)| *at);
        if self.dirty.is_empty() {
            timer
        } else {
            Some(self.now)
        }
    }
}

/// The label with the generation of the template.
fn template_generation(set: &Value) -> (&'static str, String) {
    let annotation = &set["metadata"]["annotations"]["deprecated.daemonset.template.generation"];
    let generation = match text(annotation) {
        "" => generation(set).to_string(),
        given => given.to_owned(),
    };
    (GENERATION, generation)
}
