//! Which nodes may be considered, and what they cost.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::plan::Blocked;
use crate::lifecycle::{Consolidatable, consolidatable, is_evictable};
use crate::model::{
    ClaimView, ConsolidationPolicy, InstanceType, Node, NodeName, NodePool, Pod,
    PodDisruptionBudget, Price, Snapshot,
};

/// One in the fixed-point numbers of disruption costs: upstream divides a pod's deletion cost by
/// this.
const COST_ONE: i64 = 1 << 27;

/// Whether pods' protections hold (Karpenter's graceful and eventual disruption).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Always.
    Graceful,
    /// Unless the claim's `terminationGracePeriod` bounds them anyway.
    Eventual,
}

/// A node that may be disrupted.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) node: &'a Node,
    pub(super) claim: &'a ClaimView,
    pub(super) pool: &'a NodePool,
    /// Of its offering; `None` when type, zone or capacity type are unknown.
    pub(super) price: Option<Price>,
    /// 1 + what moving its pods costs, in units of [`COST_ONE`].
    cost: i64,
}

impl Candidate<'_> {
    /// No pods worth moving.
    pub(super) fn is_empty(&self) -> bool {
        self.cost <= COST_ONE
    }

    pub(super) fn is_spot(&self) -> bool {
        self.node.capacity_type == Some(crate::model::CapacityType::Spot)
    }

    pub(super) fn price_or_zero(&self) -> Price {
        self.price.unwrap_or_default()
    }

    /// Highest savings per disruption first, then by name.
    pub(super) fn by_savings(&self, other: &Self) -> Ordering {
        // a/x > b/y as a·y > b·x: exact.
        let weigh = |price: Price, cost: i64| i128::from(price.0) * i128::from(cost);
        let own = weigh(self.price_or_zero(), other.cost);
        let others = weigh(other.price_or_zero(), self.cost);
        others
            .cmp(&own)
            .then_with(|| self.node.name.cmp(&other.node.name))
    }
}

/// Nodes that may be disrupted, in name order; every other managed node gets its reason.
pub(super) fn candidates<'a>(
    snapshot: &'a Snapshot,
    class: Class,
    now: Timestamp,
    blocked: &mut BTreeMap<NodeName, Blocked>,
) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for node in &snapshot.nodes {
        let Some(claim) = &node.claim else { continue };
        match candidate(snapshot, node, claim, class, now) {
            Ok(candidate) => candidates.push(candidate),
            Err(why) => {
                blocked.insert(node.name.clone(), why);
            }
        }
    }
    candidates
}

fn candidate<'a>(
    snapshot: &'a Snapshot,
    node: &'a Node,
    claim: &'a ClaimView,
    class: Class,
    now: Timestamp,
) -> Result<Candidate<'a>, Blocked> {
    let not = |why| Err(Blocked::NotACandidate(why));
    if !node.has_node {
        return not("nodeclaim does not have an associated node");
    }
    if !claim.conditions.initialized {
        return not("node isn't initialized");
    }
    if node.deleting || claim.deleting {
        return not("node is deleting or marked for deletion");
    }
    if node.nominated_until.is_some_and(|until| until > now) {
        return Err(Blocked::Nominated);
    }
    if node.do_not_disrupt {
        return Err(Blocked::DoNotDisrupt(node.name.shared()));
    }
    let Some(catalog) = snapshot.pools.get(&claim.pool) else {
        return not("nodepool not found");
    };
    if catalog.instance_types.is_empty() {
        return not("nodepool has no instance types");
    }
    if catalog.pool.replicas.is_some() {
        return not("nodepool is static");
    }
    let waived = class == Class::Eventual && claim.termination_grace_period.is_some();
    if !waived {
        check_pods(&node.pods, &snapshot.budgets)?;
    }
    Ok(Candidate {
        node,
        claim,
        pool: &catalog.pool,
        price: price(node, &catalog.instance_types),
        cost: node
            .pods
            .iter()
            .filter(|pod| is_reschedulable(pod))
            .fold(COST_ONE, |sum, pod| {
                sum.saturating_add(eviction_cost(pod).max(0))
            }),
    })
}

