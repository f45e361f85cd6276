//! The status of a `DaemonSet` (`daemon.updateDaemonSetStatus`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::HASH;
use crate::object::{generation, number};
use crate::pod_index::PodView;

/// The status a set should have, and when it will change by itself.
pub(super) fn of<'a>(
    now: Timestamp,
    set: &Value,
    hash: &str,
    nodes: &BTreeMap<&str, bool>,
    pods: impl Iterator<Item = (&'a String, &'a PodView)>,
) -> (Value, Option<Timestamp>) {
    let seconds = u64::try_from(number(&set["spec"]["minReadySeconds"])).unwrap_or_default();
    let least = Duration::from_secs(seconds);
    let desired = nodes.values().filter(|fits| **fits).count();
    let (mut ready, mut updated, mut available) = (0, 0, 0);
    let mut scheduled = BTreeSet::new();
    let mut misscheduled = BTreeSet::new();
    let mut next: Option<Timestamp> = None;
    for (_, pod) in pods {
        match nodes.get(pod.target.as_str()) {
            Some(true) if scheduled.insert(pod.target.clone()) => {}
            Some(false) => {
                misscheduled.insert(pod.target.clone());
                continue;
            }
            _ => continue,
        }
        updated += usize::from(pod.labels.get(HASH).is_some_and(|label| label == hash));
        if pod.ready && !pod.deleting {
            ready += 1;
            let at = pod.ready_since.unwrap_or(now) + least;
            if least.is_zero() || at <= now {
                available += 1;
            } else {
                next = Some(next.map_or(at, |earlier| earlier.min(at)));
            }
        }
    }
    let mut status = json!({
        "currentNumberScheduled": scheduled.len(),
        "numberMisscheduled": misscheduled.len(),
        "desiredNumberScheduled": desired,
        "numberReady": ready,
        "observedGeneration": generation(set),
    });
    for (field, count) in [
        ("updatedNumberScheduled", updated),
        ("numberAvailable", available),
        ("numberUnavailable", desired - available.min(desired)),
    ] {
        if count > 0 {
            status[field] = json!(count);
        }
    }
    (status, next)
}
