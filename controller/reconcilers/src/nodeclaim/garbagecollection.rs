//! Garbage, both ways: claims without instances, instances without claims, and what is left of
//! either.
//!
//! Sources: `sigs.k8s.io/karpenter` `pkg/controllers/nodeclaim/garbagecollection`;
//! `Azure/karpenter-provider-azure` `pkg/controllers/nodeclaim/garbagecollection`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use controller_api::conditions::Conditioned;
use controller_api::karpenter::v1::NodeClaim;
use controller_core::model::NodeClaimName;
use controller_core::mutants::{self, Mutant};
use controller_ports::{Instance, ProviderError};
use jiff::Timestamp;

use super::launch::is_launched;
use super::{claim_name, delete};
use crate::context::{Context, earlier};
use crate::error::{Error, chain};
use crate::objects::{claim_provider_id, is_deleting, is_node_ready};

/// Time between two collections; upstream's.
const PERIOD: Duration = Duration::from_mins(2);
/// Time between two collections while nothing happens in the cluster: garbage comes from
/// launches and terminations, and those are changes, as is a node that stops reporting. What is
/// left are machines that somebody else made with our tags.
const QUIET_PERIOD: Duration = Duration::from_hours(2);
/// An instance younger than this may belong to a claim whose status is not written yet.
const INSTANCE_AGE_MIN: Duration = Duration::from_secs(30);
/// A launched claim younger than this may be missing from a list that lags behind.
const UNREGISTERED_AGE_MIN: Duration = Duration::from_mins(5);
/// A cloud resource younger than this may belong to a claim that has not been seen yet. Longer than
/// that, leftovers would outlive a period: an interface has no creation time, so its age counts from
/// the first look.
const ORPHAN_AGE_MIN: Duration = Duration::from_mins(1);

/// Collects garbage for ever.
pub(crate) async fn collect_garbage(ctx: &Context) -> ! {
    loop {
        ctx.rest(PERIOD, QUIET_PERIOD).await;
        if let Err(error) = collect_once(ctx).await {
            tracing::warn!(error = %chain(&error), "garbage collection failed");
        }
    }
}

async fn collect_once(ctx: &Context) -> Result<(), Error> {
    // Claims first: an instance made after the list was taken then has its claim in `before`.
    let before: BTreeSet<String> = claim_names(ctx);
    let instances = ctx.provider.list().await?;
    let by_id: BTreeMap<&str, &Instance> = instances
        .iter()
        .filter(|instance| !instance.deleting)
        .map(|instance| (instance.provider_id.as_str(), instance))
        .collect();
    let now = ctx.now();
    for claim in ctx.managed_claims() {
        if before.contains(claim_name(&claim)) && is_garbage(ctx, &claim, &by_id, now) {
            tracing::info!(
                nodeclaim = claim_name(&claim),
                "instance of nodeclaim is gone"
            );
            delete(ctx, &claim, "garbage_collected").await?;
        }
    }
    let old = earlier(now, INSTANCE_AGE_MIN);
    for instance in instances.iter().filter(|instance| instance.created < old) {
        let has_claim = before.contains(instance.claim.as_str())
            || ctx.claim(instance.claim.as_str()).is_some();
        if !has_claim {
            collect_instance(ctx, instance).await?;
        }
    }
    let claims: Vec<NodeClaimName> = claim_names(ctx).iter().map(|n| n.as_str().into()).collect();
    let orphans = ctx
        .provider
        .collect_orphans(&claims, earlier(now, ORPHAN_AGE_MIN))
        .await?;
    for orphan in orphans {
        tracing::info!(id = %orphan.id, nodeclaim = %orphan.claim, "deleted orphaned resource");
    }
    Ok(())
}

fn claim_names(ctx: &Context) -> BTreeSet<String> {
    ctx.objects().claims.keys().cloned().collect()
}

/// Whether a claim has lost its instance. A Ready kubelet proves the opposite.
fn is_garbage(
    ctx: &Context,
    claim: &NodeClaim,
    instances: &BTreeMap<&str, &Instance>,
    now: Timestamp,
) -> bool {
    let Some(id) = claim_provider_id(claim) else {
        return false;
    };
    if is_deleting(claim) || !is_launched(claim) || instances.contains_key(id) {
        return false;
    }
    if !claim.is_condition_true("Registered") {
        let launched = claim
            .condition("Launched")
            .map(|c| c.last_transition_time.0);
        return launched.is_some_and(|time| time < earlier(now, UNREGISTERED_AGE_MIN));
    }
    if mutants::is(Mutant::LostMachineUnnoticed) {
        return false;
    }
    let nodes = ctx.nodes_of(id);
    !matches!(nodes.as_slice(), [node] if is_node_ready(node))
}

/// Deletes an instance nobody owns, and its Node.
async fn collect_instance(ctx: &Context, instance: &Instance) -> Result<(), Error> {
    // The caches may lag; an instance that is in use must not go for it.
    if ctx
        .claim_api()
        .get_opt(instance.claim.as_str())
        .await?
        .is_some()
    {
        return Ok(());
    }
    tracing::info!(
        provider_id = %instance.provider_id, nodeclaim = %instance.claim,
        "deleting instance without nodeclaim"
    );
    match ctx
        .provider
        .delete(&instance.claim, Some(&instance.provider_id))
        .await
    {
        Ok(()) | Err(ProviderError::NotFound) => {}
        Err(error) => return Err(error.into()),
    }
    let nodes = ctx.nodes_of(instance.provider_id.as_str());
    for node in nodes.iter().filter(|node| !is_deleting(&***node)) {
        ctx.delete_node(node).await?;
    }
    Ok(())
}
