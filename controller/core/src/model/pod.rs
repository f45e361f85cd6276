//! Pods, split into what many pods share (the shape) and what is a pod's own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::names::{NodeName, PodKey};
use super::taint::Toleration;
use crate::quantity::Resources;
use crate::requirements::RequirementSpec;

/// Everything about a pod that scheduling reads. Pods of one shape form a class.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodShape {
    /// Namespace; selectors of affinity terms are scoped to it.
    pub namespace: Arc<str>,
    /// Labels, for selectors of spread and affinity.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Effective requests by the scheduler's formula (containers, init containers, sidecars,
    /// overhead), including `pods: 1`.
    pub requests: Resources,
    /// `spec.nodeSelector`.
    pub node_selector: BTreeMap<Arc<str>, Arc<str>>,
    /// Required node affinity: an OR of conjunctions; empty means no requirement.
    pub required_affinity: Vec<Vec<RequirementSpec>>,
    /// Preferred node affinity.
    pub preferred_affinity: Vec<PreferredTerm>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Topology spread constraints.
    pub spread: Vec<SpreadConstraint>,
    /// Required pod affinity.
    pub affinity: Vec<AffinityTerm>,
    /// Preferred pod affinity.
    pub preferred_pod_affinity: Vec<WeightedAffinityTerm>,
    /// Required pod anti-affinity.
    pub anti_affinity: Vec<AffinityTerm>,
    /// Preferred pod anti-affinity.
    pub preferred_anti_affinity: Vec<WeightedAffinityTerm>,
    /// Host ports.
    pub host_ports: Vec<HostPort>,
    /// Requirements that the pod's volumes put on the node (zones), one OR-list per volume.
    pub volume_requirements: Vec<Vec<Vec<RequirementSpec>>>,
    /// `spec.priority`.
    pub priority: i32,
    /// Owned by a `DaemonSet`.
    pub daemon: bool,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one observed fact")]
pub struct Pod {
    /// Namespace and name.
    pub key: PodKey,
    /// UID; breaks ties.
    pub uid: Arc<str>,
    /// Shared shape.
    pub shape: Arc<PodShape>,
    /// Where it is bound.
    pub node: Option<NodeName>,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// `karpenter.sh/do-not-disrupt: "true"`.
    pub do_not_disrupt: bool,
    /// `metadata.deletionTimestamp`: being deleted, and when its grace ends.
    pub deletion: Option<Timestamp>,
    /// `Succeeded` or `Failed`.
    pub terminal: bool,
    /// Owned by the node itself (a static or mirror pod).
    pub mirror: bool,
    /// `Ready` condition is true.
    pub ready: bool,
    /// Owned by a `StatefulSet`: its successor waits until it is gone.
    pub stateful: bool,
    /// `spec.terminationGracePeriodSeconds`.
    pub grace_period: Option<Duration>,
    /// `controller.kubernetes.io/pod-deletion-cost`.
    pub deletion_cost: i32,
}

/// A preferred conjunction with its weight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PreferredTerm {
    /// 1 to 100.
    pub weight: i32,
    /// All must hold.
    pub requirements: Vec<RequirementSpec>,
}

/// A label selector (`metav1.LabelSelector`); `None` where absent matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSelector {
    /// All must hold; `matchLabels` are `In` with one value.
    pub requirements: Vec<SelectorRequirement>,
}

/// One expression of a label selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectorRequirement {
    /// Label key.
    pub key: Arc<str>,
    /// Operator.
    pub operator: SelectorOperator,
    /// Values.
    pub values: Vec<Arc<str>>,
}

/// Operator of a label selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SelectorOperator {
    /// Value is listed.
    In,
    /// Absent or not listed.
    NotIn,
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
}

/// A topology spread constraint (`core/v1` `TopologySpreadConstraint`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpreadConstraint {
    /// Most that a domain may exceed the smallest.
    pub max_skew: i32,
    /// Label key of the domains.
    pub topology_key: Arc<str>,
    /// `DoNotSchedule` (`true`) or `ScheduleAnyway`.
    pub hard: bool,
    /// Which pods count, in the pod's namespace.
    pub selector: Option<LabelSelector>,
    /// At least this many domains.
    pub min_domains: Option<i32>,
    /// `nodeAffinityPolicy: Honor`.
    pub honor_affinity: bool,
    /// `nodeTaintsPolicy: Honor`.
    pub honor_taints: bool,
}

/// A pod (anti-)affinity term.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AffinityTerm {
    /// Label key of the domains.
    pub topology_key: Arc<str>,
    /// Which pods count.
    pub selector: Option<LabelSelector>,
    /// Namespaces; empty means the pod's own.
    pub namespaces: Vec<Arc<str>>,
    /// Namespaces by label; `Some` of an empty selector means all.
    pub namespace_selector: Option<LabelSelector>,
}

/// A preferred pod (anti-)affinity term with its weight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightedAffinityTerm {
    /// 1 to 100.
    pub weight: i32,
    /// The term.
    pub term: AffinityTerm,
}

/// A port that a pod claims on its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Host address; `0.0.0.0` when unset.
    pub ip: Arc<str>,
    /// Port number.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Arc<str>,
}
