//! The two Event APIs over one storage: core events as stored, `events.k8s.io` as a view
//! (`kubernetes/kubernetes pkg/apis/events/v1/conversion.go`).

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::meta;

/// `(core, events.k8s.io)` names of renamed fields.
const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// An `events.k8s.io/v1` body becomes the stored core event.
pub(crate) fn to_core(value: &mut Value) {
    let Some(map) = value.as_object_mut() else {
        return;
    };
    for (core, renamed) in RENAMED {
        rename(map, renamed, core);
    }
    map.insert("apiVersion".into(), "v1".into());
}

/// A stored core event as `events.k8s.io/v1` shows it.
pub(crate) fn from_core(value: &mut Value) {
    let Some(map) = value.as_object_mut() else {
        return;
    };
    for (core, renamed) in RENAMED {
        rename(map, core, renamed);
    }
}

/// When a core event was written to last, as far as it says.
pub(crate) fn last_seen(event: &Value) -> Option<Timestamp> {
    let times = [
        &event["metadata"]["creationTimestamp"],
        &event["lastTimestamp"],
        &event["series"]["lastObservedTime"],
    ];
    times
        .into_iter()
        .filter_map(|time| meta::parse_time(time.as_str()?))
        .max()
}

fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = map.remove(from) {
        map.insert(to.to_owned(), value);
    }
}
