//! What scheduling is asked and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::explain::Explanation;
use crate::model::{InstanceTypeName, NodeName, NodePoolName, Pod, PodKey, Price, Snapshot};
use crate::quantity::Resources;
use crate::requirements::RequirementSpec;

/// What to do with soft constraints (`--preference-policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreferencePolicy {
    /// Treat them as required, and drop them one at a time when a pod does not fit.
    Respect,
    /// Do not look at them.
    Ignore,
}

/// What to do when `minValues` cannot be met (`--min-values-policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinValuesPolicy {
    /// The pod stays pending.
    Strict,
    /// The number is lowered to what is possible.
    BestEffort,
}

/// Options of one scheduling decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulingOptions {
    /// Soft constraints.
    pub preferences: PreferencePolicy,
    /// `minValues`.
    pub min_values: MinValuesPolicy,
    /// Most placements that may be tried; a bound on work that does not depend on the machine.
    pub steps_max: u64,
    /// The same for a second pass that looks for a cheaper answer; zero leaves it out. Its answer
    /// is taken when it places as many pods for less money.
    pub improvement_steps: u64,
}

/// The question: where do these pods go?
#[derive(Clone, Debug)]
pub struct SchedulingInput<'a> {
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// The pods to place.
    pub pods: &'a [Pod],
    /// Nodes that must not be used: they are about to go (disruption simulation).
    pub excluded: &'a BTreeSet<NodeName>,
    /// Options.
    pub options: SchedulingOptions,
}

/// A new NodeClaim to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClaim {
    /// The pool it belongs to.
    pub pool: NodePoolName,
    /// `spec.requirements` of the claim: pool ∩ pods, with the instance types that remain.
    /// Claims that ask for the same share it.
    pub requirements: Arc<[RequirementSpec]>,
    /// Instance types that remain, cheapest first.
    pub instance_types: Arc<[InstanceTypeName]>,
    /// Price of the cheapest available compatible offering.
    pub price: Price,
    /// `spec.resources.requests`: pods plus the least daemon overhead.
    pub requests: Resources,
    /// The pods meant for it.
    pub pods: Vec<PodKey>,
}

/// The answer.
#[must_use = "a placement nobody executes or reports is a bug"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Pods that fit existing nodes or in-flight claims; those are to be nominated.
    pub existing: BTreeMap<NodeName, Vec<PodKey>>,
    /// Claims to create, in the order they were opened.
    pub new_claims: Vec<NewClaim>,
    /// Every pod of a new claim as (claim, pod among those of the claim), in an order in which
    /// `kube-scheduler` may bind them one by one once the nodes are there: pods of claims whose
    /// domain is certain in the order of decision, then the rest.
    pub order: Vec<(usize, usize)>,
    /// What the new claims cost per hour, each at its cheapest.
    pub cost: Price,
    /// What they would cost at least, whatever the arrangement; see [`Placement::gap`].
    pub bound: Price,
    /// Pods without a place, each with its reasons.
    pub unschedulable: BTreeMap<PodKey, Explanation>,
    /// The step budget ran out; the rest of the pods is to be tried in the next pass.
    pub out_of_steps: bool,
}

impl Placement {
    /// How much of the cost is above the lower bound, in thousandths of the bound. The bound
    /// looks at CPU and memory only and lets machines be split, so a good answer has a gap too.
    pub fn gap(&self) -> Option<i64> {
        let above = i128::from(self.cost.0 - self.bound.0) * 1_000;
        let gap = above.checked_div(i128::from(self.bound.0))?;
        i64::try_from(gap).ok()
    }
}
