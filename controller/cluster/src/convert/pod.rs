//! Pods.

use std::sync::Arc;
use std::time::Duration;

use controller_api::labels;
use controller_core::model::{NodeName, Pod, PodKey, PodShape};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod as ApiPod, PodSpec};

use super::parts::{FieldError, Invalid, controller_of, is_true, time};
use super::shape::pod_shape;

/// A pod in the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodRecord {
    pub(crate) pod: Pod,
    /// kube-scheduler has said that no node fits, and nobody else is making room for it.
    pub(crate) provisionable: bool,
}

/// Reads a pod; the shape is not shared yet.
pub(crate) fn pod_record(pod: &ApiPod) -> Result<PodRecord, Invalid> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    convert(pod).map_err(|error| error.of("Pod", &format!("{namespace}/{name}")))
}

fn convert(pod: &ApiPod) -> Result<PodRecord, FieldError> {
    let metadata = &pod.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let default_spec = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default_spec);
    let status = pod.status.as_ref();
    let conditions = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let owner = controller_of(metadata.owner_references.as_deref());
    let daemon = owner.is_some_and(|owner| owner.kind == "DaemonSet");
    let mirror = metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.kind == "Node" && owner.api_version == "v1");
    let phase = status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default();
    let unschedulable = conditions.iter().any(|condition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
    });
    let nominated = status.is_some_and(|status| {
        status
            .nominated_node_name
            .as_deref()
            .is_some_and(|name| !name.is_empty())
    });
    let node = spec
        .node_name
        .as_deref()
        .filter(|name| !name.is_empty())
        .map(NodeName::new);
    let shape = PodShape {
        daemon,
        ..pod_shape(namespace, metadata.labels.as_ref(), spec)?
    };
    Ok(PodRecord {
        provisionable: unschedulable && node.is_none() && !nominated && !daemon && !mirror,
        pod: Pod {
            key: PodKey {
                namespace: Arc::clone(&shape.namespace),
                name: Arc::from(metadata.name.as_deref().unwrap_or_default()),
            },
            uid: Arc::from(metadata.uid.as_deref().unwrap_or_default()),
            shape: Arc::new(shape),
            node,
            created: time(metadata.creation_timestamp.as_ref()).unwrap_or(Timestamp::UNIX_EPOCH),
            do_not_disrupt: is_true(metadata.annotations.as_ref(), labels::DO_NOT_DISRUPT),
            // The API server sets deletionTimestamp to the end of the grace period.
            deletion: time(metadata.deletion_timestamp.as_ref()),
            terminal: matches!(phase, "Succeeded" | "Failed"),
            mirror,
            ready: conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            stateful: owner.is_some_and(|owner| owner.kind == "StatefulSet"),
            grace_period: spec
                .termination_grace_period_seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
            deletion_cost: metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(labels::POD_DELETION_COST))
                .and_then(|cost| cost.parse().ok())
                .unwrap_or(0),
        },
    })
}
