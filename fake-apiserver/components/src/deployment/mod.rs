//! The Deployment controller (kubernetes/kubernetes `pkg/controller/deployment`).

pub(crate) mod hash;
mod replies;
mod rollout;
mod sets;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::rollout::Plan;
use self::sets::{DESIRED, MAX, REVISION, SetView, sort_old_first};
use crate::api::{Change, Component, Event, Identity, Object, Operation, Request, Resource};
use crate::events::Recorder;
use crate::kinds::{DEPLOYMENTS, REPLICA_SETS, identities};
use crate::object::{Key, controller_of, is_deleting, number, owner_reference, revision, text};
use crate::outbox::{Outbox, Target, delete_plain};

/// Pause after a set could not be created.
const CREATE_RETRY: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct DeploymentView {
    object: Object,
    /// Requests that must be answered before the next decision.
    awaited: usize,
    /// The status last sent, until it is seen or refused.
    sent: Option<Value>,
}

#[derive(Debug)]
enum Asked {
    CreateSet {
        deployment: Key,
        replicas: i64,
    },
    ScaleSet {
        deployment: Key,
        set: String,
        from: i64,
        to: i64,
    },
    /// A change of a set that nobody is told about.
    TouchSet(Key),
    Status(Key),
    /// The condition that says a set was created; the next pass waits for it.
    Progress(Key),
}

/// The controller.
#[derive(Debug)]
pub(crate) struct Deployments {
    out: Outbox,
    events: Recorder,
    wanted: BTreeMap<Key, DeploymentView>,
    by_uid: BTreeMap<String, Key>,
    /// Sets by the uid of their Deployment, then by name.
    sets: BTreeMap<String, BTreeMap<String, SetView>>,
    dirty: BTreeSet<Key>,
    timers: BTreeSet<(Timestamp, Key)>,
    asked: BTreeMap<u64, Asked>,
    /// The instant of the last step.
    now: Timestamp,
}

