//! Deletion of namespaces: pods first, then everything else, then the namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::graph::{Graph, Item};
use crate::api::{Change, Identity, Object, Operation, Status};
use crate::kinds::{EVENTS, NAMESPACES, PODS, identities};
use crate::object::{is_deleting, items, text};
use crate::outbox::{Outbox, Target, delete_all, delete_uid};
use crate::time::rfc3339;

/// The namespace whose finalization is not answered yet.
#[derive(Debug)]
pub(super) struct Asked(String);

#[derive(Debug)]
struct Terminating {
    object: Object,
    /// When to look next.
    next: Timestamp,
    /// The contents other than pods have been deleted.
    emptied: bool,
    /// Something changed that may have been the last obstacle.
    nudged: bool,
    finalizing: bool,
}

/// Namespaces on their way out.
#[derive(Debug)]
pub(super) struct Namespaces {
    identity: Identity,
    pause: Duration,
    terminating: BTreeMap<String, Terminating>,
}

impl Namespaces {
    pub(super) fn new(pause: Duration) -> Self {
        Self {
            identity: identities::controller("namespace-controller"),
            pause,
            terminating: BTreeMap::new(),
        }
    }

    pub(super) fn see(&mut self, now: Timestamp, change: Change, object: &Object) {
        let name = object.name();
        if change == Change::Deleted || !is_deleting(object.value()) {
            self.terminating.remove(name);
            return;
        }
        match self.terminating.get_mut(name) {
            Some(known) => {
                known.object = object.clone();
                known.finalizing = false;
                known.nudged = known.emptied;
            }
            None => {
                let next = now + self.pause;
                let entry = Terminating {
                    object: object.clone(),
                    next,
                    emptied: false,
                    nudged: false,
                    finalizing: false,
                };
                self.terminating.insert(name.to_owned(), entry);
            }
        }
    }

    /// An object of a namespace is gone.
    pub(super) fn object_gone(&mut self, namespace: &str) {
        if let Some(known) = self.terminating.get_mut(namespace) {
            known.nudged = known.emptied;
        }
    }

    pub(super) fn work(
        &mut self,
        now: Timestamp,
        graph: &Graph,
        out: &mut Outbox,
    ) -> Vec<(u64, Asked)> {
        let mut asked = Vec::new();
        for (name, entry) in &mut self.terminating {
            let nudged = std::mem::take(&mut entry.nudged);
            if entry.next > now && !nudged {
                continue;
            }
            let left: Vec<(&String, &Item)> = graph.within(name).collect();
            if left.is_empty() {
                if !entry.finalizing {
                    entry.finalizing = true;
                    // events are nobody's dependents, so the graph does not have them
                    let events = Target::new(EVENTS, name, "");
                    out.tell_as(self.identity.clone(), events, delete_all());
                    asked.push(finish(&self.identity, name, &entry.object, out));
                }
                entry.next = now + self.pause;
                continue;
            }
            if entry.next > now {
                continue;
            }
            entry.next = now + self.pause;
            let pods = left.iter().any(|(_, item)| item.resource == PODS);
            for (uid, item) in &left {
                if !item.deleting && (item.resource == PODS || !pods) {
                    let target = Target::new(item.resource, name, &item.key.name);
                    let delete = delete_uid(uid, Some("Background"));
                    out.tell_as(self.identity.clone(), target, delete);
                }
            }
            let stuck = entry.emptied;
            entry.emptied = !pods;
            if stuck {
                let body = with_conditions(now, &entry.object, &remaining(&left));
                if body != *entry.object.value() {
                    let target = Target::new(NAMESPACES, "", name).status();
                    out.tell_as(self.identity.clone(), target, Operation::Update(body));
                }
            }
        }
        asked
    }

    pub(super) fn reply(&mut self, now: Timestamp, asked: &Asked, result: &Result<Object, Status>) {
        // A conflict: the newer state is on its way.
        if result.is_err()
            && let Some(entry) = self.terminating.get_mut(&asked.0)
        {
            entry.finalizing = false;
            entry.next = now + self.pause;
        }
    }

    pub(super) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.terminating
            .values()
            .map(|entry| if entry.nudged { now } else { entry.next })
            .min()
    }
}

/// The last step: the `kubernetes` finalizer of the spec goes, and with it the namespace.
fn finish(identity: &Identity, name: &str, namespace: &Object, out: &mut Outbox) -> (u64, Asked) {
    let mut body = namespace.value().clone();
    let left: Vec<Value> = items(&body["spec"]["finalizers"])
        .iter()
        .filter(|finalizer| *finalizer != "kubernetes")
        .cloned()
        .collect();
    body["spec"]["finalizers"] = Value::Array(left);
    let target = Target::new(NAMESPACES, "", name).sub("finalize");
    let id = out.ask_as(identity.clone(), target, Operation::Update(body));
    (id, Asked(name.to_owned()))
}

/// What is left, in the words of the conditions: contents and finalizers.
fn remaining(left: &[(&String, &Item)]) -> (String, String) {
    let mut resources: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, item) in left {
        let resource = item.resource;
        let dot = if resource.group.is_empty() { "" } else { "." };
        *resources
            .entry(format!("{}{dot}{}", resource.plural, resource.group))
            .or_default() += 1;
        for finalizer in item.finalizers.iter().collect::<BTreeSet<_>>() {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let contents: Vec<String> = resources
        .iter()
        .map(|(name, count)| format!("{name} has {count} resource instances"))
        .collect();
    let held: Vec<String> = finalizers
        .iter()
        .map(|(name, count)| format!("{name} in {count} resource instances"))
        .collect();
    (contents.join(", "), held.join(", "))
}

fn with_conditions(
    now: Timestamp,
    namespace: &Object,
    (contents, held): &(String, String),
) -> Value {
    let mut body = namespace.value().clone();
    let old = items(&body["status"]["conditions"]).to_vec();
    let condition = |kind: &str, bad: bool, reason: &str, message: String| {
        let status = if bad { "True" } else { "False" };
        let since = old
            .iter()
            .find(|c| c["type"] == kind && c["status"] == status)
            .map_or_else(
                || rfc3339(now),
                |c| text(&c["lastTransitionTime"]).to_owned(),
            );
        json!({
            "type": kind, "status": status, "lastTransitionTime": since,
            "reason": reason, "message": message,
        })
    };
    let finalizers = if held.is_empty() {
        condition(
            "NamespaceFinalizersRemaining",
            false,
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished".to_owned(),
        )
    } else {
        condition(
            "NamespaceFinalizersRemaining",
            true,
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {held}"),
        )
    };
    body["status"]["conditions"] = json!([
        condition(
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned()
        ),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned()
        ),
        condition(
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".to_owned()
        ),
        condition(
            "NamespaceContentRemaining",
            true,
            "SomeResourcesRemain",
            format!("Some resources are remaining: {contents}")
        ),
        finalizers,
    ]);
    body
}
