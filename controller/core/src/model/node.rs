//! Nodes as decisions see them: a Node, a launched NodeClaim without Node, or both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::instance_type::CapacityType;
use super::names::{InstanceTypeName, NodeClaimName, NodeName, NodePoolName, ProviderId, Zone};
use super::pod::Pod;
use super::taint::Taint;
use crate::quantity::Resources;

/// Conditions of a NodeClaim that decisions read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one condition of the API object"
)]
pub struct ClaimConditions {
    /// `Launched` is true.
    pub launched: bool,
    /// `Registered` is true.
    pub registered: bool,
    /// `Initialized` is true.
    pub initialized: bool,
    /// `Consolidatable` is true.
    pub consolidatable: bool,
    /// `Drifted` is true.
    pub drifted: bool,
}

/// The NodeClaim of a managed node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimView {
    /// Name.
    pub name: NodeClaimName,
    /// Pool, from the label `karpenter.sh/nodepool`.
    pub pool: NodePoolName,
    /// Conditions.
    pub conditions: ClaimConditions,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// When pods last came or went (`status.lastPodEventTime`).
    pub last_pod_event: Option<Timestamp>,
    /// `spec.expireAfter`.
    pub expire_after: Option<Duration>,
    /// `spec.terminationGracePeriod`.
    pub termination_grace_period: Option<Duration>,
    /// When `Initialized` became true.
    pub initialized_at: Option<Timestamp>,
    /// When `Drifted` became true.
    pub drifted_at: Option<Timestamp>,
    /// Startup taints of the claim.
    pub startup_taints: Vec<Taint>,
    /// `spec.resources.requests`: what was asked for when it was created.
    pub requests: Resources,
}

/// An existing node or an in-flight claim. Labels, taints and resources are already those of the
/// effective view (Node where it is registered, NodeClaim before).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one observed fact")]
#[expect(
    clippy::struct_field_names,
    reason = "the Node object beside the claim"
)]
pub struct Node {
    /// The Node's name; for an in-flight claim, the claim's.
    pub name: NodeName,
    /// Provider id, once launched.
    pub provider_id: Option<ProviderId>,
    /// The claim, when managed.
    pub claim: Option<ClaimView>,
    /// Effective labels.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Effective taints, without ephemeral and startup taints until initialized.
    pub taints: Vec<Taint>,
    /// Capacity.
    pub capacity: Resources,
    /// Allocatable, with missing entries filled from the claim.
    pub allocatable: Resources,
    /// Pods bound here that still hold resources.
    pub pods: Vec<Pod>,
    /// The Node object exists.
    pub has_node: bool,
    /// The Node's `Ready` condition is true.
    pub ready: bool,
    /// The Node is being deleted, or marked for deletion by us.
    pub deleting: bool,
    /// Reserved for pods by a recent decision until this time.
    pub nominated_until: Option<Timestamp>,
    /// `karpenter.sh/do-not-disrupt: "true"` on the Node.
    pub do_not_disrupt: bool,
    /// `spec.unschedulable`.
    pub cordoned: bool,
    /// Instance type, when known from labels.
    pub instance_type: Option<InstanceTypeName>,
    /// Zone, when known from labels.
    pub zone: Option<Zone>,
    /// Capacity type, when known from labels.
    pub capacity_type: Option<CapacityType>,
}
