//! The end of a claim: its node goes first, then the instance, then the finalizer.
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/nodeclaim/lifecycle/termination.go`.

use std::time::Duration;

use controller_api::conditions::Conditioned;
use controller_api::karpenter::v1::NodeClaim;
use controller_api::labels;
use controller_core::model::{NodeClaimName, ProviderId};
use controller_core::mutants::{self, Mutant};
use controller_ports::ProviderError;
use serde_json::json;

use super::{Draft, claim_name};
use crate::context::{Context, later};
use crate::error::Error;
use crate::events::Note;
use crate::objects::{annotation, claim_provider_id, has_finalizer, is_deleting};
use crate::queue::Next;
use crate::writes::{Guard, without_finalizer};

/// How often a deletion that the cloud has accepted is asked after; upstream's period.
pub(crate) const DELETION_CHECK_PERIOD: Duration = Duration::from_secs(5);

/// A claim that waits for its Node looks again after this long even if no event comes.
const NODE_CHECK_PERIOD: Duration = Duration::from_mins(1);

/// Whether an instance is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstanceState {
    /// Its deletion is under way.
    Terminating,
    /// It does not exist.
    Gone,
}

pub(super) async fn finalize(ctx: &Context, claim: &NodeClaim) -> Result<Next, Error> {
    if !has_finalizer(claim, labels::TERMINATION_FINALIZER) {
        return Ok(Next::OnChange);
    }
    if set_deadline(ctx, claim).await? {
        // The answer is in the cache; the next pass works on it.
        return Ok(Next::After(Duration::ZERO));
    }
    // An unregistered claim never deletes Nodes: whatever Node there is, is not known to be its.
    if claim.is_condition_true("Registered")
        && let Some(id) = claim_provider_id(claim)
    {
        let nodes = ctx.nodes_of(id);
        for node in nodes.iter().filter(|node| !is_deleting(&***node)) {
            ctx.delete_node(node).await?;
        }
        if !nodes.is_empty() {
            return Ok(Next::After(NODE_CHECK_PERIOD));
        }
    }
    if delete_instance(ctx, claim).await? == InstanceState::Terminating {
        mark_terminating(ctx, claim).await?;
        return Ok(Next::After(DELETION_CHECK_PERIOD));
    }
    let patch = without_finalizer(claim, labels::TERMINATION_FINALIZER);
    if let Some(left) = ctx.patch_claim(claim, patch, Guard::Version).await? {
        if left.metadata.finalizers.iter().flatten().next().is_none() {
            // Nothing holds it any more; it may be gone before any watch shows it.
            ctx.forget_claim(claim_name(claim));
            ctx.queues
                .classes
                .add(claim.spec.node_class_ref.name.clone());
        }
        ctx.metrics.claim_terminated(claim, ctx.now());
        let message = format!("Finalized {}", labels::TERMINATION_FINALIZER);
        ctx.events
            .publish(claim, Note::normal("Finalized", message));
        tracing::info!(nodeclaim = claim_name(claim), "deleted nodeclaim");
    }
    Ok(Next::OnChange)
}

/// Writes down when draining stops waiting; `true` when it was written now.
async fn set_deadline(ctx: &Context, claim: &NodeClaim) -> Result<bool, Error> {
    let (Some(grace), Some(deleted), None) = (
        claim.spec.termination_grace_period.as_ref(),
        claim.metadata.deletion_timestamp.as_ref(),
        annotation(claim, labels::TERMINATION_TIMESTAMP)
            .or(mutants::is(Mutant::NoDeadline).then_some("")),
    ) else {
        return Ok(false);
    };
    let deadline = later(deleted.0, grace.value()).to_string();
    let patch = json!({
        "metadata": { "annotations": { labels::TERMINATION_TIMESTAMP: deadline } }
    });
    ctx.patch_claim(claim, patch, Guard::Version).await?;
    let message = format!("All pods will be deleted by {deadline}");
    let note = Note::warning("TerminationGracePeriodExpiring", message).once_per_object();
    ctx.events.publish(claim, note);
    Ok(true)
}

/// Deletes the claim's instance, by name: also one whose creation was never written down.
pub(crate) async fn delete_instance(
    ctx: &Context,
    claim: &NodeClaim,
) -> Result<InstanceState, Error> {
    let name = NodeClaimName::new(claim_name(claim));
    let id = claim_provider_id(claim).map(ProviderId::new);
    match ctx.provider.delete(&name, id.as_ref()).await {
        Ok(()) => Ok(InstanceState::Terminating),
        Err(ProviderError::NotFound) => Ok(InstanceState::Gone),
        Err(error) => Err(error.into()),
    }
}

/// Sets the condition `InstanceTerminating`.
pub(crate) async fn mark_terminating(ctx: &Context, claim: &NodeClaim) -> Result<(), Error> {
    if claim.is_condition_true("InstanceTerminating") {
        return Ok(());
    }
    let mut draft = Draft::new(std::sync::Arc::new(claim.clone()), ctx.now());
    draft.conditions().set_true("InstanceTerminating");
    draft.save(ctx).await?;
    Ok(())
}