impl Deployments {
    pub(crate) fn new() -> Self {
        Self {
            out: Outbox::new(identities::controller("deployment-controller")),
            events: Recorder::new("deployment-controller"),
            wanted: BTreeMap::new(),
            by_uid: BTreeMap::new(),
            sets: BTreeMap::new(),
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            asked: BTreeMap::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn see_deployment(&mut self, change: Change, object: &Object) {
        let key = Key::of(object);
        if change == Change::Deleted {
            if let Some(old) = self.wanted.remove(&key) {
                self.by_uid.remove(old.object.uid());
            }
            self.dirty.remove(&key);
            return;
        }
        match self.wanted.get_mut(&key) {
            Some(old) if old.object.uid() == object.uid() => {
                // The same state again says nothing new, an older one has been overtaken.
                if revision(object.value()) <= revision(old.object.value()) {
                    return;
                }
                old.object = object.clone();
                old.sent = None;
            }
            _ => {
                self.by_uid.insert(object.uid().to_owned(), key.clone());
                let view = DeploymentView {
                    object: object.clone(),
                    awaited: 0,
                    sent: None,
                };
                self.wanted.insert(key.clone(), view);
            }
        }
        self.dirty.insert(key);
    }

    fn see_set(&mut self, change: Change, object: &Object) {
        let Some(owner) = controller_of(object.value()) else {
            return;
        };
        if owner.kind != "Deployment" {
            return;
        }
        let sets = self.sets.entry(owner.uid.clone()).or_default();
        if change == Change::Deleted {
            sets.remove(object.name());
        } else {
            let overtaken = sets.get(object.name()).is_some_and(|old| {
                old.uid() == object.uid() && revision(object.value()) <= old.revision()
            });
            if overtaken {
                return;
            }
            sets.insert(object.name().to_owned(), SetView::read(object));
        }
        if sets.is_empty() {
            self.sets.remove(&owner.uid);
        }
        if let Some(key) = self.by_uid.get(&owner.uid) {
            self.dirty.insert(key.clone());
        }
    }

    fn sync_dirty(&mut self, now: Timestamp) {
        for key in std::mem::take(&mut self.dirty) {
            self.sync(now, &key);
        }
    }

    /// One pass: at most one step of the rollout, then the status.
    fn sync(&mut self, now: Timestamp, key: &Key) {
        let Some(view) = self.wanted.get(key) else {
            return;
        };
        if view.awaited > 0 {
            return;
        }
        let object = view.object.clone();
        let deployment = object.value();
        let sets = self.sorted_sets(object.uid());
        if is_deleting(deployment) {
            self.update_status(now, key, &sets);
            return;
        }
        let paused = deployment["spec"]["paused"] == true;
        let newest = sets.iter().position(|set| set.has_template_of(deployment));
        let plan = if paused || sets::is_scaling(deployment, &sets) {
            rollout::scale(deployment, &sets, newest)
        } else {
            rollout::step(deployment, &sets, newest)
        };
        match plan {
            // The answer to these leads to the next pass, and to the status.
            Plan::Create { replicas } => {
                self.create_set(key, &object, &sets, replicas);
                return;
            }
            Plan::Scale(scalings) => {
                for scaling in scalings {
                    let set = &sets[scaling.set];
                    self.scale_set(key, deployment, set, scaling.replicas, scaling.keep_size);
                }
            }
            Plan::Touch(index) => {
                self.touch_newest(key, deployment, &sets, index);
                return;
            }
            Plan::Nothing => {
                if !paused && status::is_complete(deployment) {
                    self.clean_up(key, deployment, &sets, newest);
                }
            }
        }
        self.update_status(now, key, &sets);
    }

    fn sorted_sets(&self, uid: &str) -> Vec<SetView> {
        let mut sets: Vec<SetView> = self
            .sets
            .get(uid)
            .into_iter()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect();
        sort_old_first(&mut sets);
        sets
    }

    fn create_set(&mut self, key: &Key, object: &Object, sets: &[SetView], replicas: i64) {
        let deployment = object.value();
        let body = new_set(deployment, sets, replicas);
        let target = Target::new(REPLICA_SETS, &key.namespace, "");
        let id = self.out.ask(target, Operation::Create(body));
        self.wait(
            key,
            id,
            Asked::CreateSet {
                deployment: key.clone(),
                replicas,
            },
        );
    }

    fn wait(&mut self, key: &Key, id: u64, asked: Asked) {
        if let Some(view) = self.wanted.get_mut(key) {
            view.awaited += 1;
        }
        self.asked.insert(id, asked);
    }

    fn scale_set(
        &mut self,
        key: &Key,
        deployment: &Value,
        set: &SetView,
        to: i64,
        keep_size: bool,
    ) {
        let mut body = set.object.value().clone();
        body["spec"]["replicas"] = json!(to);
        if !keep_size {
            let wished = number(&deployment["spec"]["replicas"]);
            let annotations = &mut body["metadata"]["annotations"];
            annotations[DESIRED] = json!(wished.to_string());
            annotations[MAX] = json!((wished + rollout::max_surge(deployment)).to_string());
        }
        let target = Target::new(REPLICA_SETS, &key.namespace, set.name());
        let id = self.out.ask(target, Operation::Update(body));
        let (set, from) = (set.name().to_owned(), set.replicas);
        self.wait(
            key,
            id,
            Asked::ScaleSet {
                deployment: key.clone(),
                set,
                from,
                to,
            },
        );
    }

    /// Gives the set of the current template the newest revision: after a rollback it is an old
    /// one.
    fn touch_newest(&mut self, key: &Key, deployment: &Value, sets: &[SetView], index: usize) {
        let set = &sets[index];
        let mut body = set.object.value().clone();
        body["metadata"]["annotations"] = sets::inherited(deployment, sets, index);
        body["spec"]["minReadySeconds"] = deployment["spec"]["minReadySeconds"].clone();
        let target = Target::new(REPLICA_SETS, &key.namespace, set.name());
        let id = self.out.ask(target, Operation::Update(body));
        self.wait(key, id, Asked::TouchSet(key.clone()));
    }

    /// Deletes sets beyond `revisionHistoryLimit`, the oldest first.
    fn clean_up(&mut self, key: &Key, deployment: &Value, sets: &[SetView], newest: Option<usize>) {
        let limit = deployment["spec"]["revisionHistoryLimit"]
            .as_u64()
            .unwrap_or(10);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut old: Vec<&SetView> = sets
            .iter()
            .enumerate()
            .filter(|(index, set)| Some(*index) != newest && !is_deleting(set.object.value()))
            .map(|(_, set)| set)
            .collect();
        let surplus = old.len().saturating_sub(limit);
        old.sort_by_key(|set| set.history());
        for set in old.into_iter().take(surplus).filter(|set| set.is_idle()) {
            let target = Target::new(REPLICA_SETS, &key.namespace, set.name());
            self.out.tell(target, delete_plain());
        }
    }

    fn update_status(&mut self, now: Timestamp, key: &Key, sets: &[SetView]) {
        let Some(view) = self.wanted.get_mut(key) else {
            return;
        };
        let deployment = view.object.value();
        let newest = sets.iter().find(|set| set.has_template_of(deployment));
        let (status, deadline) = status::of(now, deployment, sets, newest);
        if let Some(at) = deadline {
            self.timers.insert((at, key.clone()));
        }
        let mut body = deployment.clone();
        let mut changed = deployment["status"] != status;
        body["status"] = status.clone();
        if let Some(set) = newest
            && !set.revision_text().is_empty()
            && text(&deployment["metadata"]["annotations"][REVISION]) != set.revision_text()
        {
            // The status update carries the annotation, as upstream's does.
            if !body["metadata"]["annotations"].is_object() {
                body["metadata"]["annotations"] = json!({});
            }
            body["metadata"]["annotations"][REVISION] = json!(set.revision_text());
            changed = true;
        }
        if !changed || view.sent.as_ref() == Some(&status) {
            return;
        }
        view.sent = Some(status);
        let target = Target::new(DEPLOYMENTS, &key.namespace, &key.name).status();
        let id = self.out.ask(target, Operation::Update(body));
        self.asked.insert(id, Asked::Status(key.clone()));
    }

    fn listed(&mut self, resource: Resource, objects: &[Object]) {
        if resource == REPLICA_SETS {
            self.sets.clear();
            for set in objects {
                self.see_set(Change::Added, set);
            }
            self.dirty.extend(self.wanted.keys().cloned());
            return;
        }
        self.wanted.clear();
        self.by_uid.clear();
        for deployment in objects {
            self.see_deployment(Change::Added, deployment);
        }
    }
}

/// The set of the current template.
fn new_set(deployment: &Value, sets: &[SetView], replicas: i64) -> Value {
    let hash = hash::of_template(deployment);
    let mut template = deployment["spec"]["template"].clone();
    if !template["metadata"].is_object() {
        template["metadata"] = json!({});
    }
    template["metadata"]["labels"][hash::LABEL] = json!(hash);
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"][hash::LABEL] = json!(hash);
    let revision = sets::next_revision(sets, None);
    let mut spec = json!({ "replicas": replicas, "selector": selector, "template": template });
    if number(&deployment["spec"]["minReadySeconds"]) > 0 {
        spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"].clone();
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", text(&deployment["metadata"]["name"])),
            "namespace": deployment["metadata"]["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": sets::annotations(deployment, revision),
            "ownerReferences": [owner_reference("apps/v1", "Deployment", deployment)],
        },
        "spec": spec,
    })
}

impl Component for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        // Sets first: a deployment must not be judged before its sets are known.
        &[REPLICA_SETS, DEPLOYMENTS]
    }

    fn step(&mut self, now: Timestamp, event: Event) -> Vec<Request> {
        match event {
            Event::Listed { resource, objects } => self.listed(resource, &objects),
            Event::Watch(event) if event.resource == REPLICA_SETS => {
                self.see_set(event.change, &event.object);
            }
            Event::Watch(event) => self.see_deployment(event.change, &event.object),
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
