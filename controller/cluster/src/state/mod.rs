//! The mirror: one entry per object, with the indices that decisions and reconcilers ask for.

mod nodes;
mod pods;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use controller_core::model::{
    NodeClaimName, NodeName, NodePool, NodePoolName, Pod, PodDisruptionBudget, PodKey, PodShape,
    ProviderId,
};
use jiff::Timestamp;

pub use crate::convert::{ClaimRecord, NodeRecord};
use crate::convert::{Invalid, claim_record, daemon_shape, label_selector, node_record, pool};
use crate::object::{Kind, Object};
use nodes::Nodes;
use pods::Pods;

/// Namespace and name.
pub(crate) type ObjectKey = (Arc<str>, Arc<str>);

/// A claim that was created by us and that the watch has not shown yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedClaim {
    /// Its name.
    pub name: NodeClaimName,
    /// Its pool.
    pub pool: NodePoolName,
    /// When it was created.
    pub created: Timestamp,
}

/// What the watches have shown, plus our own marks on it.
#[derive(Clone, Debug, Default)]
pub struct ClusterState {
    pub(crate) pods: Pods,
    pub(crate) nodes: Nodes,
    pub(crate) pools: BTreeMap<NodePoolName, NodePool>,
    pub(crate) daemons: BTreeMap<ObjectKey, Arc<PodShape>>,
    pub(crate) budgets: BTreeMap<ObjectKey, PodDisruptionBudget>,
    pub(crate) namespaces: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<str>>>,
    /// Nodes reserved for pods that were just placed on them, and until when.
    pub(crate) nominated: BTreeMap<NodeName, Timestamp>,
    /// Claims that a disruption command is about to delete.
    pub(crate) marked: BTreeSet<NodeClaimName>,
    expected: BTreeMap<NodeClaimName, ExpectedClaim>,
    changes: u64,
}

impl ClusterState {
    /// Takes over an object as it is now.
    ///
    /// # Errors
    ///
    /// When a field cannot be read; what was known of the object before is then forgotten, so
    /// that no decision rests on a state that no longer holds.
    pub fn apply(&mut self, object: &Object<'_>) -> Result<(), Invalid> {
        let result = self.insert(object);
        if result.is_err() {
            let (namespace, name) = object.key();
            self.delete(object.kind(), namespace, name);
        }
        result
    }

