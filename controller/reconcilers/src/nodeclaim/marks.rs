//! Marks that disruption reads: pod events, `Consolidatable`, `Drifted`, and the end of a
//! claim's life.
//!
//! Sources: `sigs.k8s.io/karpenter` `pkg/controllers/nodeclaim/{disruption,expiration,podevents,
//! hydration}`.

use std::collections::BTreeMap;
use std::time::Duration;

use controller_api::labels;
use controller_core::lifecycle::{
    Consolidatable, DriftReason, DriftView, Expiration, consolidatable, drifted, expiration,
};
use controller_core::model::{NodePool, NodePoolName, ProviderId};
use controller_ports::ProviderError;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Draft, Outcome};
use crate::context::Context;
use crate::error::Error;
use crate::objects::{annotation, claim_provider_id, label};
use crate::queue::Next;

/// Pod events of one claim are recorded at most this often: less than the 15 s for which
/// disruption waits before it acts on what it saw.
const POD_EVENT_PERIOD: SignedDuration = SignedDuration::from_secs(10);

/// How old the provider's word on drift may get while the claim and its NodeClass are unchanged
/// and something else happens to the claim; upstream's poll.
const PROVIDER_DRIFT_PERIOD: Duration = Duration::from_mins(5);

/// How often a claim nothing happens to is looked at. Changes of its pool, its NodeClass (new
/// images among them) and of what is sold arrive as events; this is the net below, as wide as the
/// default resync of upstream's caches (`kubernetes-sigs/controller-runtime`
/// `pkg/cache/cache.go`, `defaultSyncPeriod`).
const IDLE_PERIOD: Duration = Duration::from_hours(10);

/// How often a young claim is looked at, and how long it is young: its instance type counts only
/// from this age on, and nothing else tells that it came.
const YOUNG_PERIOD: Duration = Duration::from_hours(1);

/// What the provider last said about drift, by claim.
#[derive(Debug, Default)]
pub(crate) struct DriftMemo(BTreeMap<String, DriftEntry>);

#[derive(Clone, Debug)]
struct DriftEntry {
    class_version: Option<String>,
    asked: Timestamp,
    answer: Option<&'static str>,
}

impl DriftMemo {
    pub(crate) fn forget(&mut self, claim: &str) {
        self.0.remove(claim);
    }
}

/// Ends a claim whose lifetime is over.
pub(super) fn expire(ctx: &Context, draft: &Draft, outcome: &mut Outcome) {
    let created = draft
        .claim
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(ctx.now(), |t| t.0);
    match expiration(created, draft.claim.spec.expire_after.value(), ctx.now()) {
        Expiration::Never => {}
        Expiration::At(time) => outcome.again(ctx.at(time)),
        Expiration::Expired => outcome.delete("expired"),
    }
}

/// Adds the NodeClass label that older versions did not write.
pub(super) fn hydrate(draft: &mut Draft) {
    let reference = draft.claim.spec.node_class_ref.clone();
    let labels = draft.claim.metadata.labels.get_or_insert_default();
    labels
        .entry(reference.label_key())
        .or_insert(reference.name);
}

/// Records that pods came or went.
pub(super) fn note_pod_event(ctx: &Context, draft: &mut Draft) {
    let Some(time) = ctx.take_pod_event(draft.name()) else {
        return;
    };
    let last = draft
        .claim
        .status
        .as_ref()
        .and_then(|status| status.last_pod_event_time.as_ref());
    if last.is_some_and(|last| time.duration_since(last.0) < POD_EVENT_PERIOD) {
        return;
    }
    // Whole seconds, as the API writes them: the value read back is the value compared.
    let time = Timestamp::from_second(time.as_second()).unwrap_or(time);
    draft.status().last_pod_event_time = Some(Time(time));
}

/// Sets or clears `Consolidatable`.
pub(super) fn mark_consolidatable(ctx: &Context, draft: &mut Draft, outcome: &mut Outcome) {
    let Some(pool) = pool_of(ctx, draft) else {
        return;
    };
    if pool.replicas.is_some() {
        return;
    }
    let initialized = draft
        .is_true("Initialized")
        .then(|| draft.changed_at("Initialized"));
    let last = draft
        .claim
        .status
        .as_ref()
        .and_then(|status| status.last_pod_event_time.as_ref());
    let step = consolidatable(
        pool.disruption.consolidate_after,
        initialized,
        last.map(|time| time.0),
        ctx.now(),
    );
    match step {
        Consolidatable::Yes => {
            draft.conditions().set_true("Consolidatable");
        }
        Consolidatable::No => {
            draft.conditions().clear("Consolidatable");
        }
        Consolidatable::At(time) => {
            draft.conditions().clear("Consolidatable");
            outcome.again(ctx.at(time));
        }
    }
}

