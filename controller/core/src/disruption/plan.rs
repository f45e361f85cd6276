//! What a disruption decision answers: commands, and why every other node stays.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{NodeClaimName, NodeName, Price};
use crate::scheduling::{NewClaim, SchedulingOptions};

/// Why a node is disrupted (values of `spec.disruption.budgets[].reasons` and of metrics).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DisruptionReason {
    /// No reschedulable pods.
    Empty,
    /// Its definition has changed.
    Drifted,
    /// Its pods fit elsewhere, or on something cheaper.
    Underutilized,
}

impl DisruptionReason {
    /// The API's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Drifted => "Drifted",
            Self::Underutilized => "Underutilized",
        }
    }
}

/// One step that the executor carries out as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Why.
    pub reason: DisruptionReason,
    /// The nodes that go, by claim and node name.
    pub candidates: Vec<(NodeClaimName, NodeName)>,
    /// Claims to create and wait for before the candidates are deleted; empty for a delete.
    pub replacements: Vec<NewClaim>,
    /// Money gained per hour.
    pub savings: Price,
}

/// Why a node is left alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocked {
    /// Not managed, not initialized, or already being deleted.
    NotACandidate(&'static str),
    /// A `PodDisruptionBudget` allows no eviction.
    Pdb(Arc<str>),
    /// `karpenter.sh/do-not-disrupt` on the named object.
    DoNotDisrupt(Arc<str>),
    /// The pool's budget for this reason is used up.
    Budget {
        /// Nodes the budget allows now.
        allowed: u32,
    },
    /// Pods came or went too recently.
    ConsolidateAfter {
        /// Time that is left.
        remaining: Duration,
    },
    /// Reserved for pods that were just scheduled.
    Nominated,
    /// No cheaper offering would take its pods.
    NoCheaperOffering,
    /// Its pods do not fit on the rest of the cluster and one new node.
    PodsWouldNotFit,
    /// A spot node would be replaced by a spot node, which the gate forbids.
    SpotToSpotDisabled,
    /// Spot to spot needs more flexibility.
    SpotFlexibility {
        /// Cheaper instance types there are.
        have: u32,
        /// Needed.
        need: u32,
    },
    /// The pool's policy or `consolidateAfter: Never` forbids it.
    Policy,
    /// The step budget ran out before it was looked at.
    OutOfSteps,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotACandidate(why) => f.write_str(why),
            Self::Pdb(name) => write!(f, "pdb {name} prevents pod evictions"),
            Self::DoNotDisrupt(name) => {
                write!(
                    f,
                    "disruption is blocked through the \"do-not-disrupt\" annotation on {name}"
                )
            }
            Self::Budget { allowed } => write!(f, "disruption budget allows {allowed} nodes"),
            Self::ConsolidateAfter { remaining } => {
                write!(f, "consolidateAfter ends in {}s", remaining.as_secs())
            }
            Self::Nominated => f.write_str("node is nominated for a pending pod"),
            Self::NoCheaperOffering => f.write_str("can't replace with a cheaper node"),
            Self::PodsWouldNotFit => f.write_str("pods would not fit elsewhere"),
            Self::SpotToSpotDisabled => f.write_str(
                "SpotToSpotConsolidation is disabled, can't replace a spot node with a spot node",
            ),
            Self::SpotFlexibility { have, need } => write!(
                f,
                "SpotToSpotConsolidation requires {need} cheaper instance type options than the \
                 current candidate to consolidate, got {have}"
            ),
            Self::Policy => f.write_str("nodepool's policy forbids consolidation"),
            Self::OutOfSteps => f.write_str("not evaluated in this pass"),
        }
    }
}

/// Options of a disruption decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisruptionPolicy {
    /// Options of each simulated scheduling.
    pub scheduling: SchedulingOptions,
    /// Gate `SpotToSpotConsolidation`.
    pub spot_to_spot: bool,
}

/// Most simulated schedules of one decision: work is bounded by steps, never by wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepBudget {
    /// Simulated schedules.
    pub simulations_max: u32,
}

/// The answer.
#[must_use = "a plan nobody executes or reports is a bug"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Commands that do not touch each other, in order.
    pub commands: Vec<Command>,
    /// Every other managed node and the one reason it stays.
    pub blocked: BTreeMap<NodeName, Blocked>,
}
