//! NodePool: policy for a group of nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Taint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NodeClassReference, NodeRequirement, ResourceList};
use crate::duration::{GoDuration, NillableDuration};

/// What nodes may be launched for pods that fit nowhere, and when they may go again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[cfg_attr(not(feature = "schema"), kube(schema = "disabled"))]
#[kube(
    group = "karpenter.sh",
    version = "v1",
    kind = "NodePool",
    plural = "nodepools",
    status = "NodePoolStatus",
    derive = "PartialEq",
    doc = "NodePool is a policy for a group of nodes: what may be launched, and when it may go again.",
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct NodePoolSpec {
    /// When and how fast nodes may be disrupted.
    #[serde(default)]
    pub disruption: Disruption,
    /// Upper bounds for the sum of all nodes of the pool; the key nodes counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceList>,
    /// A fixed number of nodes; unset means as many as pods need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// What the NodeClaims of this pool look like.
    pub template: NodeClaimTemplate,
    /// Pools of higher weight are tried first; unset counts as 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
}

/// What the NodeClaims of a pool look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct NodeClaimTemplate {
    /// Labels and annotations for every node of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<NodeClaimTemplateMetadata>,
    /// Specification for every NodeClaim of the pool.
    pub spec: NodeClaimTemplateSpec,
}

impl NodeClaimTemplate {
    /// Labels of the template; empty when unset.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(
            self.metadata
                .as_ref()
                .and_then(|metadata| metadata.labels.as_ref()),
        )
    }

    /// Annotations of the template; empty when unset.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(
            self.metadata
                .as_ref()
                .and_then(|metadata| metadata.annotations.as_ref()),
        )
    }
}

fn pairs(map: Option<&BTreeMap<String, String>>) -> impl Iterator<Item = (&str, &str)> {
    map.into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str()))
}

/// Labels and annotations for every node of a pool.
///
/// `None` and an empty map differ: upstream's hash of the template tells them apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct NodeClaimTemplateMetadata {
    /// Annotations for every node of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Labels for every node of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// Specification for every NodeClaim of a pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeClaimTemplateSpec {
    /// How long a node may live before it is replaced; Never lets it live forever.
    #[serde(default)]
    pub expire_after: NillableDuration,
    /// Where the cloud-specific settings are.
    pub node_class_ref: NodeClassReference,
    /// Conditions on the labels of the nodes.
    pub requirements: Vec<NodeRequirement>,
    /// Taints a node has at the start and that somebody else removes; pods need not tolerate them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_taints: Option<Vec<Taint>>,
    /// Taints of the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taints: Option<Vec<Taint>>,
    /// How long draining may take before pods are deleted without regard to budgets; unset waits forever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_grace_period: Option<GoDuration>,
}

impl NodeClaimTemplateSpec {
    /// Taints; empty when unset.
    pub fn taints(&self) -> &[Taint] {
        self.taints.as_deref().unwrap_or_default()
    }

    /// Start-up taints; empty when unset.
    pub fn startup_taints(&self) -> &[Taint] {
        self.startup_taints.as_deref().unwrap_or_default()
    }
}

/// When and how fast nodes may be disrupted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// How many nodes may be disrupted at once; the strictest of the active budgets counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    /// How long a node must have been quiet before it may be consolidated; Never keeps every node.
    #[serde(default)]
    pub consolidate_after: NillableDuration,
    /// Which nodes consolidation considers.
    #[serde(default)]
    pub consolidation_policy: ConsolidationPolicy,
}

/// Which nodes consolidation considers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum ConsolidationPolicy {
    /// Only nodes without pods that would have to move.
    WhenEmpty,
    /// Empty nodes, and nodes whose pods fit elsewhere or on something cheaper.
    #[default]
    WhenEmptyOrUnderutilized,
    /// As above, as long as the savings are worth the disruption.
    Balanced,
}

/// How many nodes may be disrupted at once, for some reasons, at some times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// How long the budget is active after each hit of the schedule; hours and minutes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<GoDuration>,
    /// Number of nodes, or a percentage of the pool's nodes, rounded up.
    pub nodes: String,
    /// Reasons the budget applies to; unset means all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<DisruptionReason>>,
    /// Cron expression in UTC that starts the budget; unset means always active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
}

/// Why a node is disrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum DisruptionReason {
    /// Its pods fit elsewhere, or on something cheaper.
    Underutilized,
    /// It has no pods that would have to move.
    Empty,
    /// It no longer is what its NodePool or NodeClass asks for.
    Drifted,
}

impl DisruptionReason {
    /// The reason as objects spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Underutilized => "Underutilized",
            Self::Empty => "Empty",
            Self::Drifted => "Drifted",
        }
    }
}

/// What was observed of a pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodePoolStatus {
    /// Conditions of the pool: ValidationSucceeded, NodeClassReady, NodeRegistrationHealthy, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Generation of the NodeClass that registration health was last reset for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_class_observed_generation: Option<i64>,
    /// Nodes of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<i64>,
    /// Sum of the capacity of the pool's nodes and claims that are not being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceList>,
}
