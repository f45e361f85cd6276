//! Questions about pods that several components ask.

use serde_json::Value;

use crate::object::{condition_status, text};

/// `spec.nodeName`, empty when unbound.
pub(crate) fn node_name(pod: &Value) -> &str {
    text(&pod["spec"]["nodeName"])
}

/// `status.phase`; a pod without one is pending.
pub(crate) fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or("Pending")
}

/// Whether all containers have ended for good.
pub(crate) fn is_terminal(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether its condition `Ready` is true.
pub(crate) fn is_ready(pod: &Value) -> bool {
    condition_status(pod, "Ready") == "True"
}

/// `spec.terminationGracePeriodSeconds`, 30 when absent; a deletion may have shortened it.
pub(crate) fn grace_seconds(pod: &Value) -> i64 {
    pod["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64())
        .unwrap_or(30)
}
