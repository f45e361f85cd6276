//! The disruption controller: the status of `PodDisruptionBudgets` (kubernetes/kubernetes
//! `pkg/controller/disruption`).

mod scale;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::scale::Scales;
use crate::api::{
    Change, Component, Event, Identity, Object, Operation, Request, Resource, Status,
};
use crate::events::{About, Recorder, normal, warning};
use crate::kinds::{
    DEPLOYMENTS, PDBS, PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS, identities,
};
use crate::object::{
    Controller, Key, condition, controller_of, entries, generation, is_deleting, labels, revision,
    text,
};
use crate::outbox::{Outbox, Target};
use crate::pod;
use crate::selector::Selector;
use crate::time::{parse, rfc3339};

/// How long a pod may stay in `disruptedPods` without being deleted.
const DELETION_TIMEOUT: Duration = Duration::from_mins(2);

#[derive(Debug)]
struct BudgetView {
    object: Object,
    selector: Option<Selector>,
    /// Uids of matching pods.
    pods: BTreeSet<String>,
    sent: Option<Value>,
}

#[derive(Debug)]
struct PodView {
    key: Key,
    labels: BTreeMap<String, String>,
    healthy: bool,
    deleting: bool,
    terminal: bool,
    controller: Option<Controller>,
}

/// The controller.
#[derive(Debug)]
pub(crate) struct Disruption {
    out: Outbox,
    events: Recorder,
    budgets: BTreeMap<Key, BudgetView>,
    pods: BTreeMap<String, PodView>,
    scales: Scales,
    dirty: BTreeSet<Key>,
    timers: BTreeSet<(Timestamp, Key)>,
    asked: BTreeMap<u64, Key>,
    now: Timestamp,
}

/// What a budget asks for.
struct Expectation {
    expected: i64,
    desired: i64,
    /// Pods without a controller, which such a budget cannot count.
    unmanaged: bool,
}

