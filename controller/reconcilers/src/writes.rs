//! Writes to NodeClaims and Nodes: by name, harmless when repeated, answers into the caches.

use std::sync::Arc;

use controller_api::karpenter::v1::NodeClaim;
use controller_core::mutants::{self, Mutant};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, is_conflict, is_not_found};

/// Whether a patch fails when the object changed since it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// It fails: for lists, which a merge patch replaces whole.
    Version,
    /// It does not: each key is set by itself.
    None,
}

impl Context {
    pub(crate) fn claim_api(&self) -> Api<NodeClaim> {
        Api::all(self.kube.clone())
    }

    pub(crate) fn node_api(&self) -> Api<Node> {
        Api::all(self.kube.clone())
    }

    /// Merge-patches a claim's metadata. `None`: the claim is gone.
    pub(crate) async fn patch_claim(
        &self,
        claim: &NodeClaim,
        patch: Value,
        guard: Guard,
    ) -> Result<Option<Arc<NodeClaim>>, Error> {
        let patch = guarded(patch, claim, guard);
        let name = claim.name_any();
        let result = self
            .claim_api()
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        self.claim_written(&name, result).await
    }

    /// Merge-patches a claim's status; always guarded, because conditions are a list.
    pub(crate) async fn patch_claim_status(
        &self,
        claim: &NodeClaim,
        status: Value,
    ) -> Result<Option<Arc<NodeClaim>>, Error> {
        let patch = guarded(json!({ "status": status }), claim, Guard::Version);
        let name = claim.name_any();
        let result = self
            .claim_api()
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        self.claim_written(&name, result).await
    }

    async fn claim_written(
        &self,
        name: &str,
        result: Result<NodeClaim, kube::Error>,
    ) -> Result<Option<Arc<NodeClaim>>, Error> {
        match result {
            Ok(claim) => {
                self.observe_claim(claim.clone());
                Ok(Some(Arc::new(claim)))
            }
            Err(error) if is_not_found(&error) => {
                self.forget_claim(name);
                Ok(None)
            }
            Err(error) if is_conflict(&error) => {
                self.refresh_claim(name).await?;
                Err(Error::Conflict)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a claim anew.
    pub(crate) async fn refresh_claim(&self, name: &str) -> Result<Option<Arc<NodeClaim>>, Error> {
        match self.claim_api().get(name).await {
            Ok(claim) => {
                self.observe_claim(claim.clone());
                Ok(Some(Arc::new(claim)))
            }
            Err(error) if is_not_found(&error) => {
                self.forget_claim(name);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a claim; its finalizer does the rest. Already gone is fine.
    pub(crate) async fn delete_claim(&self, claim: &NodeClaim) -> Result<(), Error> {
        let name = claim.name_any();
        match self.claim_api().delete(&name, &of_uid(claim.uid())).await {
            Ok(answer) => {
                if let Some(claim) = answer.left() {
                    self.observe_claim(claim);
                }
                Ok(())
            }
            Err(error) if is_not_found(&error) => {
                self.forget_claim(&name);
                Ok(())
            }
            // Another object has the name now: this one is gone.
            Err(error) if is_conflict(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Merge-patches a Node. `None`: the Node is gone.
    pub(crate) async fn patch_node(
        &self,
        node: &Node,
        patch: Value,
        guard: Guard,
    ) -> Result<Option<Arc<Node>>, Error> {
        let patch = guarded(patch, node, guard);
        let name = node.name_any();
        match self
            .node_api()
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(node) => {
                self.observe_node(node.clone());
                Ok(Some(Arc::new(node)))
            }
            Err(error) if is_not_found(&error) => {
                self.forget_node(&name);
                Ok(None)
            }
            Err(error) if is_conflict(&error) => {
                match self.node_api().get(&name).await {
                    Ok(node) => self.observe_node(node),
                    Err(error) if is_not_found(&error) => self.forget_node(&name),
                    Err(error) => return Err(error.into()),
                }
                Err(Error::Conflict)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a Node; its finalizer does the rest. Already gone is fine.
    pub(crate) async fn delete_node(&self, node: &Node) -> Result<(), Error> {
        let name = node.name_any();
        match self.node_api().delete(&name, &of_uid(node.uid())).await {
            Ok(answer) => {
                if let Some(node) = answer.left() {
                    self.observe_node(node);
                }
                Ok(())
            }
            Err(error) if is_not_found(&error) => {
                self.forget_node(&name);
                Ok(())
            }
            Err(error) if is_conflict(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn guarded<K: ResourceExt>(mut patch: Value, object: &K, guard: Guard) -> Value {
    if guard == Guard::Version
        && !mutants::is(Mutant::UnguardedWrites)
        && let Some(version) = object.resource_version()
    {
        patch["metadata"]["resourceVersion"] = Value::String(version);
    }
    patch
}

/// Deletes this very object, not another one of the same name.
pub(crate) fn of_uid(uid: Option<String>) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}

/// A merge patch that takes a finalizer off; for use with [`Guard::Version`].
pub(crate) fn without_finalizer<K: ResourceExt>(object: &K, name: &str) -> Value {
    let rest: Vec<&String> = object
        .finalizers()
        .iter()
        .filter(|finalizer| *finalizer != name)
        .collect();
    json!({ "metadata": { "finalizers": rest } })
}

/// A merge patch that adds a finalizer; for use with [`Guard::Version`].
pub(crate) fn with_finalizer<K: ResourceExt>(object: &K, name: &str) -> Value {
    let mut all = object.finalizers().to_vec();
    all.push(name.to_owned());
    json!({ "metadata": { "finalizers": all } })
}
