//! What watchers deliver.

use controller_api::karpenter::v1::{NodeClaim, NodePool};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

/// The kinds that the mirror knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// core/v1 Pod.
    Pod,
    /// core/v1 Node.
    Node,
    /// karpenter.sh/v1 NodeClaim.
    NodeClaim,
    /// karpenter.sh/v1 NodePool.
    NodePool,
    /// apps/v1 `DaemonSet`.
    DaemonSet,
    /// policy/v1 `PodDisruptionBudget`.
    PodDisruptionBudget,
    /// core/v1 Namespace.
    Namespace,
}

/// A decoded object on its way into the mirror.
#[derive(Clone, Copy, Debug)]
pub enum Object<'a> {
    /// A pod.
    Pod(&'a Pod),
    /// A node.
    Node(&'a Node),
    /// A claim.
    NodeClaim(&'a NodeClaim),
    /// A pool.
    NodePool(&'a NodePool),
    /// A daemon set.
    DaemonSet(&'a DaemonSet),
    /// A disruption budget of pods.
    PodDisruptionBudget(&'a PodDisruptionBudget),
    /// A namespace.
    Namespace(&'a Namespace),
}

impl Object<'_> {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Pod(_) => Kind::Pod,
            Self::Node(_) => Kind::Node,
            Self::NodeClaim(_) => Kind::NodeClaim,
            Self::NodePool(_) => Kind::NodePool,
            Self::DaemonSet(_) => Kind::DaemonSet,
            Self::PodDisruptionBudget(_) => Kind::PodDisruptionBudget,
            Self::Namespace(_) => Kind::Namespace,
        }
    }

    /// Namespace (empty when cluster-scoped) and name.
    pub fn key(&self) -> (&str, &str) {
        let metadata = match self {
            Self::Pod(object) => &object.metadata,
            Self::Node(object) => &object.metadata,
            Self::NodeClaim(object) => &object.metadata,
            Self::NodePool(object) => &object.metadata,
            Self::DaemonSet(object) => &object.metadata,
            Self::PodDisruptionBudget(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
        };
        (
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }
}
