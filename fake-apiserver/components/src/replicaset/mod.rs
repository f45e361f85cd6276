//! The `ReplicaSet` controller (kubernetes/kubernetes `pkg/controller/replicaset`).

mod order;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{
    Change, Component, Event, Identity, Object, Operation, Request, Resource, Status,
};
use crate::events::{About, Recorder, normal, warning};
use crate::kinds::{PODS, REPLICA_SETS, identities};
use crate::object::{Key, controller_of, is_deleting, number, owner_reference, revision, text};
use crate::outbox::{Outbox, Target, delete_plain, strategic};
use crate::pod_index::{PodIndex, PodView};
use crate::selector::Selector;

/// `BurstReplicas`: creations or deletions of one sync.
const BURST: usize = 500;

/// Pauses of the work queue after failures: 5 ms doubled, at most 1000 s.
const RETRY: Duration = Duration::from_millis(5);
const RETRY_DOUBLINGS_MAX: u32 = 17;

#[derive(Debug)]
struct SetView {
    object: Object,
    selector: Option<Selector>,
    /// The controller of the set, usually a Deployment.
    controller: String,
    /// Creations of the running batch that are not answered yet.
    awaited: usize,
    /// Creations left after the running batch, and the size of the next batch.
    left: usize,
    batch: usize,
    failed: Option<Status>,
    failures: u32,
    /// The status last sent, until it is seen or refused.
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
pub(crate) struct ReplicaSets {
    out: Outbox,
    events: Recorder,
    sets: BTreeMap<Key, SetView>,
    by_uid: BTreeMap<String, Key>,
    by_controller: BTreeMap<String, BTreeSet<Key>>,
    pods: PodIndex,
    dirty: BTreeSet<Key>,
    timers: BTreeSet<(Timestamp, Key)>,
    asked: BTreeMap<u64, Asked>,
    /// The instant of the last step.
    now: Timestamp,
}

impl ReplicaSets {
    pub(crate) fn new() -> Self {
        Self {
            out: Outbox::new(identities::controller("replicaset-controller")),
            events: Recorder::new("replicaset-controller"),
            sets: BTreeMap::new(),
            by_uid: BTreeMap::new(),
            by_controller: BTreeMap::new(),
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
                if let Some(keys) = self.by_controller.get_mut(&old.controller) {
                    keys.remove(&key);
                    if keys.is_empty() {
                        self.by_controller.remove(&old.controller);
                    }
                }
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
                old.object = object.clone();
                old.sent = None;
            }
            _ => {
                let controller = controller_of(value)
                    .map(|owner| owner.uid)
                    .unwrap_or_default();
                self.by_uid.insert(object.uid().to_owned(), key.clone());
                self.by_controller
                    .entry(controller.clone())
                    .or_default()
                    .insert(key.clone());
                let view = SetView {
                    object: object.clone(),
                    selector: Selector::read(&value["spec"]["selector"]),
                    controller,
                    awaited: 0,
                    left: 0,
                    batch: 1,
                    failed: None,
                    failures: 0,
                    sent: None,
                };
                self.sets.insert(key.clone(), view);
            }
        }
        self.dirty.insert(key);
    }

    fn see_pod(&mut self, change: Change, object: &Object) {
        let owners = self.pods.see(change, object);
        for owner in owners {
            if let Some(key) = self.by_uid.get(&owner) {
                self.dirty.insert(key.clone());
            }
        }
        // An orphan may be what some set of its namespace looks for.
        if change != Change::Deleted && controller_of(object.value()).is_none() {
            let first = Key::new(object.namespace(), "");
            let labels = crate::object::labels(object.value());
            let wanting = self
                .sets
                .range(first..)
                .take_while(|(key, _)| key.namespace == object.namespace())
                .filter(|(_, set)| set.selector.as_ref().is_some_and(|s| s.matches(&labels)))
                .map(|(key, _)| key.clone());
            self.dirty.extend(wanting);
        }
    }

    fn sync_dirty(&mut self, now: Timestamp) {
        for key in std::mem::take(&mut self.dirty) {
            self.sync(now, &key);
        }
    }

    fn sync(&mut self, now: Timestamp, key: &Key) {
        let Some(set) = self.sets.get(key) else {
            return;
        };
        // A batch is under way: its last answer syncs again.
        if set.awaited > 0 {
            return;
        }
        self.claim(key);
        let Some(set) = self.sets.get(key) else {
            return;
        };
        if !is_deleting(set.object.value()) {
            self.manage(now, key);
        }
        self.update_status(now, key);
    }

