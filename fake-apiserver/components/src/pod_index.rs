//! Pods by their controller.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use crate::api::{Change, Object};
use crate::object::{
    Key, condition, controller_of, created, is_deleting, items, labels, number, revision, text,
};
use crate::pod;
use crate::selector::Selector;
use crate::time;

/// What a workload controller remembers of a pod.
#[derive(Clone, Debug)]
pub(crate) struct PodView {
    pub(crate) key: Key,
    pub(crate) owner: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) node: String,
    /// The node it is on or, for a pod of a `DaemonSet`, is meant for.
    pub(crate) target: String,
    pub(crate) phase: String,
    pub(crate) ready: bool,
    /// When it became ready.
    pub(crate) ready_since: Option<Timestamp>,
    pub(crate) deleting: bool,
    pub(crate) created: Option<Timestamp>,
    pub(crate) restarts: i64,
    /// `controller.kubernetes.io/pod-deletion-cost`.
    pub(crate) deletion_cost: i64,
    revision: u64,
}

impl PodView {
    fn read(object: &Object) -> Self {
        let pod = object.value();
        let ready = condition(pod, "Ready").filter(|ready| ready["status"] == "True");
        let cost = &pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"];
        let restarts = |status: &Value| number(&status["restartCount"]);
        Self {
            key: Key::of(object),
            owner: controller_of(pod).map(|owner| owner.uid),
            labels: labels(pod),
            node: pod::node_name(pod).to_owned(),
            target: target(pod).to_owned(),
            phase: pod::phase(pod).to_owned(),
            ready: ready.is_some(),
            ready_since: ready.and_then(|ready| time::parse(text(&ready["lastTransitionTime"]))),
            deleting: is_deleting(pod),
            created: created(pod),
            restarts: items(&pod["status"]["containerStatuses"])
                .iter()
                .map(restarts)
                .sum(),
            deletion_cost: text(cost).parse().unwrap_or_default(),
            revision: revision(pod),
        }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    pub(crate) fn is_active(&self) -> bool {
        !self.deleting && !self.is_terminal()
    }
}

/// The node of a pod, or the one its affinity names.
fn target(pod: &Value) -> &str {
    let bound = pod::node_name(pod);
    if !bound.is_empty() {
        return bound;
    }
    let required =
        &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    text(&required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])
}

/// All pods.
#[derive(Debug, Default)]
pub(crate) struct PodIndex {
    pods: BTreeMap<String, PodView>,
    by_owner: BTreeMap<String, BTreeSet<String>>,
    /// Pods nobody controls, by namespace.
    orphans: BTreeMap<String, BTreeSet<String>>,
}

impl PodIndex {
    /// Takes a change in; answers the owners it concerns.
    pub(crate) fn see(&mut self, change: Change, object: &Object) -> BTreeSet<String> {
        let uid = object.uid();
        let mut concerned = BTreeSet::new();
        if let Some(old) = self.pods.get(uid) {
            concerned.extend(old.owner.clone());
            if change != Change::Deleted && revision(object.value()) <= old.revision {
                return BTreeSet::new();
            }
        }
        self.forget(uid);
        if change == Change::Deleted {
            return concerned;
        }
        let view = PodView::read(object);
        concerned.extend(view.owner.clone());
        match &view.owner {
            Some(_) => &mut self.by_owner,
            None => &mut self.orphans,
        }
        .entry(
            view.owner
                .clone()
                .unwrap_or_else(|| view.key.namespace.clone()),
        )
        .or_default()
        .insert(uid.to_owned());
        self.pods.insert(uid.to_owned(), view);
        concerned
    }

    pub(crate) fn forget(&mut self, uid: &str) {
        let Some(old) = self.pods.remove(uid) else {
            return;
        };
        let (index, key) = match old.owner {
            Some(owner) => (&mut self.by_owner, owner),
            None => (&mut self.orphans, old.key.namespace),
        };
        if let Some(uids) = index.get_mut(&key) {
            uids.remove(uid);
            if uids.is_empty() {
                index.remove(&key);
            }
        }
    }

    pub(crate) fn mark_deleting(&mut self, uid: &str) {
        if let Some(view) = self.pods.get_mut(uid) {
            view.deleting = true;
        }
    }

    pub(crate) fn unmark_deleting(&mut self, uid: &str) {
        if let Some(view) = self.pods.get_mut(uid) {
            view.deleting = false;
        }
    }

    /// Pods a controller owns.
    pub(crate) fn owned(&self, owner: &str) -> impl Iterator<Item = (&String, &PodView)> {
        self.by_owner
            .get(owner)
            .into_iter()
            .flatten()
            .filter_map(|uid| Some((uid, self.pods.get(uid)?)))
    }

    /// Owned pods that count.
    pub(crate) fn active(&self, owner: &str) -> Vec<(&String, &PodView)> {
        self.owned(owner)
            .filter(|(_, pod)| pod.is_active())
            .collect()
    }

    /// Orphans of a namespace that a selector matches.
    pub(crate) fn orphans(&self, namespace: &str, selector: &Selector) -> Vec<(String, Key)> {
        self.orphans
            .get(namespace)
            .into_iter()
            .flatten()
            .filter_map(|uid| Some((uid, self.pods.get(uid)?)))
            .filter(|(_, pod)| pod.is_active() && selector.matches(&pod.labels))
            .map(|(uid, pod)| (uid.clone(), pod.key.clone()))
            .collect()
    }

    /// Owned pods that a selector does not match any more.
    pub(crate) fn strays(&self, owner: &str, selector: &Selector) -> Vec<(String, Key)> {
        self.owned(owner)
            .filter(|(_, pod)| !pod.deleting && !selector.matches(&pod.labels))
            .map(|(uid, pod)| (uid.clone(), pod.key.clone()))
            .collect()
    }

    /// How many active pods of some owners are on each node.
    pub(crate) fn per_node(&self, owners: &[&str]) -> BTreeMap<String, usize> {
        let mut crowd = BTreeMap::new();
        for owner in owners {
            for (_, pod) in self.active(owner) {
                *crowd.entry(pod.node.clone()).or_default() += 1;
            }
        }
        crowd
    }
}