impl Disruption {
    pub(crate) fn new() -> Self {
        Self {
            out: Outbox::new(identities::controller("disruption-controller")),
            events: Recorder::new("controllermanager"),
            budgets: BTreeMap::new(),
            pods: BTreeMap::new(),
            scales: Scales::default(),
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            asked: BTreeMap::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn see_budget(&mut self, change: Change, object: &Object) {
        let key = Key::of(object);
        if change == Change::Deleted {
            self.budgets.remove(&key);
            self.dirty.remove(&key);
            return;
        }
        if let Some(old) = self.budgets.get(&key)
            && old.object.uid() == object.uid()
            && revision(object.value()) <= revision(old.object.value())
        {
            return;
        }
        let selector = Selector::read(&object.value()["spec"]["selector"]);
        let pods = match &selector {
            None => BTreeSet::new(),
            Some(selector) => self
                .pods
                .iter()
                .filter(|(_, pod)| {
                    pod.key.namespace == key.namespace && selector.matches(&pod.labels)
                })
                .map(|(uid, _)| uid.clone())
                .collect(),
        };
        let view = BudgetView {
            object: object.clone(),
            selector,
            pods,
            sent: None,
        };
        self.budgets.insert(key.clone(), view);
        self.dirty.insert(key);
    }

    fn budgets_of(&mut self, namespace: &str) -> impl Iterator<Item = (&Key, &mut BudgetView)> {
        let namespace = namespace.to_owned();
        let first = Key::new(&namespace, "");
        self.budgets
            .range_mut(first..)
            .take_while(move |(key, _)| key.namespace == namespace)
    }

    fn see_pod(&mut self, change: Change, object: &Object) {
        let (uid, value) = (object.uid(), object.value());
        let mut dirty = Vec::new();
        if change == Change::Deleted {
            self.pods.remove(uid);
            for (key, budget) in self.budgets_of(object.namespace()) {
                if budget.pods.remove(uid) {
                    dirty.push(key.clone());
                }
            }
        } else {
            let labels = labels(value);
            for (key, budget) in self.budgets_of(object.namespace()) {
                let matches = budget.selector.as_ref().is_some_and(|s| s.matches(&labels));
                let matched = if matches {
                    budget.pods.insert(uid.to_owned());
                    true
                } else {
                    budget.pods.remove(uid)
                };
                if matched {
                    dirty.push(key.clone());
                }
            }
            let view = PodView {
                key: Key::of(object),
                labels,
                healthy: pod::is_ready(value),
                deleting: is_deleting(value),
                terminal: pod::is_terminal(value),
                controller: controller_of(value),
            };
            self.pods.insert(uid.to_owned(), view);
        }
        self.dirty.extend(dirty);
    }

    /// A controller changed its size: budgets over its pods count anew.
    fn see_scale(&mut self, resource: Resource, change: Change, object: &Object) {
        if self.scales.see(resource, change, object) {
            let keys: Vec<Key> = self
                .budgets_of(object.namespace())
                .map(|(key, _)| key.clone())
                .collect();
            self.dirty.extend(keys);
        }
    }

    fn sync(&mut self, now: Timestamp, key: &Key) {
        let Some(budget) = self.budgets.get(key) else {
            return;
        };
        let object = budget.object.clone();
        let value = object.value();
        let about = About::new("policy/v1", "PodDisruptionBudget", value);
        let pods: Vec<&PodView> = budget
            .pods
            .iter()
            .filter_map(|uid| self.pods.get(uid))
            .collect();
        if pods.is_empty() {
            let note = normal("NoPods", "No matching pods found");
            self.events.write(&mut self.out, now, &about, note);
        }
        let expectation = match expect(value, &pods, &self.scales) {
            Ok(expectation) => expectation,
            Err(why) => {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                let note = warning("CalculateExpectedPodCountFailed", &message);
                self.events.write(&mut self.out, now, &about, note);
                self.send(key, failed_sync(now, value, &why));
                return;
            }
        };
        let (disrupted, recheck) = still_disrupted(now, value, &pods);
        let healthy = pods
            .iter()
            .filter(|pod| pod.healthy && !pod.deleting && !disrupted.contains_key(&pod.key.name))
            .count();
        if expectation.unmanaged {
            let message = "Pods selected by this PodDisruptionBudget were found to be unmanaged. \
                As a result, the status of the PDB cannot be calculated correctly, which may \
                result in undefined behavior. To account for these pods please set \
                \".spec.minAvailable\" field of the PDB to an integer value.";
            let note = warning("UnmanagedPods", message);
            self.events.write(&mut self.out, now, &about, note);
        }
        let healthy = i64::try_from(healthy).unwrap_or(i64::MAX);
        let status = status(now, value, &expectation, healthy, disrupted);
        self.send(key, status);
        if let Some(at) = recheck {
            self.timers.insert((at, key.clone()));
        }
    }

    fn send(&mut self, key: &Key, status: Value) {
        let Some(budget) = self.budgets.get_mut(key) else {
            return;
        };
        if budget.object.value()["status"] == status || budget.sent.as_ref() == Some(&status) {
            return;
        }
        let mut body = budget.object.value().clone();
        body["status"] = status.clone();
        budget.sent = Some(status);
        let target = Target::new(PDBS, &key.namespace, &key.name).status();
        let id = self.out.ask(target, Operation::Update(body));
        self.asked.insert(id, key.clone());
    }

    fn reply(&mut self, id: u64, result: Result<Object, Status>) {
        let Some(key) = self.asked.remove(&id) else {
            return;
        };
        match result {
            Ok(object) => self.see_budget(Change::Modified, &object),
            // A conflict: an eviction came between. Its change is on the way and syncs again.
            Err(_) => {
                if let Some(budget) = self.budgets.get_mut(&key) {
                    budget.sent = None;
                }
            }
        }
    }

    fn see(&mut self, resource: Resource, change: Change, object: &Object) {
        match resource {
            PODS => self.see_pod(change, object),
            PDBS => self.see_budget(change, object),
            _ => self.see_scale(resource, change, object),
        }
    }
}

/// How many pods there should be, and how many of them must be healthy.
fn expect(budget: &Value, pods: &[&PodView], scales: &Scales) -> Result<Expectation, String> {
    let spec = &budget["spec"];
    let counted = i64::try_from(pods.iter().filter(|pod| !pod.terminal).count());
    let counted = counted.unwrap_or(i64::MAX);
    if let Some(desired) = spec["minAvailable"].as_i64() {
        return Ok(Expectation {
            expected: counted,
            desired,
            unmanaged: false,
        });
    }
    let mut sizes = BTreeMap::new();
    let mut unmanaged = false;
    for pod in pods {
        match &pod.controller {
            None => unmanaged = true,
            Some(owner) => {
                let (uid, size) = scales.size(owner)?;
                sizes.insert(uid, size);
            }
        }
    }
    let expected: i64 = sizes.values().sum();
    // Percentages of both kinds are rounded up.
    let share = |value: &Value| match value.as_i64() {
        Some(number) => number,
        None => {
            let percent: i64 = text(value)
                .trim_end_matches('%')
                .parse()
                .unwrap_or_default();
            (expected * percent + 99) / 100
        }
    };
    let desired = if spec["minAvailable"].is_string() {
        share(&spec["minAvailable"])
    } else if !spec["maxUnavailable"].is_null() {
        (expected - share(&spec["maxUnavailable"])).max(0)
    } else {
        0
    };
    Ok(Expectation {
        expected,
        desired,
        unmanaged,
    })
}

/// Entries of `disruptedPods` that still count, and when the first of them ends.
fn still_disrupted(
    now: Timestamp,
    budget: &Value,
    pods: &[&PodView],
) -> (Map<String, Value>, Option<Timestamp>) {
    let mut kept = Map::new();
    let mut recheck: Option<Timestamp> = None;
    for (name, since) in entries(&budget["status"]["disruptedPods"]) {
        let Some(pod) = pods.iter().find(|pod| pod.key.name == *name) else {
            continue;
        };
        let Some(at) = parse(text(since)) else {
            continue;
        };
        let ends = at + DELETION_TIMEOUT;
        // A pod under deletion has done what the entry stands for.
        if pod.deleting || ends <= now {
            continue;
        }
        kept.insert(name.clone(), since.clone());
        recheck = Some(recheck.map_or(ends, |earlier| earlier.min(ends)));
    }
    (kept, recheck)
}

fn status(
    now: Timestamp,
    budget: &Value,
    expectation: &Expectation,
    healthy: i64,
    disrupted: Map<String, Value>,
) -> Value {
    let spare = healthy - expectation.desired;
    let allowed = if expectation.expected <= 0 {
        0
    } else {
        spare.max(0)
    };
    let (status, reason) = if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    let mut body = json!({
        "observedGeneration": generation(budget),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": expectation.desired,
        "expectedPods": expectation.expected,
        "conditions": [disruption_allowed(now, budget, (status, reason, ""))],
    });
    if !disrupted.is_empty() {
        body["disruptedPods"] = Value::Object(disrupted);
    }
    body
}

fn failed_sync(now: Timestamp, budget: &Value, why: &str) -> Value {
    let mut status = budget["status"].clone();
    if !status.is_object() {
        status = json!({
            "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
        });
    }
    status["disruptionsAllowed"] = json!(0);
    status["observedGeneration"] = json!(generation(budget));
    let condition = disruption_allowed(now, budget, ("False", "SyncFailed", why));
    status["conditions"] = json!([condition]);
    status
}

fn disruption_allowed(
    now: Timestamp,
    budget: &Value,
    (status, reason, message): (&str, &str, &str),
) -> Value {
    let since = condition(budget, "DisruptionAllowed")
        .filter(|old| old["status"] == status)
        .map_or_else(
            || json!(rfc3339(now)),
            |old| old["lastTransitionTime"].clone(),
        );
    json!({
        "type": "DisruptionAllowed",
        "status": status,
        "observedGeneration": generation(budget),
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    })
}

impl Component for Disruption {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        &[
            PODS,
            REPLICA_SETS,
            DEPLOYMENTS,
            STATEFUL_SETS,
            REPLICATION_CONTROLLERS,
            PDBS,
        ]
    }

    fn step(&mut self, now: Timestamp, event: Event) -> Vec<Request> {
        match event {
            Event::Listed { resource, objects } => {
                match resource {
                    PODS => self.pods.clear(),
                    PDBS => self.budgets.clear(),
                    _ => self.scales.clear(resource),
                }
                for object in &objects {
                    self.see(resource, Change::Added, object);
                }
                self.dirty.extend(self.budgets.keys().cloned());
            }
            Event::Watch(event) => self.see(event.resource, event.change, &event.object),
            Event::Reply { id, result } => self.reply(id, result),
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
        // Budgets are judged once all that waits has been taken in, as a work queue does.
        let timer = self.timers.first().map(|(at, _)| *at);
        if self.dirty.is_empty() {
            timer
        } else {
            Some(self.now)
        }
    }
}
