//! `karpenter.sh/v1`: NodePool and NodeClaim.
//!
//! Source: kubernetes-sigs/karpenter `pkg/apis/v1`.

mod nodeclaim;
mod nodepool;
mod parts;

pub use nodeclaim::{NodeClaim, NodeClaimResources, NodeClaimSpec, NodeClaimStatus};
pub use nodepool::{
    Budget, ConsolidationPolicy, Disruption, DisruptionReason, NodeClaimTemplate,
    NodeClaimTemplateMetadata, NodeClaimTemplateSpec, NodePool, NodePoolSpec, NodePoolStatus,
};
pub use parts::{NodeClassReference, NodeRequirement, Operator, ResourceList};

/// The version of this module.
pub const VERSION: &str = "v1";
