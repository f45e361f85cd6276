//! Registration health: what the pool's condition `NodeRegistrationHealthy` says, and how long the
//! pool waits when its nodes do not register.
//!
//! Sources: `sigs.k8s.io/karpenter` `pkg/controllers/nodepool/registrationhealth`,
//! `pkg/controllers/nodeclaim/lifecycle/{registration,liveness}.go`. The wait is ours. It is kept in
//! an annotation, so that a new leader keeps waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use controller_api::conditions::Conditioned;
use controller_api::karpenter::v1::{NodeClaim, NodePool};
use controller_api::labels;
use controller_core::lifecycle::{
    Admission, RegistrationBackoff, RegistrationHealth, RegistrationOutcome, RegistrationStatus,
};
use jiff::Timestamp;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::objects::{annotation, label};
use crate::queue::Next;

/// The condition.
const HEALTHY: &str = "NodeRegistrationHealthy";
/// Its reason when it is False; upstream's.
const FAILED: &str = "RegistrationFailed";

/// What became of each pool's claims. Memory of conditions and annotations, not more.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    pools: BTreeMap<String, Known>,
    /// UIDs of claims whose outcome was counted: a step that is repeated does not count twice.
    counted: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Known {
    /// Another pool of the same name has nothing to do with it.
    uid: String,
    health: RegistrationHealth,
    /// Why the last claim failed, for people.
    detail: String,
}

/// The annotation's value.
#[derive(Debug, Deserialize, Serialize)]
struct Stored {
    level: u32,
    until: Timestamp,
    cause: Arc<str>,
}

impl Registrations {
    pub(crate) fn forget_pool(&mut self, name: &str) {
        self.pools.remove(name);
    }

    pub(crate) fn forget_claim(&mut self, uid: &str) {
        self.counted.remove(uid);
    }

    /// The wait of a pool, and what it may launch.
    pub(super) fn admission(
        &self,
        pool: &str,
        in_flight: bool,
        now: Timestamp,
    ) -> Option<(Admission, Arc<str>)> {
        let health = &self.pools.get(pool)?.health;
        let cause = Arc::clone(&health.backoff()?.cause);
        Some((health.admission(in_flight, now), cause))
    }

    /// Pools that wait, or have waited and not had a success since.
    pub(super) fn waiting(&self) -> Vec<String> {
        let waiting = self
            .pools
            .iter()
            .filter(|(_, k)| k.health.backoff().is_some());
        waiting.map(|(name, _)| name.clone()).collect()
    }

    /// The memory of a pool; what its object remembers when nothing is known of it.
    fn of(&mut self, pool: &NodePool, now: Timestamp) -> &mut Known {
        let uid = pool.uid().unwrap_or_default();
        let known = self.pools.entry(pool.name_any()).or_default();
        if known.uid != uid {
            *known = Known {
                uid,
                health: remembered(pool, now),
                detail: String::new(),
            };
        }
        known
    }

    fn record(
        &mut self,
        pool: &NodePool,
        claim: &str,
        outcome: RegistrationOutcome,
        now: Timestamp,
    ) {
        if self.counted.insert(claim.to_owned()) {
            self.of(pool, now).health.record(outcome, now);
        }
    }
}

/// What the condition and the annotation of a pool say about earlier claims.
fn remembered(pool: &NodePool, now: Timestamp) -> RegistrationHealth {
    let stored = annotation(pool, labels::REGISTRATION_BACKOFF)
        .and_then(|text| serde_json::from_str::<Stored>(text).ok())
        .map(|stored| RegistrationBackoff {
            level: stored.level,
            until: stored.until,
            cause: stored.cause,
        });
    match pool.condition(HEALTHY).map(|c| c.status.as_str()) {
        Some("True") if stored.is_none() => RegistrationHealth::healthy(),
        // Upstream keeps no wait: begin one, rather than buy machines right away.
        Some("False") => RegistrationHealth::unhealthy(
            stored.or_else(|| Some(RegistrationBackoff::begin(1, FAILED.into(), now))),
        ),
        _ if stored.is_some() => RegistrationHealth::unhealthy(stored),
        _ => RegistrationHealth::default(),
    }
}

/// The claim's pool, if the claim was made for this very pool.
fn pool_of(ctx: &Context, claim: &NodeClaim) -> Option<Arc<NodePool>> {
    let pool = ctx.pool(label(claim, labels::NODEPOOL)?)?;
    let uid = pool.uid()?;
    let owns = claim
        .owner_references()
        .iter()
        .any(|owner| owner.uid == uid);
    owns.then_some(pool)
}

