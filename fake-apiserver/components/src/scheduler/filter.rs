//! Filters of the default profile, in its order (`pkg/scheduler/framework/plugins`).

use std::borrow::Cow;

use super::cache::NodeInfo;
use super::shape::Shape;
use super::topology::Topology;
use crate::quantity::Amounts;
use crate::toleration::{Taint, tolerates, tolerates_all};

/// Why a node cannot take a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    /// One entry per reason; resources name each one missing.
    pub(super) reasons: Vec<Cow<'static, str>>,
    /// Whether taking other pods away might help.
    pub(super) resolvable: bool,
}

impl Rejection {
    pub(super) fn hopeless(reason: &'static str) -> Self {
        Self {
            reasons: vec![Cow::Borrowed(reason)],
            resolvable: false,
        }
    }

    pub(super) fn resolvable(reason: &'static str) -> Self {
        Self {
            reasons: vec![Cow::Borrowed(reason)],
            resolvable: true,
        }
    }
}

/// Nodes outside the ones `matchFields` names are not even looked at.
pub(super) const NOT_NAMED: &str = "node(s) didn't satisfy plugin(s) [NodeAffinity]";

/// Everything but what other pods decide by their labels.
pub(super) fn check_alone(shape: &Shape, node: &NodeInfo) -> Result<(), Rejection> {
    let cordon = Taint::new("node.kubernetes.io/unschedulable", "", "NoSchedule");
    if node.unschedulable && !tolerates(&shape.tolerations, &cordon) {
        return Err(Rejection::hopeless("node(s) were unschedulable"));
    }
    if !tolerates_all(&shape.tolerations, &node.taints) {
        return Err(Rejection::hopeless("node(s) had untolerated taint(s)"));
    }
    if !shape.affinity.matches(&node.name, &node.labels) {
        return Err(Rejection::hopeless(
            "node(s) didn't match Pod's node affinity/selector",
        ));
    }
    let taken = |port| node.ports.keys().any(|used| used.conflicts(port));
    if shape.ports.iter().any(taken) {
        let reason = "node(s) didn't have free ports for the requested pod ports";
        return Err(Rejection::resolvable(reason));
    }
    check_resources(&shape.requests, node)
}

/// All filters.
pub(super) fn check(
    shape: &Shape,
    node: &NodeInfo,
    topology: Option<&Topology>,
) -> Result<(), Rejection> {
    check_alone(shape, node)?;
    topology.map_or(Ok(()), |topology| topology.check(shape, node))
}

/// `NodeResourcesFit`: each resource that is short is a reason of its own.
fn check_resources(requests: &Amounts, node: &NodeInfo) -> Result<(), Rejection> {
    let (total, used) = (&node.allocatable, &node.requested);
    let of = |amounts: &Amounts, name: &str| amounts.other.get(name).copied().unwrap_or_default();
    let mut reasons = Vec::new();
    let mut resolvable = true;
    let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
    if pods + 1 > of(total, "pods") {
        reasons.push(Cow::Borrowed("Too many pods"));
    }
    let mut demand = |name: &str, asked: i64, used: i64, total: i64| {
        if asked > 0 && asked > total - used {
            reasons.push(Cow::Owned(format!("Insufficient {name}")));
            resolvable &= asked <= total;
        }
    };
    demand("cpu", requests.cpu_milli, used.cpu_milli, total.cpu_milli);
    demand("memory", requests.memory, used.memory, total.memory);
    demand(
        "ephemeral-storage",
        requests.ephemeral,
        used.ephemeral,
        total.ephemeral,
    );
    for (name, asked) in &requests.other {
        demand(name, *asked, of(used, name), of(total, name));
    }
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(Rejection {
            reasons,
            resolvable,
        })
    }
}
