//! Typed copies of the few objects that reconcilers write: NodeClaims, Nodes, NodePools and
//! NodeClasses. Pods live in the mirror only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use controller_api::karpenter::v1::{NodeClaim, NodePool};
use k8s_openapi::api::core::v1::Node;
use kube::core::DynamicObject;
use kube::{Resource, ResourceExt};

/// Objects of one kind by name, never going back in time.
#[derive(Debug)]
pub(crate) struct Cache<K>(BTreeMap<String, Arc<K>>);

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: ResourceExt> Cache<K> {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<K>> {
        self.0.get(name).cloned()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<K>> {
        self.0.values()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Takes an object as the watch delivered it; `false` when a newer one is known.
    pub(crate) fn insert(&mut self, object: Arc<K>) -> bool {
        let name = object.name_any();
        if self
            .0
            .get(&name)
            .is_some_and(|known| is_older(&*object, &**known))
        {
            return false;
        }
        self.0.insert(name, object);
        true
    }

    /// Takes the answer to a write of ours. An object that is not known any more stays unknown:
    /// the watch has already told its end.
    pub(crate) fn update(&mut self, object: Arc<K>) -> bool {
        let known = self.0.get(&object.name_any());
        known.is_some_and(|known| known.uid() == object.uid()) && self.insert(object)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Arc<K>> {
        self.0.remove(name)
    }
}

/// Whether `a` is an earlier version of the same object than `b`. Resource versions of one kind
/// are comparable numbers (KEP-5504); one that is not a number counts as newer.
fn is_older<K: ResourceExt>(a: &K, b: &K) -> bool {
    let version = |object: &K| object.resource_version()?.parse::<u64>().ok();
    a.uid() == b.uid() && matches!((version(a), version(b)), (Some(a), Some(b)) if a < b)
}

/// The typed caches and what is looked up in them.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) claims: Cache<NodeClaim>,
    pub(crate) nodes: Cache<Node>,
    pub(crate) pools: Cache<NodePool>,
    pub(crate) classes: Cache<DynamicObject>,
    claims_by_id: BTreeMap<String, BTreeSet<String>>,
    nodes_by_id: BTreeMap<String, BTreeSet<String>>,
}

impl Objects {
    pub(crate) fn put_claim(&mut self, claim: NodeClaim, known_only: bool) -> bool {
        let claim = Arc::new(claim);
        let name = claim.name_any();
        let old = self.claims.get(&name);
        let taken = if known_only {
            self.claims.update(Arc::clone(&claim))
        } else {
            self.claims.insert(Arc::clone(&claim))
        };
        if taken {
            reindex(
                &mut self.claims_by_id,
                &name,
                old.as_deref().and_then(claim_provider_id),
                claim_provider_id(&claim),
            );
        }
        taken
    }

    pub(crate) fn remove_claim(&mut self, name: &str) -> Option<Arc<NodeClaim>> {
        let old = self.claims.remove(name)?;
        reindex(&mut self.claims_by_id, name, claim_provider_id(&old), None);
        Some(old)
    }

    pub(crate) fn put_node(&mut self, node: Node, known_only: bool) -> bool {
        let node = Arc::new(node);
        let name = node.name_any();
        let old = self.nodes.get(&name);
        let taken = if known_only {
            self.nodes.update(Arc::clone(&node))
        } else {
            self.nodes.insert(Arc::clone(&node))
        };
        if taken {
            reindex(
                &mut self.nodes_by_id,
                &name,
                old.as_deref().and_then(node_provider_id),
                node_provider_id(&node),
            );
        }
        taken
    }

    pub(crate) fn remove_node(&mut self, name: &str) -> Option<Arc<Node>> {
        let old = self.nodes.remove(name)?;
        reindex(&mut self.nodes_by_id, name, node_provider_id(&old), None);
        Some(old)
    }

    /// Nodes with this provider id, by exact comparison as upstream does.
    pub(crate) fn nodes_of(&self, provider_id: &str) -> Vec<Arc<Node>> {
        let names = self.nodes_by_id.get(provider_id).into_iter().flatten();
        names.filter_map(|name| self.nodes.get(name)).collect()
    }

    /// Claims with this provider id.
    pub(crate) fn claims_of(&self, provider_id: &str) -> Vec<Arc<NodeClaim>> {
        let names = self.claims_by_id.get(provider_id).into_iter().flatten();
        names.filter_map(|name| self.claims.get(name)).collect()
    }

    /// The one claim of a node; `None` when there is none, or more than one.
    pub(crate) fn claim_of_node(&self, node: &Node) -> Option<Arc<NodeClaim>> {
        let mut claims = self.claims_of(node_provider_id(node)?);
        if claims.len() == 1 {
            claims.pop()
        } else {
            None
        }
    }
}

fn reindex(
    index: &mut BTreeMap<String, BTreeSet<String>>,
    name: &str,
    old: Option<&str>,
    new: Option<&str>,
) {
    if old == new {
        return;
    }
    if let Some(old) = old
        && let Some(names) = index.get_mut(old)
    {
        names.remove(name);
        if names.is_empty() {
            index.remove(old);
        }
    }
    if let Some(new) = new {
        index
            .entry(new.to_owned())
            .or_default()
            .insert(name.to_owned());
    }
}

/// `status.providerID`, when set.
pub(crate) fn claim_provider_id(claim: &NodeClaim) -> Option<&str> {
    claim
        .status
        .as_ref()?
        .provider_id
        .as_deref()
        .filter(|id| !id.is_empty())
}

/// `spec.providerID`, when set.
pub(crate) fn node_provider_id(node: &Node) -> Option<&str> {
    node.spec
        .as_ref()?
        .provider_id
        .as_deref()
        .filter(|id| !id.is_empty())
}

/// Whether the object's deletion has begun.
pub(crate) fn is_deleting<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// A label's value.
pub(crate) fn label<'a, K: Resource>(object: &'a K, key: &str) -> Option<&'a str> {
    object.meta().labels.as_ref()?.get(key).map(String::as_str)
}

