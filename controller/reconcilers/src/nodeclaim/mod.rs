//! NodeClaims: launch, registration, initialization, marks for disruption, end.
//!
//! One reconcile runs every step over a draft of the claim and writes the differences once, so
//! the steps never race each other for the list of conditions.

mod draft;
mod garbagecollection;
mod initialization;
mod launch;
mod liveness;
mod marks;
mod registration;
mod termination;

use std::sync::Arc;

use controller_api::conditions::Conditioned;
use controller_api::karpenter::v1::NodeClaim;
use controller_api::labels;

pub(crate) use self::draft::{Draft, claim_name};
pub(crate) use self::garbagecollection::collect_garbage;
pub(crate) use self::marks::DriftMemo;
pub(crate) use self::termination::{
    DELETION_CHECK_PERIOD, InstanceState, delete_instance, mark_terminating,
};
use crate::context::Context;
use crate::error::Error;
use crate::metrics::Disrupted;
use crate::nodepool;
use crate::objects::{has_finalizer, is_deleting};
use crate::queue::Next;
use crate::writes::{Guard, with_finalizer};

/// What the steps of one reconcile add up to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// When to look again.
    next: Next,
    /// The first failure; the other steps have run all the same.
    error: Option<Error>,
    /// Delete the claim, for this reason (of the metric `nodeclaims_disrupted_total`).
    delete: Option<&'static str>,
    /// The node did not and will not join: what its pool is to know.
    failed: Option<Failed>,
}

/// Why a node does not join.
#[derive(Debug)]
pub(crate) struct Failed {
    /// One word: the condition's reason.
    cause: String,
    /// For people.
    detail: String,
}

impl Outcome {
    fn new() -> Self {
        Self {
            next: Next::OnChange,
            error: None,
            delete: None,
            failed: None,
        }
    }

    fn again(&mut self, next: Next) {
        self.next = self.next.sooner(next);
    }

    fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    fn delete(&mut self, reason: &'static str) {
        self.delete.get_or_insert(reason);
    }

    fn registration_failed(&mut self, cause: &str, detail: &str) {
        self.failed.get_or_insert_with(|| Failed {
            cause: cause.to_owned(),
            detail: detail.to_owned(),
        });
    }
}

/// Brings one claim closer to what it should be.
pub(crate) async fn reconcile(ctx: &Context, name: &str) -> Result<Next, Error> {
    let Some(claim) = ctx.claim(name) else {
        return Ok(Next::OnChange);
    };
    if !ctx.is_managed(&claim.spec.node_class_ref) {
        return Ok(Next::OnChange);
    }
    if is_deleting(&*claim) {
        return termination::finalize(ctx, &claim).await;
    }
    // Never launch without the finalizer: a claim that vanished would leave its instance.
    let claim = if has_finalizer(&*claim, labels::TERMINATION_FINALIZER) {
        claim
    } else {
        let patch = with_finalizer(&*claim, labels::TERMINATION_FINALIZER);
        match ctx.patch_claim(&claim, patch, Guard::Version).await? {
            Some(claim) => claim,
            None => return Ok(Next::OnChange),
        }
    };
    let mut draft = Draft::new(claim, ctx.now());
    let outcome = steps(ctx, &mut draft).await;
    let Some(claim) = draft.save(ctx).await? else {
        return Ok(Next::OnChange);
    };
    if let Some(failed) = &outcome.failed {
        nodepool::registration_failed(ctx, &claim, &failed.cause, &failed.detail).await?;
    }
    if let Some(reason) = outcome.delete {
        delete(ctx, &claim, reason).await?;
        return Ok(Next::OnChange);
    }
    outcome.error.map_or(Ok(outcome.next), Err)
}

async fn steps(ctx: &Context, draft: &mut Draft) -> Outcome {
    let mut outcome = Outcome::new();
    launch::launch(ctx, draft, &mut outcome).await;
    if outcome.delete.is_none() {
        launch::check_launch(ctx, draft, &mut outcome).await;
    }
    if outcome.delete.is_none() {
        registration::register(ctx, draft, &mut outcome).await;
        initialization::initialize(ctx, draft, &mut outcome).await;
        liveness::check_liveness(ctx, draft, &mut outcome);
        marks::expire(ctx, draft, &mut outcome);
        marks::hydrate(draft);
        marks::note_pod_event(ctx, draft);
        marks::mark_consolidatable(ctx, draft, &mut outcome);
        marks::mark_drifted(ctx, draft, &mut outcome).await;
    }
    outcome
}

/// Deletes a claim and counts it.
pub(crate) async fn delete(
    ctx: &Context,
    claim: &NodeClaim,
    reason: &'static str,
) -> Result<(), Error> {
    ctx.delete_claim(claim).await?;
    if !claim.is_condition_true("Registered") {
        // Its pods wait for another node: they are not to wait for their next turn as well.
        let uid: Arc<str> = claim.metadata.uid.as_deref().unwrap_or_default().into();
        ctx.batcher.trigger(&uid, ctx.clock.monotonic());
    }
    tracing::info!(nodeclaim = claim_name(claim), reason, "deleted nodeclaim");
    ctx.metrics
        .claim_disrupted(&Disrupted::forceful(claim, reason));
    Ok(())
}
