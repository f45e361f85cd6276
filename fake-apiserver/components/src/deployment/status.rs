//! The status of a Deployment (`deployment/sync.go`, `progress.go`).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rollout::max_unavailable;
use super::sets::SetView;
use crate::object::{condition, generation, items, number, text};
use crate::time::{parse, rfc3339};

/// Whether the last known status says that the rollout is over.
pub(super) fn is_complete(deployment: &Value) -> bool {
    completes(deployment, &deployment["status"])
}

fn completes(deployment: &Value, status: &Value) -> bool {
    let wished = number(&deployment["spec"]["replicas"]);
    ["updatedReplicas", "replicas", "availableReplicas"]
        .iter()
        .all(|field| number(&status[field]) == wished)
        && number(&status["observedGeneration"]) >= generation(deployment)
}

/// The status after a set was created, before anything is counted.
pub(super) fn set_created(now: Timestamp, deployment: &Value, set: &str) -> Value {
    let mut status = deployment["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    let mut conditions = items(&status["conditions"]).to_vec();
    let message = format!("Created new replica set \"{set}\"");
    set_condition(
        now,
        &mut conditions,
        ("Progressing", "True", "NewReplicaSetCreated", &message),
    );
    status["conditions"] = Value::Array(conditions);
    status
}

/// The status a deployment should have, and when its progress must be judged again.
pub(super) fn of(
    now: Timestamp,
    deployment: &Value,
    sets: &[SetView],
    newest: Option<&SetView>,
) -> (Value, Option<Timestamp>) {
    let mut status = counts(deployment, sets, newest);
    let mut conditions = items(&deployment["status"]["conditions"]).to_vec();
    let wished = number(&deployment["spec"]["replicas"]);
    let available = number(&status["availableReplicas"]);
    let availability = if available >= wished - max_unavailable(deployment) {
        (
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    set_condition(now, &mut conditions, availability);
    let deadline = progress(now, deployment, &status, newest, &mut conditions);
    mirror_failure(&mut conditions, sets, newest);
    status["conditions"] = Value::Array(conditions);
    (status, deadline)
}

fn counts(deployment: &Value, sets: &[SetView], newest: Option<&SetView>) -> Value {
    let sum = |field: fn(&SetView) -> i64| sets.iter().map(field).sum::<i64>();
    let size = sum(|set| set.replicas);
    let available = sum(|set| set.available);
    let mut status = json!({ "observedGeneration": generation(deployment) });
    for (field, count) in [
        ("replicas", sum(|set| set.current)),
        ("updatedReplicas", newest.map_or(0, |set| set.current)),
        ("readyReplicas", sum(|set| set.ready)),
        ("availableReplicas", available),
        ("unavailableReplicas", (size - available).max(0)),
        (
            "collisionCount",
            number(&deployment["status"]["collisionCount"]),
        ),
    ] {
        if count > 0 {
            status[field] = json!(count);
        }
    }
    status["terminatingReplicas"] = json!(sum(|set| set.terminating));
    status
}

fn progress(
    now: Timestamp,
    deployment: &Value,
    status: &Value,
    newest: Option<&SetView>,
    conditions: &mut Vec<Value>,
) -> Option<Timestamp> {
    let name = newest.map_or_else(|| text(&deployment["metadata"]["name"]), SetView::name);
    if deployment["spec"]["paused"] == true {
        let paused = (
            "Progressing",
            "Unknown",
            "DeploymentPaused",
            "Deployment is paused",
        );
        set_condition(now, conditions, paused);
        return None;
    }
    let current = condition(deployment, "Progressing");
    let reason = current.map_or("", |c| text(&c["reason"]));
    let whole = number(&status["replicas"]) == number(&status["updatedReplicas"]);
    if whole && reason == "NewReplicaSetAvailable" {
        return None;
    }
    if completes(deployment, status) {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        let done = (
            "Progressing",
            "True",
            "NewReplicaSetAvailable",
            message.as_str(),
        );
        set_condition(now, conditions, done);
        return None;
    }
    if moves_on(&deployment["status"], status) {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        let since = current
            .filter(|c| c["status"] == "True")
            .map(|c| c["lastTransitionTime"].clone());
        conditions.retain(|c| c["type"] != "Progressing");
        set_condition(
            now,
            conditions,
            ("Progressing", "True", "ReplicaSetUpdated", &message),
        );
        if let (Some(since), Some(last)) = (since, conditions.last_mut()) {
            last["lastTransitionTime"] = since;
        }
    }
    let seconds = deployment["spec"]["progressDeadlineSeconds"].as_u64()?;
    let updated = conditions.iter().find(|c| c["type"] == "Progressing")?;
    if text(&updated["reason"]) == "ProgressDeadlineExceeded" {
        return None;
    }
    let deadline = parse(text(&updated["lastUpdateTime"]))? + Duration::from_secs(seconds);
    if deadline < now {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        let late = (
            "Progressing",
            "False",
            "ProgressDeadlineExceeded",
            message.as_str(),
        );
        set_condition(now, conditions, late);
        return None;
    }
    // The status has whole seconds: look a second after the deadline.
    Some(deadline + Duration::from_secs(1))
}

/// `util.DeploymentProgressing`.
fn moves_on(old: &Value, new: &Value) -> bool {
    let outdated =
        |status: &Value| number(&status["replicas"]) - number(&status["updatedReplicas"]);
    let more = |field: &str| number(&new[field]) > number(&old[field]);
    more("updatedReplicas")
        || outdated(new) < outdated(old)
        || more("readyReplicas")
        || more("availableReplicas")
}

/// A failing set shows through.
fn mirror_failure(conditions: &mut Vec<Value>, sets: &[SetView], newest: Option<&SetView>) {
    let failing = newest
        .into_iter()
        .chain(sets)
        .find_map(|set| condition(set.object.value(), "ReplicaFailure"));
    match failing {
        None => conditions.retain(|c| c["type"] != "ReplicaFailure"),
        Some(failure) => {
            let known = conditions
                .iter()
                .any(|c| c["type"] == "ReplicaFailure" && c["message"] == failure["message"]);
            if !known {
                conditions.retain(|c| c["type"] != "ReplicaFailure");
                let mut mirrored = failure.clone();
                mirrored["lastUpdateTime"] = failure["lastTransitionTime"].clone();
                conditions.push(mirrored);
            }
        }
    }
}

/// Sets a condition; one that says the same already keeps its times and its place, a changed one
/// goes last (`util.SetDeploymentCondition`).
fn set_condition(
    now: Timestamp,
    conditions: &mut Vec<Value>,
    (kind, status, reason, message): (&str, &str, &str, &str),
) {
    let old = conditions.iter().find(|c| c["type"] == kind);
    if old.is_some_and(|c| c["status"] == status && c["reason"] == reason) {
        return;
    }
    let at = rfc3339(now);
    let since = old
        .filter(|c| c["status"] == status)
        .map_or_else(|| json!(at), |c| c["lastTransitionTime"].clone());
    conditions.retain(|c| c["type"] != kind);
    conditions.push(json!({
        "type": kind,
        "status": status,
        "lastUpdateTime": at,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }));
}