    /// Adopts orphans the selector matches and releases pods it no longer does.
    fn claim(&mut self, key: &Key) {
        let Some(set) = self.sets.get(key) else {
            return;
        };
        let Some(selector) = &set.selector else {
            return;
        };
        let value = set.object.value();
        let reference = owner_reference("apps/v1", "ReplicaSet", value);
        if !is_deleting(value) {
            for (uid, pod) in self.pods.orphans(&key.namespace, selector) {
                let body = json!({ "metadata": { "uid": uid, "ownerReferences": [reference] } });
                let target = Target::new(PODS, &pod.namespace, &pod.name);
                self.out.tell(target, strategic(body));
            }
        }
        for (uid, pod) in self.pods.strays(set.object.uid(), selector) {
            let body = json!({ "metadata": {
                "uid": uid,
                "ownerReferences": [{ "$patch": "delete", "uid": set.object.uid() }],
            } });
            let target = Target::new(PODS, &pod.namespace, &pod.name);
            self.out.tell(target, strategic(body));
        }
    }

    /// Creates or deletes pods until there are as many as wished.
    fn manage(&mut self, now: Timestamp, key: &Key) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let wished = usize::try_from(number(&set.object.value()["spec"]["replicas"]));
        let wished = wished.unwrap_or_default();
        let active = self.pods.active(set.object.uid());
        if active.len() < wished {
            set.left = (wished - active.len()).min(BURST);
            set.batch = 1;
            self.next_batch(key);
        } else if active.len() > wished {
            let surplus = (active.len() - wished).min(BURST);
            self.delete(now, key, surplus);
        }
    }

    /// Slow start: one, then two, four, …, so that a hopeless creation fails once, not a hundred
    /// times.
    fn next_batch(&mut self, key: &Key) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let size = set.batch.min(set.left);
        set.left -= size;
        set.batch = size * 2;
        set.awaited = size;
        let body = pod_body(set.object.value());
        for _ in 0..size {
            let target = Target::new(PODS, &key.namespace, "");
            let id = self.out.ask(target, Operation::Create(body.clone()));
            self.asked.insert(id, Asked::Create(key.clone()));
        }
    }

    fn created(&mut self, now: Timestamp, key: &Key, result: Result<Object, Status>) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let about = About::new("apps/v1", "ReplicaSet", set.object.value());
        set.awaited = set.awaited.saturating_sub(1);
        match result {
            Ok(pod) => {
                set.failures = 0;
                let message = format!("Created pod: {}", pod.name());
                let note = normal("SuccessfulCreate", &message);
                self.events.write(&mut self.out, now, &about, note);
                self.pods.see(Change::Added, &pod);
            }
            Err(status) => {
                let message = format!("Error creating: {}", status.message);
                let note = warning("FailedCreate", &message);
                self.events.write(&mut self.out, now, &about, note);
                set.failed = Some(status);
            }
        }
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        if set.awaited > 0 {
            return;
        }
        if let Some(status) = &set.failed {
            set.left = 0;
            // Nothing can be created in a namespace on its way out: do not insist.
            if !status.message.contains("being terminated") {
                let pause = RETRY * (1 << set.failures.min(RETRY_DOUBLINGS_MAX));
                set.failures += 1;
                self.timers.insert((now + pause, key.clone()));
            }
            self.update_status(now, key);
            if let Some(set) = self.sets.get_mut(key) {
                set.failed = None;
            }
        } else if set.left > 0 {
            self.next_batch(key);
        } else {
            self.dirty.insert(key.clone());
        }
    }

    fn delete(&mut self, now: Timestamp, key: &Key, surplus: usize) {
        let Some(set) = self.sets.get(key) else {
            return;
        };
        let siblings: Vec<&str> = if set.controller.is_empty() {
            vec![set.object.uid()]
        } else {
            self.by_controller
                .get(&set.controller)
                .into_iter()
                .flatten()
                .filter_map(|sibling| Some(self.sets.get(sibling)?.object.uid()))
                .collect()
        };
        let crowd = self.pods.per_node(&siblings);
        let active: Vec<(&String, &PodView)> = self.pods.active(set.object.uid());
        let victims: Vec<(String, Key)> = order::first_to_go(now, active, &crowd)
            .into_iter()
            .take(surplus)
            .map(|(uid, pod)| (uid.clone(), pod.key.clone()))
            .collect();
        for (uid, pod) in victims {
            let target = Target::new(PODS, &pod.namespace, &pod.name);
            let id = self.out.ask(target, delete_plain());
            // Not counted any more, whatever the answer: a later change corrects it.
            self.pods.mark_deleting(&uid);
            let asked = Asked::Delete {
                set: key.clone(),
                uid,
                name: pod.name,
            };
            self.asked.insert(id, asked);
        }
    }

    fn deleted(
        &mut self,
        now: Timestamp,
        key: &Key,
        uid: &str,
        name: &str,
        refused: Option<Status>,
    ) {
        self.dirty.insert(key.clone());
        let Some(set) = self.sets.get(key) else {
            return;
        };
        let about = About::new("apps/v1", "ReplicaSet", set.object.value());
        match refused {
            None => {
                let message = format!("Deleted pod: {name}");
                let note = normal("SuccessfulDelete", &message);
                self.events.write(&mut self.out, now, &about, note);
            }
            Some(status) if status.code == 404 => self.pods.forget(uid),
            Some(status) => {
                let message = format!("Error deleting: {}", status.message);
                let note = warning("FailedDelete", &message);
                self.events.write(&mut self.out, now, &about, note);
                self.pods.unmark_deleting(uid);
            }
        }
    }

    fn update_status(&mut self, now: Timestamp, key: &Key) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        let value = set.object.value();
        let owned = self.pods.owned(set.object.uid());
        let (status, available_at) = status::of(now, value, owned, set.failed.as_ref());
        if let Some(at) = available_at {
            self.timers.insert((at, key.clone()));
        }
        if value["status"] == status || set.sent.as_ref() == Some(&status) {
            return;
        }
        let mut body = value.clone();
        body["status"] = status.clone();
        set.sent = Some(status);
        let target = Target::new(REPLICA_SETS, &key.namespace, &key.name).status();
        let id = self.out.ask(target, Operation::Update(body));
        self.asked.insert(id, Asked::Status(key.clone()));
    }

    fn reply(&mut self, now: Timestamp, id: u64, result: Result<Object, Status>) {
        match self.asked.remove(&id) {
            Some(Asked::Create(key)) => self.created(now, &key, result),
            Some(Asked::Delete { set, uid, name }) => {
                self.deleted(now, &set, &uid, &name, result.err());
            }
            Some(Asked::Status(key)) => match result {
                Ok(object) => self.see_set(Change::Modified, &object),
                // A conflict: the newer state is on its way and syncs again.
                Err(_) => {
                    if let Some(set) = self.sets.get_mut(&key) {
                        set.sent = None;
                    }
                }
            },
            None => {}
        }
    }

    fn listed(&mut self, resource: Resource, objects: &[Object]) {
        if resource == PODS {
            self.pods = PodIndex::default();
            for pod in objects {
                self.see_pod(Change::Added, pod);
            }
            self.dirty.extend(self.sets.keys().cloned());
            return;
        }
        self.sets.clear();
        self.by_uid.clear();
        self.by_controller.clear();
        for set in objects {
            self.see_set(Change::Added, set);
        }
    }
}

