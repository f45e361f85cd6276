//! NodePools: hash, validation, readiness, registration health, counters.

mod counter;
mod hash;
mod health;
mod launches;
mod readiness;
mod validation;

use std::sync::Arc;

use controller_api::conditions::Conditioned;
use controller_api::karpenter::v1::NodePool;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

pub(crate) use self::counter::count;
pub(crate) use self::health::{Registrations, registered, registration_failed};
pub(crate) use self::launches::{hold, hold_all};
use crate::context::Context;
use crate::error::{Error, is_conflict, is_not_found};
use crate::events::Note;
use crate::objects::is_deleting;
use crate::queue::Next;

/// Brings one pool's annotations and conditions up to date.
pub(crate) async fn reconcile(ctx: &Context, name: &str) -> Result<Next, Error> {
    let Some(pool) = ctx.pool(name) else {
        ctx.metrics.forget_pool(name);
        ctx.registrations().forget_pool(name);
        return Ok(Next::OnChange);
    };
    if !ctx.is_managed(&pool.spec.template.spec.node_class_ref) || is_deleting(&*pool) {
        return Ok(Next::OnChange);
    }
    let Some(pool) = hash::stamp(ctx, pool).await? else {
        return Ok(Next::OnChange);
    };
    let mut wanted = NodePool::clone(&pool);
    validation::validate(&mut wanted, ctx.now());
    readiness::mirror_class(ctx, &mut wanted);
    let next = health::show(ctx, &mut wanted);
    let annotations = health::annotations(&pool, &wanted);
    // What has to be remembered comes first: a crash in between must not shorten a wait.
    let pool = match annotations {
        Some(patch) => match patch_metadata(ctx, name, &patch).await? {
            Some(pool) => pool,
            None => return Ok(Next::OnChange),
        },
        None => pool,
    };
    let class_generation = |pool: &NodePool| pool.status.as_ref()?.node_class_observed_generation;
    if wanted.conditions() != pool.conditions()
        || class_generation(&wanted) != class_generation(&pool)
    {
        let conditions = wanted.conditions();
        let patch = json!({
            "metadata": { "resourceVersion": pool.resource_version() },
            "status": {
                "conditions": conditions,
                "nodeClassObservedGeneration": class_generation(&wanted),
            },
        });
        if let Some(written) = patch_status(ctx, name, &patch).await? {
            for note in transitions(&pool, &written) {
                ctx.events.publish(&*written, note);
            }
        }
    }
    Ok(next)
}

/// Events for conditions that changed their status (`awslabs/operatorpkg`
/// `status/controller.go`).
fn transitions(before: &NodePool, after: &NodePool) -> Vec<Note> {
    let known = [
        "ValidationSucceeded",
        "NodeClassReady",
        "NodeRegistrationHealthy",
        "Ready",
    ];
    known
        .into_iter()
        .filter_map(|type_| {
            let new = after.condition(type_)?;
            let old = before
                .condition(type_)
                .map_or("Unknown", |c| c.status.as_str());
            (old != new.status).then(|| {
                let message = format!(
                    "Status condition transitioned, Type: {type_}, Status: {old} -> {}, Reason: {}",
                    new.status, new.reason
                );
                Note::normal(type_, message)
            })
        })
        .collect()
}

fn api(ctx: &Context) -> Api<NodePool> {
    Api::all(ctx.kube.clone())
}

/// Merge-patches the status. `None`: the pool is gone.
async fn patch_status(
    ctx: &Context,
    name: &str,
    patch: &Value,
) -> Result<Option<Arc<NodePool>>, Error> {
    let result = api(ctx)
        .patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    written(ctx, name, result).await
}

/// Merge-patches the metadata. `None`: the pool is gone.
async fn patch_metadata(
    ctx: &Context,
    name: &str,
    patch: &Value,
) -> Result<Option<Arc<NodePool>>, Error> {
    let result = api(ctx)
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    written(ctx, name, result).await
}

async fn written(
    ctx: &Context,
    name: &str,
    result: Result<NodePool, kube::Error>,
) -> Result<Option<Arc<NodePool>>, Error> {
    match result {
        Ok(pool) => Ok(Some(observe(ctx, pool))),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) if is_conflict(&error) => {
            if let Some(pool) = api(ctx).get_opt(name).await? {
                observe(ctx, pool);
            }
            Err(Error::Conflict)
        }
        Err(error) => Err(error.into()),
    }
}

fn observe(ctx: &Context, mut pool: NodePool) -> Arc<NodePool> {
    pool.metadata.managed_fields = None;
    let pool = Arc::new(pool);
    if ctx.objects().pools.update(Arc::clone(&pool)) {
        ctx.apply(&controller_cluster::Object::NodePool(&pool));
    }
    pool
}
