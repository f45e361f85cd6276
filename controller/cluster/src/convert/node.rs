//! Nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_api::labels;
use controller_core::model::{NodeName, ProviderId, Taint};
use controller_core::quantity::Resources;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node as ApiNode;

use super::parts::{Invalid, core_taints, is_true, resources_at, shared_map, time};

/// A Node object in the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Name.
    pub name: NodeName,
    /// `spec.providerID`, once set.
    pub provider_id: Option<ProviderId>,
    /// Labels.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// All taints.
    pub taints: Vec<Taint>,
    /// `status.capacity`.
    pub capacity: Resources,
    /// `status.allocatable`.
    pub allocatable: Resources,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// `metadata.deletionTimestamp`.
    pub deletion: Option<Timestamp>,
    /// `Ready` condition is true.
    pub ready: bool,
    /// `karpenter.sh/do-not-disrupt: "true"`.
    pub do_not_disrupt: bool,
    /// `spec.unschedulable`.
    pub cordoned: bool,
}

impl NodeRecord {
    /// The label says `true`.
    pub fn has_flag(&self, label: &str) -> bool {
        self.labels
            .get(label)
            .is_some_and(|value| &**value == "true")
    }
}

/// Reads a Node.
pub(crate) fn node_record(node: &ApiNode) -> Result<NodeRecord, Invalid> {
    let metadata = &node.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let status = node.status.as_ref();
    let spec = node.spec.as_ref();
    let read =
        |field: &str, list| resources_at(field, list).map_err(|error| error.of("Node", name));
    Ok(NodeRecord {
        name: NodeName::new(name),
        provider_id: spec
            .and_then(|spec| spec.provider_id.as_deref())
            .filter(|id| !id.is_empty())
            .map(ProviderId::new),
        labels: shared_map(metadata.labels.as_ref()),
        taints: core_taints(spec.and_then(|spec| spec.taints.as_deref())),
        capacity: read(
            "status.capacity",
            status.and_then(|status| status.capacity.as_ref()),
        )?,
        allocatable: read(
            "status.allocatable",
            status.and_then(|status| status.allocatable.as_ref()),
        )?,
        created: time(metadata.creation_timestamp.as_ref()).unwrap_or(Timestamp::UNIX_EPOCH),
        deletion: time(metadata.deletion_timestamp.as_ref()),
        ready: status
            .and_then(|status| status.conditions.as_ref())
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        do_not_disrupt: is_true(metadata.annotations.as_ref(), labels::DO_NOT_DISRUPT),
        cordoned: spec.and_then(|spec| spec.unschedulable) == Some(true),
    })
}