fn check_pods(pods: &[Pod], budgets: &[PodDisruptionBudget]) -> Result<(), Blocked> {
    let protected = pods
        .iter()
        .find(|p| p.do_not_disrupt && !p.terminal && p.deletion.is_none());
    if let Some(pod) = protected {
        return Err(Blocked::DoNotDisrupt(pod.key.to_string().into()));
    }
    for pod in pods.iter().filter(|pod| is_evictable(pod)) {
        let covering: Vec<&PodDisruptionBudget> = budgets
            .iter()
            .filter(|budget| covers(budget, pod))
            .collect();
        match covering[..] {
            [] => {}
            [budget] => {
                let exempt = budget.always_allow_unhealthy && !pod.ready;
                if budget.disruptions_allowed <= 0 && !exempt {
                    return Err(Blocked::Pdb(qualified(budget)));
                }
            }
            // The eviction API refuses pods with several budgets.
            [first, ..] => return Err(Blocked::Pdb(qualified(first))),
        }
    }
    Ok(())
}

fn qualified(budget: &PodDisruptionBudget) -> std::sync::Arc<str> {
    format!("{}/{}", budget.namespace, budget.name).into()
}

fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    budget.namespace == pod.key.namespace
        && budget
            .selector
            .as_ref()
            .is_some_and(|selector| selector.matches(&pod.shape.labels))
}

/// The pod would be created anew elsewhere if its node went.
pub(crate) fn is_reschedulable(pod: &Pod) -> bool {
    let alive = !pod.terminal && (pod.deletion.is_none() || pod.stateful);
    alive && !pod.shape.daemon && !pod.mirror
}

/// clamp(1 + deletion cost ÷ 2^27 + priority ÷ 2^25, −10, 10), in units of [`COST_ONE`].
fn eviction_cost(pod: &Pod) -> i64 {
    let cost = COST_ONE + i64::from(pod.deletion_cost) + i64::from(pod.shape.priority) * 4;
    cost.clamp(-10 * COST_ONE, 10 * COST_ONE)
}

fn price(node: &Node, types: &[InstanceType]) -> Option<Price> {
    let name = node.instance_type.as_ref()?;
    let (zone, capacity_type) = (node.zone.as_ref()?, node.capacity_type?);
    let instance_type = types
        .iter()
        .find(|instance_type| instance_type.name == *name)?;
    let offering = instance_type
        .offerings
        .iter()
        .find(|o| o.zone == *zone && o.capacity_type == capacity_type)?;
    Some(offering.price)
}

/// Why a candidate cannot be consolidated, before anything is simulated; `empty` says for which
/// of the two kinds of consolidation.
pub(super) fn check_consolidatable(
    candidate: &Candidate<'_>,
    empty: bool,
    now: Timestamp,
) -> Result<(), Blocked> {
    let spec = &candidate.pool.disruption;
    if spec.consolidate_after.is_none() {
        return Err(Blocked::Policy);
    }
    if !empty && spec.policy == ConsolidationPolicy::WhenEmpty {
        return Err(Blocked::Policy);
    }
    if !candidate.claim.conditions.consolidatable {
        let claim = candidate.claim;
        let since = claim.initialized_at.or(Some(claim.created));
        let state = consolidatable(spec.consolidate_after, since, claim.last_pod_event, now);
        let remaining = match state {
            Consolidatable::At(from) => from.duration_since(now),
            Consolidatable::Yes | Consolidatable::No => SignedDuration::ZERO,
        };
        return Err(Blocked::ConsolidateAfter {
            remaining: remaining.unsigned_abs(),
        });
    }
    if !empty && candidate.price.is_none() {
        return Err(Blocked::NotACandidate(
            "instance type, zone or capacity type is not known",
        ));
    }
    Ok(())
}