/// A pod of a `ReplicaSet`, as the controller creates it.
fn pod_body(set: &Value) -> Value {
    let template = &set["spec"]["template"];
    let mut metadata = json!({
        "generateName": format!("{}-", text(&set["metadata"]["name"])),
        "namespace": set["metadata"]["namespace"],
        "ownerReferences": [owner_reference("apps/v1", "ReplicaSet", set)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if !template["metadata"][field].is_null() {
            metadata[field] = template["metadata"][field].clone();
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template["spec"],
    })
}

impl Component for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        // Pods first: a set must not be judged before its pods are known.
        &[PODS, REPLICA_SETS]
    }

    fn step(&mut self, now: Timestamp, event: Event) -> Vec<Request> {
        match event {
            Event::Listed { resource, objects } => self.listed(resource, &objects),
            Event::Watch(event) if event.resource == PODS => {
                self.see_pod(event.change, &event.object);
            }
            Event::Watch(event) => self.see_set(event.change, &event.object),
            Event::Reply { id, result } => self.reply(now, id, result),
            Event::Wake => {
                while let Some((at, _)) = self.timers.first()
                    && *at <= now
                {
                    if let Some((_, key)) = self.timers.pop_first() {
                        self.dirty.insert(key);
                    }
                }
                self.sync_dirty(now);
            }
        }
        self.now = now;
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        // Dirty keys are synced once all that waits has been taken in, as a work queue does.
        let timer = self.timers.first().map(|(at, _)| *at);
        if self.dirty.is_empty() {
            timer
        } else {
            Some(self.now)
        }
    }
}
