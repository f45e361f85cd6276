//! `ReplicaSets` as their Deployment sees them.

use serde_json::{Map, Value, json};

use super::hash::LABEL;
use super::rollout::max_surge;
use crate::api::Object;
use crate::object::{created, entries, generation, is_deleting, number, revision, text};

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a Deployment that its sets do not inherit.
const OWN_ANNOTATIONS: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// A `ReplicaSet` of a Deployment.
#[derive(Clone, Debug)]
pub(super) struct SetView {
    pub(super) object: Object,
    /// `spec.replicas`.
    pub(super) replicas: i64,
    /// Counts of `status`.
    pub(super) current: i64,
    pub(super) ready: i64,
    pub(super) available: i64,
    pub(super) terminating: i64,
}

impl SetView {
    pub(super) fn read(object: &Object) -> Self {
        let value = object.value();
        let status = &value["status"];
        Self {
            object: object.clone(),
            replicas: number(&value["spec"]["replicas"]),
            current: number(&status["replicas"]),
            ready: number(&status["readyReplicas"]),
            available: number(&status["availableReplicas"]),
            terminating: number(&status["terminatingReplicas"]),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.object.name()
    }

    pub(super) fn uid(&self) -> &str {
        self.object.uid()
    }

    pub(super) fn revision(&self) -> u64 {
        revision(self.object.value())
    }

    /// The rollout revision, as the annotation spells it.
    pub(super) fn revision_text(&self) -> &str {
        text(&self.object.value()["metadata"]["annotations"][REVISION])
    }

    /// The rollout revision as a number, 0 when absent.
    pub(super) fn history(&self) -> i64 {
        self.revision_text().parse().unwrap_or_default()
    }

    /// Whether it was made from the Deployment's current template.
    pub(super) fn has_template_of(&self, deployment: &Value) -> bool {
        let mine = &self.object.value()["spec"]["template"];
        let wanted = &deployment["spec"]["template"];
        if mine["spec"] != wanted["spec"] {
            return false;
        }
        same_but(&mine["metadata"]["labels"], &wanted["metadata"]["labels"])
            && blank(&mine["metadata"]["annotations"]) == blank(&wanted["metadata"]["annotations"])
    }

    /// Whether it was last scaled for this many replicas in all, or never says.
    pub(super) fn knows_wish(&self, wished: i64) -> bool {
        let annotation = text(&self.object.value()["metadata"]["annotations"][DESIRED]);
        annotation
            .parse::<i64>()
            .is_ok_and(|desired| desired == wished)
            || annotation.parse::<i64>().is_err()
    }

    /// Whether nothing of it is left, so that it may be deleted.
    pub(super) fn is_idle(&self) -> bool {
        let value = self.object.value();
        self.replicas == 0
            && self.current == 0
            && number(&value["status"]["observedGeneration"]) >= generation(value)
            && !is_deleting(value)
    }
}

/// Equal maps, the template hash aside.
fn same_but(mine: &Value, wanted: &Value) -> bool {
    let strip = |map: &Value| -> Map<String, Value> {
        entries(map)
            .filter(|(key, _)| key.as_str() != LABEL)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    strip(mine) == strip(wanted)
}

/// An absent map is an empty one.
fn blank(map: &Value) -> Map<String, Value> {
    map.as_object().cloned().unwrap_or_default()
}

/// By age, then by name.
pub(super) fn sort_old_first(sets: &mut [SetView]) {
    sets.sort_by(|a, b| {
        let age = |set: &SetView| created(set.object.value());
        age(a)
            .cmp(&age(b))
            .then_with(|| a.history().cmp(&b.history()))
            .then_with(|| a.name().cmp(b.name()))
    });
}

/// One more than the highest revision of the other sets.
pub(super) fn next_revision(sets: &[SetView], of: Option<usize>) -> i64 {
    sets.iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != of)
        .map(|(_, set)| set.history())
        .max()
        .unwrap_or_default()
        + 1
}

/// The annotations of a new set: those of the Deployment and the controller's own.
pub(super) fn annotations(deployment: &Value, revision: i64) -> Value {
    let mut annotations = handed_down(deployment, Map::new(), revision);
    let wished = number(&deployment["spec"]["replicas"]);
    let most = wished + max_surge(deployment);
    annotations.insert(DESIRED.to_owned(), json!(wished.to_string()));
    annotations.insert(MAX.to_owned(), json!(most.to_string()));
    Value::Object(annotations)
}

/// The annotations the set of the current template should have: its revision is the highest.
pub(super) fn inherited(deployment: &Value, sets: &[SetView], index: usize) -> Value {
    let set = &sets[index];
    let revision = next_revision(sets, Some(index)).max(set.history());
    let own = blank(&set.object.value()["metadata"]["annotations"]);
    Value::Object(handed_down(deployment, own, revision))
}

fn handed_down(
    deployment: &Value,
    mut own: Map<String, Value>,
    revision: i64,
) -> Map<String, Value> {
    for (key, value) in entries(&deployment["metadata"]["annotations"]) {
        if !OWN_ANNOTATIONS.contains(&key.as_str()) {
            own.insert(key.clone(), value.clone());
        }
    }
    own.insert(REVISION.to_owned(), json!(revision.to_string()));
    own
}

/// Whether the wish changed since the active sets were last scaled.
pub(super) fn is_scaling(deployment: &Value, sets: &[SetView]) -> bool {
    let wished = number(&deployment["spec"]["replicas"]);
    sets.iter()
        .filter(|set| set.replicas > 0)
        .any(|set| !set.knows_wish(wished))
}
