//! The status of a `ReplicaSet` (`replicaset.calculateStatus`).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::Status;
use crate::object::{condition, generation, number, string_map};
use crate::pod_index::PodView;
use crate::time::rfc3339;

/// The status a set should have, and when it will change by itself.
pub(super) fn of<'a>(
    now: Timestamp,
    set: &Value,
    pods: impl Iterator<Item = (&'a String, &'a PodView)>,
    failed: Option<&Status>,
) -> (Value, Option<Timestamp>) {
    let labels = string_map(&set["spec"]["template"]["metadata"]["labels"]);
    let seconds = u64::try_from(number(&set["spec"]["minReadySeconds"])).unwrap_or_default();
    let least = Duration::from_secs(seconds);
    let (mut all, mut labelled, mut ready, mut available, mut terminating) = (0, 0, 0, 0, 0);
    let mut next: Option<Timestamp> = None;
    for (_, pod) in pods {
        if pod.deleting && !pod.is_terminal() {
            terminating += 1;
        }
        if !pod.is_active() {
            continue;
        }
        all += 1;
        labelled += i64::from(labels.iter().all(|(k, v)| pod.labels.get(k) == Some(v)));
        if !pod.ready {
            continue;
        }
        ready += 1;
        let at = pod.ready_since.unwrap_or(now) + least;
        if least.is_zero() || at <= now {
            available += 1;
        } else {
            next = Some(next.map_or(at, |earlier| earlier.min(at)));
        }
    }
    let mut status = json!({ "replicas": all });
    for (field, count) in [
        ("fullyLabeledReplicas", labelled),
        ("readyReplicas", ready),
        ("availableReplicas", available),
    ] {
        if count > 0 {
            status[field] = json!(count);
        }
    }
    status["terminatingReplicas"] = json!(terminating);
    status["observedGeneration"] = json!(generation(set));
    if let Some(condition) = failure(now, set, failed, all) {
        status["conditions"] = json!([condition]);
    }
    (status, next)
}

/// `ReplicaFailure` appears with a failure and goes when the set has what it wants.
fn failure(now: Timestamp, set: &Value, failed: Option<&Status>, pods: i64) -> Option<Value> {
    let old = condition(set, "ReplicaFailure");
    match failed {
        Some(_) if old.is_some() => old.cloned(),
        Some(status) => Some(json!({
            "type": "ReplicaFailure",
            "status": "True",
            "lastTransitionTime": rfc3339(now),
            "reason": "FailedCreate",
            "message": status.message,
        })),
        None if pods < number(&set["spec"]["replicas"]) => old.cloned(),
        None => None,
    }
}
