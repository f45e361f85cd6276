//! From the mirror to the input of one decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_api::labels;
use controller_core::model::{
    CapacityType, InstanceType, InstanceTypeName, Node, NodeClassName, NodeName, PoolCatalog,
    Snapshot, Taint, Zone,
};
use controller_core::quantity::Resources;
use controller_core::taints;

use crate::convert::{ClaimRecord, NodeRecord};
use crate::state::ClusterState;

type Labels = BTreeMap<Arc<str>, Arc<str>>;

impl ClusterState {
    /// Everything a decision may look at, at this moment.
    ///
    /// `catalogs` holds the instance types of each NodeClass that is ready; a pool whose class is
    /// missing from it cannot launch anything.
    pub fn snapshot(&self, catalogs: &BTreeMap<NodeClassName, Arc<Vec<InstanceType>>>) -> Snapshot {
        let nothing = Arc::new(Vec::new());
        Snapshot {
            pools: self
                .pools
                .values()
                .map(|pool| {
                    let instance_types = catalogs.get(&pool.node_class).unwrap_or(&nothing);
                    let catalog = PoolCatalog {
                        pool: pool.clone(),
                        instance_types: Arc::clone(instance_types),
                    };
                    (pool.name.clone(), catalog)
                })
                .collect(),
            nodes: self.node_views(),
            pending: self.pending(),
            daemons: self.daemons.values().cloned().collect(),
            budgets: self.budgets.values().cloned().collect(),
            namespaces: self.namespaces.clone(),
        }
    }

    /// Every Node, and every launched claim without one, by name.
    fn node_views(&self) -> Vec<Node> {
        let with_node = self.nodes().map(|node| {
            let claim = node.provider_id.as_ref().and_then(|id| self.claim_with(id));
            self.view(Some(node), claim)
        });
        let in_flight = self
            .claims()
            .filter(|claim| {
                claim
                    .provider_id
                    .as_ref()
                    .is_some_and(|id| self.node_with(id).is_none())
            })
            .map(|claim| self.view(None, Some(claim)));
        let mut nodes: Vec<_> = with_node.chain(in_flight).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes
    }

    /// The effective view of a Node, a claim, or both (`sigs.k8s.io/karpenter`
    /// `pkg/controllers/state/statenode.go`).
    fn view(&self, node: Option<&NodeRecord>, claim: Option<&ClaimRecord>) -> Node {
        let stage = Stage::of(node, claim);
        let name = match (node, claim) {
            (Some(node), _) => node.name.clone(),
            (None, Some(claim)) => NodeName::new(claim.view.name.shared()),
            (None, None) => unreachable!("a view has a node or a claim"),
        };
        let node_labels = match (stage, node, claim) {
            (Stage::Unregistered, _, Some(claim)) | (_, None, Some(claim)) => claim.labels.clone(),
            (_, Some(node), _) => node.labels.clone(),
            (_, None, None) => Labels::new(),
        };
        let deleting = match claim {
            Some(claim) => {
                claim.view.deleting
                    || claim.instance_terminating
                    || self.marked.contains(&claim.view.name)
            }
            None => node.is_some_and(|node| node.deletion.is_some()),
        };
        Node {
            provider_id: claim
                .and_then(|claim| claim.provider_id.clone())
                .or_else(|| node.and_then(|node| node.provider_id.clone())),
            claim: claim.map(|claim| claim.view.clone()),
            taints: effective_taints(node, claim, stage),
            capacity: filled(node, claim, |node| &node.capacity, |claim| &claim.capacity),
            allocatable: filled(
                node,
                claim,
                |node| &node.allocatable,
                |claim| &claim.allocatable,
            ),
            pods: self
                .pods
                .on(&name)
                .filter(|pod| !pod.terminal)
                .cloned()
                .collect(),
            has_node: node.is_some(),
            ready: node.is_some_and(|node| node.ready),
            deleting,
            nominated_until: self.nominated.get(&name).copied(),
            do_not_disrupt: node.is_some_and(|node| node.do_not_disrupt),
            cordoned: node.is_some_and(|node| node.cordoned),
            instance_type: label(&node_labels, labels::INSTANCE_TYPE).map(InstanceTypeName::new),
            zone: label(&node_labels, labels::ZONE).map(Zone::new),
            capacity_type: label(&node_labels, labels::CAPACITY_TYPE).and_then(
                |value| match &*value {
                    "reserved" => Some(CapacityType::Reserved),
                    "spot" => Some(CapacityType::Spot),
                    "on-demand" => Some(CapacityType::OnDemand),
                    _ => None,
                },
            ),
            labels: node_labels,
            name,
        }
    }
}

/// How far a node has come; it speaks for itself only at the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unregistered,
    Registered,
    Initialized,
}

impl Stage {
    /// A node without a claim has no stages to go through.
    fn of(node: Option<&NodeRecord>, claim: Option<&ClaimRecord>) -> Self {
        let flag = |label| claim.is_none() || node.is_some_and(|node| node.has_flag(label));
        if flag(labels::INITIALIZED) && flag(labels::REGISTERED) {
            Self::Initialized
        } else if flag(labels::REGISTERED) {
            Self::Registered
        } else {
            Self::Unregistered
        }
    }
}

fn label(labels: &Labels, key: &str) -> Option<Arc<str>> {
    labels.get(key).cloned()
}

/// Until a node is initialized, taints that go away by themselves do not count.
fn effective_taints(
    node: Option<&NodeRecord>,
    claim: Option<&ClaimRecord>,
    stage: Stage,
) -> Vec<Taint> {
    match (node, claim) {
        (_, Some(claim)) if stage == Stage::Unregistered => claim.taints.clone(),
        (Some(node), Some(claim)) if stage == Stage::Registered => node
            .taints
            .iter()
            .filter(|taint| {
                let startup = &claim.view.startup_taints;
                !taints::is_ephemeral(taint)
                    && !startup
                        .iter()
                        .any(|startup| taints::matches(startup, taint))
            })
            .cloned()
            .collect(),
        (Some(node), _) => node.taints.clone(),
        (None, Some(claim)) => claim.taints.clone(),
        (None, None) => Vec::new(),
    }
}

/// The node's amounts; those missing or zero there come from the claim, which promised them.
fn filled(
    node: Option<&NodeRecord>,
    claim: Option<&ClaimRecord>,
    of_node: impl Fn(&NodeRecord) -> &Resources,
    of_claim: impl Fn(&ClaimRecord) -> &Resources,
) -> Resources {
    match (node, claim) {
        (Some(node), Some(claim)) if !node.has_flag(labels::INITIALIZED) => {
            let mut resources = of_node(node).clone();
            for (name, amount) in of_claim(claim).iter() {
                if resources.get(name) == 0 {
                    resources.set(name, amount);
                }
            }
            resources
        }
        (Some(node), _) => of_node(node).clone(),
        (None, Some(claim)) => of_claim(claim).clone(),
        (None, None) => Resources::default(),
    }
}
