//! The end of a Node: taint, drain, wait for volumes, delete the instance, take the finalizer off.
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/node/termination/controller.go`.

use std::sync::Arc;
use std::time::Duration;

use controller_api::conditions::Conditioned;
use controller_api::karpenter::v1::NodeClaim;
use controller_api::labels;
use controller_core::model::ProviderId;
use controller_core::mutants::{self, Mutant};
use controller_ports::ProviderError;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::ResourceExt;
use serde_json::json;

use super::{check_conditions, drain, health, volumes};
use crate::context::Context;
use crate::error::Error;
use crate::events::Note;
use crate::nodeclaim::{
    DELETION_CHECK_PERIOD, Draft, InstanceState, delete_instance, mark_terminating,
};
use crate::objects::{
    annotation, has_finalizer, is_deleting, is_node_ready, label, node_provider_id,
};
use crate::queue::Next;
use crate::writes::{Guard, without_finalizer};

/// A drain lasts at least this long: pods bound just before the taint was seen show up in it.
const DRAIN_MIN: SignedDuration = SignedDuration::from_secs(5);
/// How often to look again while nothing but time has to pass.
const POLL: Duration = Duration::from_secs(1);
/// Value of the label that takes a node out of load balancers.
const EXCLUDED_BY: &str = "karpenter";

/// Brings a deleted Node closer to its end; heeds what a living one announces.
pub(crate) async fn reconcile(ctx: &Context, name: &str) -> Result<Next, Error> {
    let Some(node) = ctx.node(name) else {
        return Ok(Next::OnChange);
    };
    if label(&*node, &ctx.class_label()).is_none() {
        return Ok(Next::OnChange);
    }
    if !is_deleting(&*node) {
        check_conditions(ctx, &node).await?;
        return health::repair(ctx, &node).await;
    }
    if !has_finalizer(&*node, labels::TERMINATION_FINALIZER) {
        return Ok(Next::OnChange);
    }
    let claim = ctx.claim_of_node(&node);
    if let Some(claim) = claim.as_ref().filter(|claim| !is_deleting(&***claim)) {
        // `kubectl delete node`: the claim goes with its node.
        ctx.delete_claim(claim).await?;
    }
    if !is_node_ready(&node) && is_instance_gone(ctx, &node).await? {
        return release(ctx, &node).await;
    }
    let deadline = deadline(ctx, &node, claim.as_deref())?;
    let Some(node) = ensure_tainted(ctx, node).await? else {
        return Ok(Next::OnChange);
    };
    let claim = claim.map(|claim| ctx.claim(&claim.name_any()).unwrap_or(claim));
    if let Some(next) = drain_step(ctx, &node, claim.as_deref(), deadline).await? {
        return Ok(next);
    }
    let claim = claim.map(|claim| ctx.claim(&claim.name_any()).unwrap_or(claim));
    if let Some(next) = volume_step(ctx, &node, claim.as_deref(), deadline).await? {
        return Ok(next);
    }
    let claim = claim.map(|claim| ctx.claim(&claim.name_any()).unwrap_or(claim));
    if let Some(claim) = claim
        && delete_instance(ctx, &claim).await? == InstanceState::Terminating
    {
        mark_terminating(ctx, &claim).await?;
        return Ok(Next::After(DELETION_CHECK_PERIOD));
    }
    release(ctx, &node).await
}

/// A node that is not ready and whose instance does not exist cannot be drained.
async fn is_instance_gone(ctx: &Context, node: &Node) -> Result<bool, Error> {
    let Some(id) = node_provider_id(node) else {
        return Ok(false);
    };
    match ctx.provider.get(&ProviderId::new(id)).await {
        Ok(_) => Ok(false),
        Err(ProviderError::NotFound) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

async fn release(ctx: &Context, node: &Node) -> Result<Next, Error> {
    let patch = without_finalizer(node, labels::TERMINATION_FINALIZER);
    if ctx.patch_node(node, patch, Guard::Version).await?.is_some() {
        ctx.metrics.node_terminated(node, ctx.now());
        let message = format!("Finalized {}", labels::TERMINATION_FINALIZER);
        ctx.events.publish(node, Note::normal("Finalized", message));
        tracing::info!(node = node.name_any(), "deleted node");
    }
    if !mutants::is(Mutant::EvictionsRemembered) {
        ctx.evictions().forget_node(&node.name_any());
    }
    Ok(Next::OnChange)
}

fn deadline(
    ctx: &Context,
    node: &Node,
    claim: Option<&NodeClaim>,
) -> Result<Option<Timestamp>, Error> {
    let Some(text) = claim.and_then(|claim| annotation(claim, labels::TERMINATION_TIMESTAMP))
    else {
        return Ok(None);
    };
    let time: Timestamp = text.parse().map_err(|error| {
        Error::Invalid(format!(
            "annotation {}: {error}",
            labels::TERMINATION_TIMESTAMP
        ))
    })?;
    let message = format!("All pods will be deleted by {text}");
    let note = Note::warning("TerminationGracePeriodExpiring", message).once_per_object();
    ctx.events.publish(node, note);
    Ok(Some(time))
}

/// Keeps new pods and load balancers away. `None`: the Node is gone.
async fn ensure_tainted(ctx: &Context, node: Arc<Node>) -> Result<Option<Arc<Node>>, Error> {
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let is_excluded = label(&*node, labels::EXCLUDE_BALANCERS) == Some(EXCLUDED_BY);
    if is_excluded && has_disrupted_taint(&node) || mutants::is(Mutant::UntaintedDrain) {
        return Ok(Some(node));
    }
    let patch = json!({
        "metadata": { "labels": { labels::EXCLUDE_BALANCERS: EXCLUDED_BY } },
        "spec": { "taints": with_disrupted(taints) },
    });
    ctx.patch_node(&node, patch, Guard::Version).await
}

/// Whether the node carries the taint of a disrupted node.
pub(crate) fn has_disrupted_taint(node: &Node) -> bool {
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    taints
        .iter()
        .any(|t| t.key == labels::DISRUPTED_TAINT && t.effect == "NoSchedule")
}

/// The taints with that of a disrupted node; one with another effect is replaced.
pub(crate) fn with_disrupted(taints: Vec<Taint>) -> Vec<Taint> {
    let mut taints = without_disrupted(taints);
    taints.push(Taint {
        key: labels::DISRUPTED_TAINT.to_owned(),
        value: None,
        effect: "NoSchedule".to_owned(),
        time_added: None,
    });
    taints
}

/// The taints without that of a disrupted node.
pub(crate) fn without_disrupted(mut taints: Vec<Taint>) -> Vec<Taint> {
    taints.retain(|taint| taint.key != labels::DISRUPTED_TAINT);
    taints
}

/// Drains; `None` when that is done.
async fn drain_step(
    ctx: &Context,
    node: &Node,
    claim: Option<&NodeClaim>,
    deadline: Option<Timestamp>,
) -> Result<Option<Next>, Error> {
    if claim.is_some_and(|claim| claim.is_condition_true("Drained")) {
        return Ok(None);
    }
    let Some(claim) = claim else {
        return drain::drain(ctx, node, deadline).await;
    };
    let mut draft = Draft::new(Arc::new(claim.clone()), ctx.now());
    if claim.condition("Drained").is_none() {
        draft
            .conditions()
            .set_unknown_with("Drained", "Draining", "");
        draft.save(ctx).await?;
        let next = drain::drain(ctx, node, deadline).await?;
        return Ok(Some(next.unwrap_or(Next::After(POLL))));
    }
    if let Some(next) = drain::drain(ctx, node, deadline).await?
        && !mutants::is(Mutant::DrainedAtOnce)
    {
        return Ok(Some(next));
    }
    let since = ctx.now().duration_since(draft.changed_at("Drained"));
    if since < DRAIN_MIN {
        return Ok(Some(Next::After(POLL)));
    }
    draft.conditions().set_true("Drained");
    draft.save(ctx).await?;
    ctx.metrics.node_drained(node);
    Ok(None)
}

/// Waits for volumes to be detached; `None` when that is done.
async fn volume_step(
    ctx: &Context,
    node: &Node,
    claim: Option<&NodeClaim>,
    deadline: Option<Timestamp>,
) -> Result<Option<Next>, Error> {
    let is_decided = |claim: &NodeClaim| {
        claim
            .condition("VolumesDetached")
            .is_some_and(|c| c.status != "Unknown")
    };
    if claim.is_some_and(is_decided) {
        return Ok(None);
    }
    let attached = volumes::attached(ctx, node).await?;
    let mut draft = claim.map(|claim| Draft::new(Arc::new(claim.clone()), ctx.now()));
    let is_late = deadline.is_some_and(|deadline| ctx.now() > deadline);
    if let Some(draft) = &mut draft {
        let mut conditions = draft.conditions();
        match (attached.is_empty(), is_late) {
            (true, _) => conditions.set_true("VolumesDetached"),
            (false, true) => {
                conditions.set_false("VolumesDetached", "TerminationGracePeriodElapsed", "")
            }
            (false, false) => {
                conditions.set_unknown_with("VolumesDetached", "AwaitingVolumeDetachment", "")
            }
        };
    }
    if let Some(draft) = draft {
        draft.save(ctx).await?;
    }
    if attached.is_empty() || is_late {
        return Ok(None);
    }
    let names: Vec<&str> = attached.iter().take(5).map(String::as_str).collect();
    let message = format!(
        "Awaiting deletion of bound volumeattachments ({})",
        names.join(", ")
    );
    ctx.events.publish(
        node,
        Note::normal("AwaitingVolumeDetachment", message).once_per_object(),
    );
    Ok(Some(Next::After(POLL)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_taint_replaces_one_of_another_effect() {
        let other = Taint {
            key: labels::DISRUPTED_TAINT.to_owned(),
            value: Some("x".to_owned()),
            effect: "NoExecute".to_owned(),
            time_added: None,
        };
        let keep = Taint {
            key: "gpu".to_owned(),
            ..other.clone()
        };
        let taints = with_disrupted(vec![other, keep.clone()]);
        assert_eq!(taints.len(), 2);
        assert_eq!(
            (taints[1].effect.as_str(), &taints[1].value),
            ("NoSchedule", &None)
        );
        assert_eq!(without_disrupted(taints), [keep]);
    }
}
