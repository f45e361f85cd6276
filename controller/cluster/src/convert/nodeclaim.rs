//! NodeClaims.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_api::karpenter::v1::NodeClaim;
use controller_api::labels;
use controller_core::model::{
    ClaimConditions, ClaimView, NodeClaimName, NodePoolName, ProviderId, Taint,
};
use controller_core::quantity::Resources;
use jiff::Timestamp;

use super::parts::{Invalid, core_taints, resources_at, shared_map, time};

/// A NodeClaim in the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRecord {
    /// What decisions see of it.
    pub view: ClaimView,
    /// `status.providerID`, once launched.
    pub provider_id: Option<ProviderId>,
    /// `metadata.labels`.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// `status.capacity`.
    pub capacity: Resources,
    /// `status.allocatable`.
    pub allocatable: Resources,
    /// Condition `InstanceTerminating` is true.
    pub instance_terminating: bool,
}

/// Reads a NodeClaim.
pub(crate) fn claim_record(claim: &NodeClaim) -> Result<ClaimRecord, Invalid> {
    let metadata = &claim.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let status = claim.status.clone().unwrap_or_default();
    let read =
        |field: &str, list| resources_at(field, list).map_err(|error| error.of("NodeClaim", name));
    let is = |condition: &str| {
        status
            .conditions
            .iter()
            .any(|candidate| candidate.type_ == condition && candidate.status == "True")
    };
    let since = |condition: &str| {
        status
            .conditions
            .iter()
            .find(|candidate| candidate.type_ == condition && candidate.status == "True")
            .map(|condition| condition.last_transition_time.0)
    };
    let requests = claim
        .spec
        .resources
        .as_ref()
        .map(|resources| &resources.requests);
    Ok(ClaimRecord {
        view: ClaimView {
            name: NodeClaimName::new(name),
            pool: NodePoolName::new(
                metadata
                    .labels
                    .as_ref()
                    .and_then(|labels| labels.get(labels::NODEPOOL))
                    .map_or("", String::as_str),
            ),
            conditions: ClaimConditions {
                launched: is("Launched"),
                registered: is("Registered"),
                initialized: is("Initialized"),
                consolidatable: is("Consolidatable"),
                drifted: is("Drifted"),
            },
            initialized_at: since("Initialized"),
            drifted_at: since("Drifted"),
            created: time(metadata.creation_timestamp.as_ref()).unwrap_or(Timestamp::UNIX_EPOCH),
            deleting: metadata.deletion_timestamp.is_some(),
            last_pod_event: time(status.last_pod_event_time.as_ref()),
            expire_after: claim.spec.expire_after.value(),
            termination_grace_period: claim
                .spec
                .termination_grace_period
                .as_ref()
                .map(controller_api::GoDuration::value),
            startup_taints: core_taints(Some(&claim.spec.startup_taints)),
            requests: read("spec.resources.requests", requests)?,
        },
        provider_id: status
            .provider_id
            .as_deref()
            .filter(|id| !id.is_empty())
            .map(ProviderId::new),
        labels: shared_map(metadata.labels.as_ref()),
        taints: core_taints(Some(&claim.spec.taints)),
        capacity: read("status.capacity", status.capacity.as_ref())?,
        allocatable: read("status.allocatable", status.allocatable.as_ref())?,
        instance_terminating: is("InstanceTerminating"),
    })
}