/// An annotation's value.
pub(crate) fn annotation<'a, K: Resource>(object: &'a K, key: &str) -> Option<&'a str> {
    object
        .meta()
        .annotations
        .as_ref()?
        .get(key)
        .map(String::as_str)
}

/// Whether the object has this finalizer.
pub(crate) fn has_finalizer<K: Resource>(object: &K, name: &str) -> bool {
    object
        .meta()
        .finalizers
        .iter()
        .flatten()
        .any(|finalizer| finalizer == name)
}

/// Status of a Node's condition (`True`, `False`, `Unknown`).
pub(crate) fn node_condition<'a>(node: &'a Node, type_: &str) -> Option<&'a str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .map(|c| c.status.as_str())
}

/// Whether the Node's condition `Ready` is true.
pub(crate) fn is_node_ready(node: &Node) -> bool {
    node_condition(node, "Ready") == Some("True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(version: u64, provider_id: &str) -> NodeClaim {
        let mut claim = NodeClaim::default();
        claim.metadata.name = Some("c".to_owned());
        claim.metadata.uid = Some("u".to_owned());
        claim.metadata.resource_version = Some(version.to_string());
        claim.status.get_or_insert_default().provider_id = Some(provider_id.to_owned());
        claim
    }

    #[test]
    fn caches_never_go_back_and_answers_do_not_revive() {
        let mut objects = Objects::default();
        assert!(!objects.put_claim(claim(5, "a"), true), "unknown");
        assert!(objects.put_claim(claim(5, "a"), false));
        assert!(!objects.put_claim(claim(4, "b"), false), "older");
        assert_eq!(objects.claims_of("a").len(), 1);
        assert!(objects.put_claim(claim(10, "b"), true));
        assert_eq!(
            (objects.claims_of("a").len(), objects.claims_of("b").len()),
            (0, 1)
        );
        objects.remove_claim("c");
        assert!(objects.claims_of("b").is_empty());
    }
}
