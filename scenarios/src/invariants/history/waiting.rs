//! Pods that nobody has placed, and whether somebody has said why.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::facts::Change;
use jiff::Timestamp;
use serde_json::Value;

use crate::observe::Seen;

/// A pod that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pod {
    /// Since when the scheduler has said that it fits nowhere.
    since: Timestamp,
    /// Its owner: pods of one owner have the same shape, and one verdict speaks for all.
    owner: String,
}

/// Pods that wait, by `namespace/name`.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    pods: BTreeMap<String, Pod>,
    /// Those of which the controller has not said what becomes of them, by how long they wait.
    pub unanswered: BTreeSet<(Timestamp, String)>,
}

impl Waiting {
    pub(super) fn pod(&mut self, now: Timestamp, change: &Seen, active: bool) {
        let value = change.object.value();
        let key = format!("{}/{}", change.object.namespace(), change.object.name());
        let waits = active
            && change.change != Change::Deleted
            && value["spec"]["nodeName"].is_null()
            && is_unschedulable(value);
        if !waits {
            if let Some(pod) = self.pods.remove(&key) {
                self.unanswered.remove(&(pod.since, key));
            }
            return;
        }
        if self.pods.contains_key(&key) {
            return;
        }
        let owner = value["metadata"]["ownerReferences"][0]["uid"]
            .as_str()
            .unwrap_or(&key)
            .to_owned();
        self.unanswered.insert((now, key.clone()));
        self.pods.insert(key, Pod { since: now, owner });
    }

    /// The controller says something about a pod.
    pub(super) fn event(&mut self, event: &Value) {
        if self.unanswered.is_empty() {
            return;
        }
        let component = ["reportingComponent", "reportingController"]
            .iter()
            .find_map(|key| event[key].as_str().filter(|text| !text.is_empty()))
            .or_else(|| event["source"]["component"].as_str());
        let about = ["involvedObject", "regarding"]
            .iter()
            .find(|key| event[**key].is_object())
            .map_or(&Value::Null, |key| &event[*key]);
        if component != Some("karpenter") || about["kind"] != "Pod" {
            return;
        }
        let key = format!(
            "{}/{}",
            about["namespace"].as_str().unwrap_or_default(),
            about["name"].as_str().unwrap_or_default()
        );
        let Some(pod) = self.pods.get(&key) else {
            return;
        };
        if !self.unanswered.contains(&(pod.since, key)) {
            return;
        }
        let (owner, pods) = (pod.owner.clone(), &self.pods);
        self.unanswered
            .retain(|(_, key)| pods.get(key).is_some_and(|pod| pod.owner != owner));
    }
}

fn is_unschedulable(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| {
        condition["type"] == "PodScheduled"
            && condition["status"] == "False"
            && condition["reason"] == "Unschedulable"
    })
}
