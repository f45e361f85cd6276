//! Taints that mirror the conditions of a node.

use serde_json::Value;

use super::NodeView;
use super::zones::Health;
use crate::object::{condition_status, items};

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions mirrored by a `NoSchedule` taint while they are `True`.
const MIRRORED: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    (
        "NetworkUnavailable",
        "node.kubernetes.io/network-unavailable",
    ),
];

pub(super) fn execute_key(health: Health) -> Option<&'static str> {
    match health {
        Health::NotReady => Some(NOT_READY),
        Health::Unknown => Some(UNREACHABLE),
        Health::Ready | Health::NeverSeen => None,
    }
}

/// The `NoExecute` taint of this controller a node carries already.
pub(super) fn execute_taint(node: &Value) -> Option<&'static str> {
    [NOT_READY, UNREACHABLE].into_iter().find(|key| {
        items(&node["spec"]["taints"])
            .iter()
            .any(|taint| taint["key"] == *key && taint["effect"] == "NoExecute")
    })
}

pub(super) fn wanted_taints(node: &Value, view: &NodeView) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    match view.health {
        Health::Ready => {}
        Health::NotReady | Health::NeverSeen => wanted.push((NOT_READY, "NoSchedule")),
        Health::Unknown => wanted.push((UNREACHABLE, "NoSchedule")),
    }
    for (kind, key) in MIRRORED {
        if condition_status(node, kind) == "True" {
            wanted.push((key, "NoSchedule"));
        }
    }
    if node["spec"]["unschedulable"] == true {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    if let Some(key) = view.execute {
        wanted.push((key, "NoExecute"));
    }
    wanted
}

pub(super) fn is_managed(key: &str, effect: &str) -> bool {
    match effect {
        "NoSchedule" => {
            matches!(key, NOT_READY | UNREACHABLE | UNSCHEDULABLE)
                || MIRRORED.iter().any(|(_, mirrored)| *mirrored == key)
        }
        "NoExecute" => matches!(key, NOT_READY | UNREACHABLE),
        _ => false,
    }
}
