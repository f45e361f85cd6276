//! NodePools: policy for nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::names::{NodeClassName, NodePoolName};
use super::taint::Taint;
use crate::requirements::RequirementSpec;

/// When nodes may be consolidated (`spec.disruption.consolidationPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsolidationPolicy {
    /// Only nodes without reschedulable pods.
    WhenEmpty,
    /// Also nodes whose pods fit elsewhere or on a cheaper node.
    WhenEmptyOrUnderutilized,
}

/// A disruption budget (`spec.disruption.budgets[]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// A count (`Ok`) or a percentage (`Err`) of the pool's nodes.
    pub nodes: Result<u32, u32>,
    /// Reasons it limits; empty means all. Values as in the API (`Empty`, `Underutilized`, …).
    pub reasons: Vec<Arc<str>>,
    /// Cron schedule (UTC) at which it becomes active; `None` with `duration` `None`: always.
    pub schedule: Option<Arc<str>>,
    /// How long it stays active after each hit of the schedule.
    pub duration: Option<Duration>,
}

/// `spec.disruption`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisruptionSpec {
    /// Policy.
    pub policy: ConsolidationPolicy,
    /// How long a node must have seen no pod come or go; `None` is `Never`.
    pub consolidate_after: Option<Duration>,
    /// Budgets; all active ones apply, the smallest wins.
    pub budgets: Vec<Budget>,
}

/// A NodePool that is ready to be scheduled on, or whose nodes exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePool {
    /// Name.
    pub name: NodePoolName,
    /// UID, for owner references.
    pub uid: Arc<str>,
    /// Higher is tried first; unset is 0.
    pub weight: i32,
    /// Root condition `Ready` is true and it is not being deleted.
    pub ready: bool,
    /// `spec.template.spec.requirements`.
    pub requirements: Vec<RequirementSpec>,
    /// `spec.template.metadata.labels`.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// `spec.template.metadata.annotations`.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// `spec.template.spec.taints`.
    pub taints: Vec<Taint>,
    /// `spec.template.spec.startupTaints`.
    pub startup_taints: Vec<Taint>,
    /// The NodeClass that its nodes use.
    pub node_class: NodeClassName,
    /// Group and kind of the NodeClass.
    pub node_class_group: Arc<str>,
    /// Kind of the NodeClass.
    pub node_class_kind: Arc<str>,
    /// `spec.template.spec.expireAfter`; `None` is `Never`.
    pub expire_after: Option<Duration>,
    /// `spec.template.spec.terminationGracePeriod`.
    pub termination_grace_period: Option<Duration>,
    /// `spec.limits`: only the named resources are limited. `nodes` limits the node count.
    pub limits: BTreeMap<Arc<str>, i64>,
    /// `spec.disruption`.
    pub disruption: DisruptionSpec,
    /// Static-drift hash of the template (`karpenter.sh/nodepool-hash`).
    pub hash: Arc<str>,
    /// `spec.replicas`: a static pool.
    pub replicas: Option<u32>,
}
