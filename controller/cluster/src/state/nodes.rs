//! Nodes and claims, paired by provider id.

use std::collections::BTreeMap;

use controller_core::model::{NodeClaimName, NodeName, ProviderId};

use crate::convert::{ClaimRecord, NodeRecord};

#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes {
    by_name: BTreeMap<NodeName, NodeRecord>,
    claims: BTreeMap<NodeClaimName, ClaimRecord>,
    node_by_id: BTreeMap<ProviderId, NodeName>,
    claim_by_id: BTreeMap<ProviderId, NodeClaimName>,
}

impl Nodes {
    pub(crate) fn insert_node(&mut self, node: NodeRecord) -> bool {
        if self.by_name.get(&node.name) == Some(&node) {
            return false;
        }
        self.remove_node(&node.name.clone());
        if let Some(id) = &node.provider_id {
            self.node_by_id.insert(id.clone(), node.name.clone());
        }
        self.by_name.insert(node.name.clone(), node);
        true
    }

    pub(crate) fn remove_node(&mut self, name: &NodeName) -> bool {
        let Some(node) = self.by_name.remove(name) else {
            return false;
        };
        if let Some(id) = node.provider_id
            && self.node_by_id.get(&id) == Some(name)
        {
            self.node_by_id.remove(&id);
        }
        true
    }

    pub(crate) fn insert_claim(&mut self, claim: ClaimRecord) -> bool {
        if self.claims.get(&claim.view.name) == Some(&claim) {
            return false;
        }
        self.remove_claim(&claim.view.name.clone());
        if let Some(id) = &claim.provider_id {
            self.claim_by_id.insert(id.clone(), claim.view.name.clone());
        }
        self.claims.insert(claim.view.name.clone(), claim);
        true
    }

    pub(crate) fn remove_claim(&mut self, name: &NodeClaimName) -> bool {
        let Some(claim) = self.claims.remove(name) else {
            return false;
        };
        if let Some(id) = claim.provider_id
            && self.claim_by_id.get(&id) == Some(name)
        {
            self.claim_by_id.remove(&id);
        }
        true
    }

    pub(crate) fn node(&self, name: &NodeName) -> Option<&NodeRecord> {
        self.by_name.get(name)
    }

    pub(crate) fn claim(&self, name: &NodeClaimName) -> Option<&ClaimRecord> {
        self.claims.get(name)
    }

    pub(crate) fn node_with(&self, id: &ProviderId) -> Option<&NodeRecord> {
        self.by_name.get(self.node_by_id.get(id)?)
    }

    pub(crate) fn claim_with(&self, id: &ProviderId) -> Option<&ClaimRecord> {
        self.claims.get(self.claim_by_id.get(id)?)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeRecord> {
        self.by_name.values()
    }

    pub(crate) fn claims(&self) -> impl Iterator<Item = &ClaimRecord> {
        self.claims.values()
    }
}
