//! NodeClasses: the provider resolves them, their status says what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use controller_ports::ResolvedNodeClass;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt};
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::{Error, chain, is_conflict, is_not_found};
use crate::objects::{has_finalizer, is_deleting};
use crate::queue::Next;
use crate::writes::{with_finalizer, without_finalizer};

/// How often a NodeClass is resolved anew: images, versions and subnets change by themselves.
const PERIOD: Duration = Duration::from_mins(30);
/// A NodeClass that is deleted waits for its claims; their end is an event, this the net below.
const CLAIMS_CHECK_PERIOD: Duration = Duration::from_mins(1);
/// How often the provider is offered to refresh what ages.
const REFRESH_PERIOD: Duration = Duration::from_mins(1);
/// The same while nothing happens; as old as quotas may become.
const QUIET_REFRESH_PERIOD: Duration = Duration::from_mins(10);
/// How often instance types are fetched for their own sake: what was refused comes back.
const CATALOG_PERIOD: Duration = Duration::from_mins(5);

/// Statuses last written, by NodeClass. Bounded by their number.
#[derive(Debug, Default)]
pub(crate) struct Written(BTreeMap<String, Value>);

/// Brings one NodeClass's status up to date.
pub(crate) async fn reconcile(ctx: &Context, name: &str) -> Result<Next, Error> {
    let Some(class) = ctx.class(name) else {
        ctx.class_statuses().0.remove(name);
        return Ok(Next::OnChange);
    };
    let finalizer = format!("{}/termination", ctx.provider.node_class_kind().0);
    if is_deleting(&*class) {
        return finalize(ctx, &class, &finalizer).await;
    }
    if !has_finalizer(&*class, &finalizer) {
        let patch = guarded(&class, with_finalizer(&*class, &finalizer));
        patch_object(ctx, name, &patch).await?;
    }
    let Some(wanted) = ctx.node_class(name) else {
        return Ok(Next::OnChange);
    };
    let resolved = ctx.provider.resolve_node_class(&wanted).await?;
    publish(ctx, name, &resolved).await?;
    Ok(Next::After(PERIOD))
}

async fn finalize(ctx: &Context, class: &DynamicObject, finalizer: &str) -> Result<Next, Error> {
    let name = class.name_any();
    let claims = ctx.managed_claims();
    if claims
        .iter()
        .any(|claim| claim.spec.node_class_ref.name == name)
    {
        return Ok(Next::After(CLAIMS_CHECK_PERIOD));
    }
    if has_finalizer(class, finalizer) {
        let patch = guarded(class, without_finalizer(class, finalizer));
        patch_object(ctx, &name, &patch).await?;
    }
    Ok(Next::OnChange)
}

async fn publish(ctx: &Context, name: &str, resolved: &ResolvedNodeClass) -> Result<(), Error> {
    let Some(class) = ctx.class(name) else {
        return Ok(());
    };
    let annotations: Map<String, Value> = resolved
        .annotations
        .iter()
        .filter(|(key, value)| {
            class.annotations().get(&***key).map(String::as_str) != Some(&***value)
        })
        .map(|(key, value)| (key.to_string(), Value::from(&**value)))
        .collect();
    if !annotations.is_empty() {
        let patch = json!({ "metadata": { "annotations": annotations } });
        patch_object(ctx, name, &patch).await?;
    }
    let known = class.data.get("status").cloned().unwrap_or_default();
    // What the server makes of a status need not be what was sent: what was sent is compared.
    let is_written = ctx.class_statuses().0.get(name) == Some(&resolved.status);
    if known == resolved.status || is_written {
        return Ok(());
    }
    let mut status: Map<String, Value> = known
        .as_object()
        .into_iter()
        .flatten()
        .map(|(field, _)| (field.clone(), Value::Null))
        .collect();
    status.extend(resolved.status.as_object().cloned().unwrap_or_default());
    let patch = json!({ "status": status });
    let params = PatchParams::default();
    let result = api(ctx)
        .patch_status(name, &params, &Patch::Merge(&patch))
        .await;
    written(ctx, name, result).await?;
    ctx.class_statuses()
        .0
        .insert(name.to_owned(), resolved.status.clone());
    tracing::info!(
        nodeclass = name,
        ready = resolved.ready,
        "resolved node class"
    );
    Ok(())
}

fn api(ctx: &Context) -> Api<DynamicObject> {
    Api::all_with(ctx.kube.clone(), &ctx.class_resource())
}

fn guarded(class: &DynamicObject, mut patch: Value) -> Value {
    if let Some(version) = class.resource_version() {
        patch["metadata"]["resourceVersion"] = version.into();
    }
    patch
}

async fn patch_object(ctx: &Context, name: &str, patch: &Value) -> Result<(), Error> {
    let result = api(ctx)
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    written(ctx, name, result).await
}

async fn written(
    ctx: &Context,
    name: &str,
    result: Result<DynamicObject, kube::Error>,
) -> Result<(), Error> {
    match result {
        Ok(class) => observe(ctx, class),
        Err(error) if is_not_found(&error) => {}
        Err(error) if is_conflict(&error) => {
            if let Some(class) = api(ctx).get_opt(name).await? {
                observe(ctx, class);
            }
            return Err(Error::Conflict);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn observe(ctx: &Context, mut class: DynamicObject) {
    class.metadata.managed_fields = None;
    ctx.objects().classes.update(std::sync::Arc::new(class));
}

/// Lets the provider refresh what ages, for ever.
pub(crate) async fn refresh(ctx: &Context) -> ! {
    let mut fetched: Option<Duration> = None;
    loop {
        if let Err(error) = ctx.provider.refresh().await {
            tracing::warn!(error = %chain(&error), "provider not refreshed");
        }
        let now = ctx.clock.monotonic();
        if fetched.is_none_or(|at| now.saturating_sub(at) >= CATALOG_PERIOD) {
            fetched = Some(now);
            ctx.fetch_catalogs().await;
        }
        ctx.rest(REFRESH_PERIOD, QUIET_REFRESH_PERIOD).await;
    }
}
