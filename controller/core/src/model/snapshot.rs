//! The immutable input of one decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::instance_type::InstanceType;
use super::names::NodePoolName;
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

/// A PodDisruptionBudget with its published status.
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
    /// One shape per DaemonSet, for the overhead of new nodes.
    pub daemons: Vec<Arc<PodShape>>,
    /// PodDisruptionBudgets by namespace and name.
    pub budgets: Vec<PodDisruptionBudget>,
    /// Labels of namespaces, for namespace selectors.
    pub namespaces: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<str>>>,
}
