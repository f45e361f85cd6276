//! The immutable input of one decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::instance_type::{InstanceType, Offering};
use super::names::{InstanceTypeName, NodeName, NodePoolName, PodKey};
use super::node::Node;
use super::nodepool::NodePool;
use super::pod::{LabelSelector, Pod, PodShape};

/// What one NodePool can launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolCatalog {
    /// The pool.
    pub pool: NodePool,
    /// All instance types of the pool's NodeClass, shared between pools of one NodeClass.
    /// Empty when the NodeClass is missing or not ready.
    pub instance_types: Arc<Vec<InstanceType>>,
}

/// A `PodDisruptionBudget` with its published status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodDisruptionBudget {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Which pods it covers.
    pub selector: Option<LabelSelector>,
    /// `status.disruptionsAllowed`.
    pub disruptions_allowed: i32,
    /// `spec.unhealthyPodEvictionPolicy: AlwaysAllow`.
    pub always_allow_unhealthy: bool,
}

/// Everything a decision may look at. Sorted by name, so that equal clusters are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Pools by name, also those not ready (their nodes still exist).
    pub pools: BTreeMap<NodePoolName, PoolCatalog>,
    /// Existing nodes and in-flight claims, by name.
    pub nodes: Vec<Node>,
    /// Pending pods that are ours to serve, in creation order.
    pub pending: Vec<Pod>,
    /// One shape per `DaemonSet`, for the overhead of new nodes.
    pub daemons: Vec<Arc<PodShape>>,
    /// `PodDisruptionBudgets` by namespace and name.
    pub budgets: Vec<PodDisruptionBudget>,
    /// Labels of namespaces, for namespace selectors.
    pub namespaces: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<str>>>,
}

/// A snapshot that breaks its own rules: a bug in whoever built it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Nodes are not in name order, or two have one name.
    #[error("node \"{0}\" is out of order or there twice")]
    NodeOrder(NodeName),
    /// A pool is filed under another name than its own.
    #[error("nodepool \"{0}\" is filed under another name")]
    PoolName(NodePoolName),
    /// A pending pod is bound.
    #[error("pending pod \"{0}\" is bound to a node")]
    PendingBound(PodKey),
    /// A pod is listed at another node than the one it is bound to.
    #[error("pod \"{pod}\" is listed at node \"{node}\", to which it is not bound")]
    PodElsewhere {
        /// The pod.
        pod: PodKey,
        /// Where it is listed.
        node: NodeName,
    },
    /// A request or a capacity is negative.
    #[error("\"{0}\" has a negative amount of a resource")]
    Negative(Arc<str>),
    /// An instance type sells one zone and capacity type twice.
    #[error("instance type \"{0}\" has an offering twice")]
    DuplicateOffering(InstanceTypeName),
}

impl Snapshot {
    /// Checks what decisions take for granted.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), SnapshotError> {
        for (name, catalog) in &self.pools {
            if catalog.pool.name != *name {
                return Err(SnapshotError::PoolName(name.clone()));
            }
            for instance_type in catalog.instance_types.iter() {
                check_instance_type(instance_type)?;
            }
        }
        for pair in self.nodes.windows(2) {
            if pair[0].name >= pair[1].name {
                return Err(SnapshotError::NodeOrder(pair[1].name.clone()));
            }
        }
        for node in &self.nodes {
            if node.capacity.is_negative() {
                return Err(SnapshotError::Negative(node.name.shared()));
            }
            for pod in &node.pods {
                check_pod(pod)?;
                if pod.node.as_ref() != Some(&node.name) {
                    let (pod, node) = (pod.key.clone(), node.name.clone());
                    return Err(SnapshotError::PodElsewhere { pod, node });
                }
            }
        }
        for pod in &self.pending {
            check_pod(pod)?;
            if pod.node.is_some() {
                return Err(SnapshotError::PendingBound(pod.key.clone()));
            }
        }
        Ok(())
    }
}

fn check_pod(pod: &Pod) -> Result<(), SnapshotError> {
    if pod.shape.requests.is_negative() {
        return Err(SnapshotError::Negative(pod.key.to_string().into()));
    }
    Ok(())
}

fn check_instance_type(instance_type: &InstanceType) -> Result<(), SnapshotError> {
    if instance_type.capacity.is_negative() {
        return Err(SnapshotError::Negative(instance_type.name.shared()));
    }
    for (index, offering) in instance_type.offerings.iter().enumerate() {
        let same = |other: &Offering| {
            other.zone == offering.zone
                && other.capacity_type == offering.capacity_type
                && other.requirements == offering.requirements
        };
        if instance_type.offerings[..index].iter().any(same) {
            return Err(SnapshotError::DuplicateOffering(instance_type.name.clone()));
        }
    }
    Ok(())
}