/// The claim's node has joined. The condition follows with the pool's next reconcile.
pub(crate) fn registered(ctx: &Context, claim: &NodeClaim) {
    let Some(pool) = pool_of(ctx, claim) else {
        return;
    };
    let uid = claim.uid().unwrap_or_default();
    let before = ctx
        .registrations()
        .admission(&pool.name_any(), true, ctx.now());
    ctx.registrations()
        .record(&pool, &uid, RegistrationOutcome::Registered, ctx.now());
    ctx.queues.pools.add(pool.name_any());
    if before.is_some() {
        tracing::info!(nodepool = pool.name_any(), "nodes register again");
        ctx.wakes.provisioning.notify_one();
    }
}

/// The claim is to be given up. Its failure is written on the pool before anything else happens:
/// what comes after makes room for the next claim.
pub(crate) async fn registration_failed(
    ctx: &Context,
    claim: &NodeClaim,
    cause: &str,
    detail: &str,
) -> Result<(), Error> {
    let Some(pool) = pool_of(ctx, claim) else {
        return Ok(());
    };
    let now = ctx.now();
    let created = claim.metadata.creation_timestamp.as_ref();
    let outcome = RegistrationOutcome::Failed {
        created: created.map_or(now, |time| time.0),
        cause: cause.into(),
    };
    {
        let mut registrations = ctx.registrations();
        registrations.record(&pool, &claim.uid().unwrap_or_default(), outcome, now);
        detail.clone_into(&mut registrations.of(&pool, now).detail);
    }
    let next = super::reconcile(ctx, &pool.name_any()).await?;
    if next != Next::OnChange {
        ctx.queues.pools.add(pool.name_any());
    }
    Ok(())
}

/// Brings condition and annotation up to what is known; tells when to look again.
pub(super) fn show(ctx: &Context, pool: &mut NodePool) -> Next {
    let class = ctx.class(&pool.spec.template.spec.node_class_ref.name);
    let Some(class_generation) = class.and_then(|class| class.metadata.generation) else {
        return Next::OnChange;
    };
    let now = ctx.now();
    let mut registrations = ctx.registrations();
    let known = registrations.of(pool, now);
    let condition = pool.condition(HEALTHY).cloned();
    let observed = |pool: &NodePool| pool.status.as_ref()?.node_class_observed_generation;
    let is_changed = condition.as_ref().is_none_or(|condition| {
        observed(pool) != Some(class_generation)
            || condition.observed_generation != pool.metadata.generation
    });
    if is_changed {
        // What failed may work now.
        known.health = RegistrationHealth::default();
        pool.condition_set(now).set_unknown(HEALTHY);
        ctx.wakes.provisioning.notify_one();
    } else {
        set_condition(pool, known, now);
    }
    pool.status
        .get_or_insert_default()
        .node_class_observed_generation = Some(class_generation);
    let backoff = known.health.backoff();
    set_annotation(pool, backoff);
    match backoff {
        Some(backoff) if now < backoff.until => ctx.at(backoff.until),
        Some(_) => {
            // The wait is over: pods may have been left for it.
            ctx.wakes.provisioning.notify_one();
            Next::OnChange
        }
        None => Next::OnChange,
    }
}

fn set_condition(pool: &mut NodePool, known: &Known, now: Timestamp) {
    match known.health.status() {
        RegistrationStatus::Healthy => {
            pool.condition_set(now).set_true(HEALTHY);
        }
        RegistrationStatus::Unhealthy => {
            let message = match (known.health.backoff(), known.detail.as_str()) {
                // Nothing new since another process wrote it.
                (_, "") if pool.is_condition_false(HEALTHY) => return,
                (Some(backoff), detail) => format!(
                    "Failed to register node, {}: {detail}; launching again at {}",
                    backoff.cause, backoff.until
                ),
                // Success has ended the wait; the ring forgets later.
                (None, _) => "Failed to register node; the last one registered".to_owned(),
            };
            pool.condition_set(now).set_false(HEALTHY, FAILED, &message);
        }
        RegistrationStatus::Unknown => {}
    }
}

fn set_annotation(pool: &mut NodePool, backoff: Option<&RegistrationBackoff>) {
    let value = backoff.and_then(|backoff| {
        let stored = Stored {
            level: backoff.level,
            until: backoff.until,
            cause: Arc::clone(&backoff.cause),
        };
        serde_json::to_string(&stored).ok()
    });
    let annotations = pool.annotations_mut();
    match value {
        Some(value) => annotations.insert(labels::REGISTRATION_BACKOFF.to_owned(), value),
        None => annotations.remove(labels::REGISTRATION_BACKOFF),
    };
}

/// A patch that brings the annotation from one to the other; `None` when they agree.
pub(super) fn annotations(before: &NodePool, after: &NodePool) -> Option<Value> {
    let value = annotation(after, labels::REGISTRATION_BACKOFF);
    (annotation(before, labels::REGISTRATION_BACKOFF) != value)
        .then(|| json!({ "metadata": { "annotations": { labels::REGISTRATION_BACKOFF: value } } }))
}
