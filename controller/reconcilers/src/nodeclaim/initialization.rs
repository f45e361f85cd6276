//! Initialization: the node is ready for pods.
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/nodeclaim/lifecycle/initialization.go`.

use std::collections::BTreeMap;

use controller_api::labels;
use controller_cluster::{resources_from_list, to_core_taint};
use controller_core::lifecycle::{NodeFacts, initialization};
use controller_core::model::Taint;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use serde_json::json;

use super::registration::{node_of, node_taints};
use super::{Draft, Outcome};
use crate::context::Context;
use crate::error::Error;
use crate::objects::{is_node_ready, label};
use crate::writes::Guard;

pub(super) async fn initialize(ctx: &Context, draft: &mut Draft, outcome: &mut Outcome) {
    if draft.is_true("Initialized") {
        draft.conditions().set_true("Initialized");
        return;
    }
    if !draft.is_true("Registered") {
        return;
    }
    let node = node_of(ctx, &draft.claim);
    if let Err(error) = decide(draft, node.as_deref()) {
        outcome.fail(error);
        return;
    }
    let Some(node) = node.filter(|_| draft.is_true("Initialized")) else {
        return;
    };
    if label(&*node, labels::INITIALIZED) == Some("true") {
        return;
    }
    let patch = json!({ "metadata": { "labels": { labels::INITIALIZED: "true" } } });
    match ctx.patch_node(&node, patch, Guard::None).await {
        Ok(_) => tracing::info!(
            nodeclaim = draft.name(),
            node = node.name_any(),
            "initialized nodeclaim"
        ),
        Err(error) => {
            // The label comes first: without it the node does not count as initialized.
            draft
                .conditions()
                .set_unknown_with("Initialized", "NodeNotReady", "label is not set");
            outcome.fail(error);
        }
    }
}

fn decide(draft: &mut Draft, node: Option<&Node>) -> Result<(), Error> {
    let spec = &draft.claim.spec;
    let startup: Vec<Taint> = spec
        .startup_taints
        .iter()
        .filter_map(to_core_taint)
        .collect();
    let none = BTreeMap::new();
    let requests = spec
        .resources
        .as_ref()
        .map_or(&none, |resources| &resources.requests);
    let requests = resources_from_list(requests).map_err(Error::Invalid)?;
    let taints = node.map(node_taints).unwrap_or_default();
    let allocatable = node
        .and_then(|node| node.status.as_ref()?.allocatable.as_ref())
        .map_or_else(|| Ok(<_>::default()), resources_from_list)
        .map_err(Error::Invalid)?;
    let facts = node.map(|node| NodeFacts {
        ready: is_node_ready(node),
        taints: &taints,
        allocatable: &allocatable,
    });
    match initialization(&startup, &requests, facts) {
        Ok(()) => draft.conditions().set_true("Initialized"),
        Err(reason) => {
            let (text, message) = (reason.reason(), reason.to_string());
            draft
                .conditions()
                .set_unknown_with("Initialized", text, &message)
        }
    };
    Ok(())
}
