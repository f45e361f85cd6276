//! Starting a command: mark the candidates, create the replacements, then hold the candidates as
//! deleted. In this order: a candidate held before its replacement exists would have its pods
//! provisioned for twice.

use std::sync::Arc;

use controller_core::disruption::Command;
use controller_core::model::{NodeClaimName, NodeName};
use kube::ResourceExt;
use serde_json::json;

use super::commands::Running;
use crate::context::{Context, later};
use crate::error::{Error, chain};
use crate::executor::create_claims;
use crate::metrics::reason_label;
use crate::node::{has_disrupted_taint, with_disrupted};
use crate::nodeclaim::Draft;
use crate::objects::is_deleting;
use crate::writes::Guard;

/// Starts a command; `false` when it was dropped. Marks of a dropped command are taken off by
/// the next pass.
pub(super) async fn start(ctx: &Context, mut command: Command) -> Result<bool, Error> {
    let reason = command.reason.as_str();
    let mut marked = Vec::new();
    for (claim, node) in &command.candidates {
        match mark(ctx, claim, node, reason).await {
            Ok(true) => marked.push((claim.clone(), node.clone())),
            Ok(false) => {}
            Err(error) => tracing::warn!(
                nodeclaim = %claim, error = %chain(&error), "candidate could not be marked"
            ),
        }
    }
    let is_whole = marked.len() == command.candidates.len();
    if marked.is_empty() || (!is_whole && !command.replacements.is_empty()) {
        return Ok(false);
    }
    command.candidates = marked;
    let Some(replacements) = create_replacements(ctx, &command).await else {
        return Ok(false);
    };
    tracing::info!(
        command = %describe(&command), reason, savings = %command.savings, "disrupting node(s)"
    );
    for (claim, _) in &command.candidates {
        ctx.cluster().mark_deleting(claim, true);
    }
    ctx.metrics.disruption_decided(&command);
    let started = ctx.clock.monotonic();
    ctx.commands()
        .push(Running::new(command, replacements, started));
    ctx.wakes.commands.notify_one();
    Ok(true)
}

/// Marks one candidate; `false` when it is gone or going.
async fn mark(
    ctx: &Context,
    claim: &NodeClaimName,
    node: &NodeName,
    reason: &str,
) -> Result<bool, Error> {
    let (Some(node), Some(claim)) = (ctx.node(node.as_str()), ctx.claim(claim.as_str())) else {
        return Ok(false);
    };
    if is_deleting(&*node) || is_deleting(&*claim) {
        return Ok(false);
    }
    if !has_disrupted_taint(&node) {
        let taints = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default();
        let patch = json!({ "spec": { "taints": with_disrupted(taints) } });
        if ctx
            .patch_node(&node, patch, Guard::Version)
            .await?
            .is_none()
        {
            return Ok(false);
        }
    }
    for _ in 0..3 {
        let Some(claim) = ctx.claim(&claim.name_any()) else {
            return Ok(false);
        };
        let mut draft = Draft::new(Arc::clone(&claim), ctx.now());
        draft
            .conditions()
            .set_true_with("DisruptionReason", reason, reason);
        match draft.save(ctx).await {
            Ok(saved) => return Ok(saved.is_some()),
            // Refreshed meanwhile.
            Err(Error::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Conflict)
}

/// Creates the replacements; `None` when one could not be created. Those that were stay: the
/// scheduler uses them, or they are consolidated as empty.
async fn create_replacements(ctx: &Context, command: &Command) -> Option<Vec<NodeClaimName>> {
    if command.replacements.is_empty() {
        return Some(Vec::new());
    }
    let _decision = ctx.decision.lock().await;
    let reason = reason_label(command.reason);
    let results = create_claims(ctx, &command.replacements, reason).await;
    let until = later(ctx.now(), ctx.options.nomination());
    let mut names = Vec::new();
    for result in results {
        match result {
            Ok(claim) => {
                let name = claim.name_any();
                ctx.cluster().nominate(&NodeName::new(&*name), until);
                names.push(NodeClaimName::new(name));
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "replacement could not be created");
                return None;
            }
        }
    }
    Some(names)
}

/// `delete: [n1]` or `replace: [n1] -> [1 replacement]`, as upstream's events have it.
pub(super) fn describe(command: &Command) -> String {
    let nodes: Vec<&str> = command
        .candidates
        .iter()
        .map(|(_, node)| node.as_str())
        .collect();
    let nodes = nodes.join(", ");
    match command.replacements.len() {
        0 => format!("delete: [{nodes}]"),
        1 => format!("replace: [{nodes}] -> [1 replacement]"),
        n => format!("replace: [{nodes}] -> [{n} replacements]"),
    }
}