/// Sets or clears `Drifted`.
pub(super) async fn mark_drifted(ctx: &Context, draft: &mut Draft, outcome: &mut Outcome) {
    let Some(pool) = pool_of(ctx, draft) else {
        return;
    };
    if !draft.is_true("Launched") {
        draft.conditions().clear("Drifted");
        return;
    }
    outcome.again(Next::After(idle_period(created(ctx, draft), ctx.now())));
    let reason = match drift_from_pool(ctx, draft, &pool) {
        Some(reason) => Some(reason),
        None => match drift_of_instance(ctx, draft).await {
            Ok(reason) => reason,
            Err(error) => {
                outcome.fail(error);
                return;
            }
        },
    };
    match reason {
        Some(reason) => draft.conditions().set_true_with("Drifted", reason, reason),
        None => draft.conditions().clear("Drifted"),
    };
}

/// When a claim is looked at again although nothing happens.
fn idle_period(created: Timestamp, now: Timestamp) -> Duration {
    let age = Duration::try_from(now.duration_since(created)).unwrap_or_default();
    if age < YOUNG_PERIOD {
        YOUNG_PERIOD
    } else {
        IDLE_PERIOD
    }
}

fn created(ctx: &Context, draft: &Draft) -> Timestamp {
    let created = draft.claim.metadata.creation_timestamp.as_ref();
    created.map_or(ctx.now(), |time| time.0)
}

fn pool_of(ctx: &Context, draft: &Draft) -> Option<NodePool> {
    let name = NodePoolName::new(label(&draft.claim, labels::NODEPOOL)?);
    ctx.cluster().pool(&name).cloned()
}

fn drift_from_pool(ctx: &Context, draft: &Draft, pool: &NodePool) -> Option<&'static str> {
    let claim = &draft.claim;
    let api_pool = ctx.pool(pool.name.as_str())?;
    let version = annotation(claim, labels::NODEPOOL_HASH_VERSION);
    let comparable = version.is_some()
        && version == annotation(&*api_pool, labels::NODEPOOL_HASH_VERSION)
        && !pool.hash.is_empty();
    let created = created(ctx, draft);
    let catalog = ctx.catalog(&pool.node_class);
    let claim_labels = claim.metadata.labels.iter().flatten();
    let view = DriftView {
        labels: &claim_labels
            .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
            .collect(),
        hash: annotation(claim, labels::NODEPOOL_HASH).filter(|_| comparable),
        // Without a catalogue nothing can be said about the instance type; a claim that young is
        // not asked for it.
        created: if catalog.is_some() {
            created
        } else {
            ctx.now()
        },
    };
    let types = catalog.unwrap_or_default();
    drifted(&view, pool, &types, ctx.now()).map(DriftReason::as_str)
}

async fn drift_of_instance(ctx: &Context, draft: &Draft) -> Result<Option<&'static str>, Error> {
    let claim = &draft.claim;
    let name = draft.name().to_owned();
    let class_name = &claim.spec.node_class_ref.name;
    let (Some(id), Some(class)) = (claim_provider_id(claim), ctx.class(class_name)) else {
        return Ok(None);
    };
    let class_version = class.metadata.resource_version.clone();
    let now = ctx.now();
    let known = ctx.drift().0.get(&name).cloned();
    if let Some(known) = known {
        let fresh = now.duration_since(known.asked)
            < SignedDuration::try_from(PROVIDER_DRIFT_PERIOD).unwrap_or_default();
        if fresh && known.class_version == class_version {
            return Ok(known.answer);
        }
    }
    let Some(node_class) = ctx.node_class(class_name) else {
        return Ok(None);
    };
    let annotations = claim.metadata.annotations.iter().flatten();
    let annotations = annotations
        .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
        .collect();
    let id = ProviderId::new(id);
    let answer = match ctx
        .provider
        .is_drifted(&id, &annotations, &node_class)
        .await
    {
        Ok(answer) => answer.map(|reason| reason.0),
        // Garbage collection and termination deal with it.
        Err(ProviderError::NotFound) => None,
        Err(error) => return Err(error.into()),
    };
    ctx.drift().0.insert(
        name,
        DriftEntry {
            class_version,
            asked: now,
            answer,
        },
    );
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_looked_at_when_its_instance_type_begins_to_count() {
        let created = Timestamp::UNIX_EPOCH;
        let after = |minutes| idle_period(created, created + SignedDuration::from_mins(minutes));
        assert_eq!(after(0), YOUNG_PERIOD);
        assert_eq!(after(59), YOUNG_PERIOD);
        assert_eq!(after(60), IDLE_PERIOD);
        assert_eq!(after(-1), YOUNG_PERIOD, "a clock behind the server's");
    }
}