    fn insert(&mut self, object: &Object<'_>) -> Result<(), Invalid> {
        let key = || {
            let (namespace, name) = object.key();
            (Arc::from(namespace), Arc::from(name))
        };
        let changed = match object {
            Object::Pod(pod) => self.pods.insert(crate::convert::pod_record(pod)?),
            Object::Node(node) => self.nodes.insert_node(node_record(node)?),
            Object::NodeClaim(claim) => {
                let record = claim_record(claim)?;
                self.expected.remove(&record.view.name);
                self.nodes.insert_claim(record)
            }
            Object::NodePool(object) => {
                let pool = pool(object)?;
                replace(&mut self.pools, pool.name.clone(), pool)
            }
            Object::DaemonSet(daemon) => replace(&mut self.daemons, key(), daemon_shape(daemon)?),
            Object::PodDisruptionBudget(budget) => {
                let spec = budget.spec.as_ref();
                let view = PodDisruptionBudget {
                    namespace: key().0,
                    name: key().1,
                    selector: spec
                        .and_then(|spec| spec.selector.as_ref())
                        .and_then(label_selector),
                    disruptions_allowed: budget
                        .status
                        .as_ref()
                        .and_then(|status| status.disruptions_allowed)
                        .unwrap_or(0),
                    always_allow_unhealthy: spec
                        .and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref())
                        == Some("AlwaysAllow"),
                };
                replace(&mut self.budgets, key(), view)
            }
            Object::Namespace(namespace) => {
                let labels = namespace
                    .metadata
                    .labels
                    .iter()
                    .flatten()
                    .map(|(key, value)| (Arc::from(&**key), Arc::from(&**value)))
                    .collect();
                replace(&mut self.namespaces, key().1, labels)
            }
        };
        self.changes += u64::from(changed);
        Ok(())
    }

    /// Forgets an object.
    pub fn delete(&mut self, kind: Kind, namespace: &str, name: &str) {
        let key = || (Arc::from(namespace), Arc::from(name));
        let changed = match kind {
            Kind::Pod => {
                let (namespace, name) = key();
                self.pods.remove(&PodKey { namespace, name })
            }
            Kind::Node => {
                let name = NodeName::new(name);
                self.nominated.remove(&name);
                self.nodes.remove_node(&name)
            }
            Kind::NodeClaim => {
                let name = NodeClaimName::new(name);
                self.marked.remove(&name);
                self.expected.remove(&name);
                self.nodes.remove_claim(&name)
            }
            Kind::NodePool => self.pools.remove(&NodePoolName::new(name)).is_some(),
            Kind::DaemonSet => self.daemons.remove(&key()).is_some(),
            Kind::PodDisruptionBudget => self.budgets.remove(&key()).is_some(),
            Kind::Namespace => self.namespaces.remove(name).is_some(),
        };
        self.changes += u64::from(changed);
    }

    /// Replaces everything known of a kind by a full list; answers what could not be read.
    pub fn reset(&mut self, kind: Kind, objects: &[Object<'_>]) -> Vec<Invalid> {
        let listed: BTreeSet<ObjectKey> = objects
            .iter()
            .map(Object::key)
            .map(|(namespace, name)| (Arc::from(namespace), Arc::from(name)))
            .collect();
        for (namespace, name) in self.keys(kind) {
            if !listed.contains(&(Arc::clone(&namespace), Arc::clone(&name))) {
                self.delete(kind, &namespace, &name);
            }
        }
        objects
            .iter()
            .filter_map(|object| self.apply(object).err())
            .collect()
    }

    fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        let cluster_scoped = |name: Arc<str>| (Arc::from(""), name);
        match kind {
            Kind::Pod => self
                .pods
                .iter()
                .map(|record| {
                    let key = &record.pod.key;
                    (Arc::clone(&key.namespace), Arc::clone(&key.name))
                })
                .collect(),
            Kind::Node => self
                .nodes
                .nodes()
                .map(|node| cluster_scoped(node.name.shared()))
                .collect(),
            Kind::NodeClaim => self
                .nodes
                .claims()
                .map(|claim| cluster_scoped(claim.view.name.shared()))
                .collect(),
            Kind::NodePool => self
                .pools
                .keys()
                .map(|name| cluster_scoped(name.shared()))
                .collect(),
            Kind::DaemonSet => self.daemons.keys().cloned().collect(),
            Kind::PodDisruptionBudget => self.budgets.keys().cloned().collect(),
            Kind::Namespace => self
                .namespaces
                .keys()
                .cloned()
                .map(cluster_scoped)
                .collect(),
        }
    }

    /// Reserves a node for pods that were just placed on it.
    pub fn nominate(&mut self, node: &NodeName, until: Timestamp) {
        let slot = self.nominated.entry(node.clone()).or_insert(until);
        *slot = (*slot).max(until);
    }

    /// Marks a claim that a disruption command is about to delete, or takes the mark back.
    pub fn mark_deleting(&mut self, claim: &NodeClaimName, deleting: bool) {
        let changed = if deleting {
            self.marked.insert(claim.clone())
        } else {
            self.marked.remove(claim)
        };
        self.changes += u64::from(changed);
    }

    /// Remembers a claim that we created until the watch shows it.
    pub fn expect_claim(&mut self, claim: ExpectedClaim) {
        if self.nodes.claim(&claim.name).is_none() {
            self.expected.insert(claim.name.clone(), claim);
        }
    }

    /// Forgets expected claims older than `before`: the watch will never show them (they were
    /// deleted between two of its connections).
    pub fn forget_expected(&mut self, before: Timestamp) {
        self.expected.retain(|_, claim| claim.created >= before);
    }

    /// Claims without an instance yet, known or expected. While there are any, capacity in
    /// flight is unknown and nothing new should be provisioned.
    pub fn unlaunched(&self) -> Vec<NodeClaimName> {
        let known = self
            .nodes
            .claims()
            .filter(|claim| claim.provider_id.is_none() && !claim.view.deleting)
            .map(|claim| claim.view.name.clone());
        let mut names: Vec<_> = known.chain(self.expected.keys().cloned()).collect();
        names.sort();
        names
    }

    /// Rises with every change that a decision could see; nominations do not count.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The pods that hold resources on a node or are still to be removed from it, by key.
    pub fn pods_on(&self, node: &NodeName) -> Vec<Pod> {
        self.pods.on(node).cloned().collect()
    }

    /// One pod.
    pub fn pod(&self, key: &PodKey) -> Option<&Pod> {
        self.pods.get(key)
    }

    /// The pods that wait for capacity, oldest first.
    pub fn pending(&self) -> Vec<Pod> {
        self.pods.pending()
    }

    /// A node.
    pub fn node(&self, name: &NodeName) -> Option<&NodeRecord> {
        self.nodes.node(name)
    }

    /// A claim.
    pub fn claim(&self, name: &NodeClaimName) -> Option<&ClaimRecord> {
        self.nodes.claim(name)
    }

    /// All nodes by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.nodes()
    }

    /// All claims by name.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimRecord> {
        self.nodes.claims()
    }

    /// A pool.
    pub fn pool(&self, name: &NodePoolName) -> Option<&NodePool> {
        self.pools.get(name)
    }

    /// All pools by name.
    pub fn pools(&self) -> impl Iterator<Item = &NodePool> {
        self.pools.values()
    }

    /// The node of a claim, by provider id.
    pub fn node_of_claim(&self, claim: &NodeClaimName) -> Option<&NodeRecord> {
        let provider_id = self.claim(claim)?.provider_id.as_ref()?;
        self.nodes.node_with(provider_id)
    }

    /// The claim of a node, by provider id.
    pub fn claim_of_node(&self, node: &NodeName) -> Option<&ClaimRecord> {
        let provider_id = self.node(node)?.provider_id.as_ref()?;
        self.nodes.claim_with(provider_id)
    }

    /// The claim with this provider id.
    pub fn claim_with(&self, provider_id: &ProviderId) -> Option<&ClaimRecord> {
        self.nodes.claim_with(provider_id)
    }

    /// The node with this provider id.
    pub fn node_with(&self, provider_id: &ProviderId) -> Option<&NodeRecord> {
        self.nodes.node_with(provider_id)
    }

    /// Disruption budgets of pods by namespace and name.
    pub fn budgets(&self) -> impl Iterator<Item = &PodDisruptionBudget> {
        self.budgets.values()
    }
}

/// Inserts and tells whether anything changed.
pub(crate) fn replace<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    match map.get(&key) {
        Some(known) if *known == value => false,
        _ => {
            map.insert(key, value);
            true
        }
    }
}

#[cfg(test)]
mod tests;
