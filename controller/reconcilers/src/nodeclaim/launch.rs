//! Launch: ask the provider for an instance, once per claim.
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/nodeclaim/lifecycle/launch.go`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use controller_api::conditions::Conditioned;
use controller_api::karpenter::v1::NodeClaim;
use controller_api::labels;
use controller_cluster::{
    resources_from_list, resources_to_list, to_core_requirements, to_core_taint,
};
use controller_core::lifecycle::LAUNCH_TIMEOUT;
use controller_core::model::{NodeClaimName, NodePoolName};
use controller_ports::{CreateError, Instance, LaunchRequest, timeout};
use k8s_openapi::api::core::v1::Taint;

use super::{Draft, Outcome};
use crate::context::Context;
use crate::error::{Error, chain};
use crate::events::Note;
use crate::objects::label;
use crate::queue::Next;

/// How often a launch that the cloud has accepted is asked after until its node has joined. The
/// question is answered from the provider's memory.
const LAUNCH_CHECK_PERIOD: Duration = Duration::from_secs(5);

/// Longest text of an error in a condition or an event; upstream's bound.
const MESSAGE_MAX: usize = 300;

/// Reason when the cloud had no room.
const INSUFFICIENT_CAPACITY: &str = "InsufficientCapacity";
/// Reason when the NodeClass was not ready.
const NODE_CLASS_NOT_READY: &str = "NodeClassNotReady";

/// Asks for an instance unless there is one.
pub(super) async fn launch(ctx: &Context, draft: &mut Draft, outcome: &mut Outcome) {
    let uid = draft.claim.metadata.uid.clone().unwrap_or_default();
    if draft.is_true("Launched") {
        // Refreshes the observed generation.
        draft.conditions().set_true("Launched");
        ctx.forget_launch(&uid);
        return;
    }
    let answer = match ctx.launched(&uid) {
        Some(instance) => Ok(instance),
        None => create(ctx, &draft.claim).await,
    };
    match answer {
        Ok(instance) => {
            ctx.remember_launch(&uid, &instance);
            take_over(draft, &instance);
            tracing::info!(
                nodeclaim = draft.name(), provider_id = %instance.provider_id,
                instance_type = %instance.instance_type, price = %instance.price,
                "launched nodeclaim"
            );
            ctx.events.publish(&draft.claim, provisioned(&instance));
        }
        Err(error) => refused(ctx, draft, outcome, error),
    }
}

async fn create(ctx: &Context, claim: &NodeClaim) -> Result<Instance, CreateError> {
    let request = launch_request(ctx, claim)?;
    // A provider that never answers must not hold the claim past its own launch timeout.
    match timeout(&*ctx.clock, LAUNCH_TIMEOUT, ctx.provider.create(request)).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(CreateError::Transport(Box::new(elapsed))),
    }
}

fn launch_request(ctx: &Context, claim: &NodeClaim) -> Result<LaunchRequest, CreateError> {
    let class = &claim.spec.node_class_ref.name;
    let node_class = ctx
        .node_class(class)
        .ok_or_else(|| CreateError::NodeClassNotReady(format!("\"{class}\" does not exist")))?;
    let requests = claim
        .spec
        .resources
        .as_ref()
        .map(|resources| &resources.requests);
    let requests =
        resources_from_list(requests.unwrap_or(&BTreeMap::new())).map_err(|problem| {
            CreateError::Refused {
                reason: "InvalidRequests",
                message: format!("spec.resources.requests: {problem}"),
            }
        })?;
    let taints = |taints: &[Taint]| taints.iter().filter_map(to_core_taint).collect();
    let labels = claim.metadata.labels.iter().flatten();
    Ok(LaunchRequest {
        claim: NodeClaimName::new(super::claim_name(claim)),
        pool: label(claim, labels::NODEPOOL).map(NodePoolName::new),
        node_class,
        requirements: to_core_requirements(&claim.spec.requirements),
        requests,
        labels: labels
            .map(|(key, value)| (Arc::from(&**key), Arc::from(&**value)))
            .collect(),
        taints: taints(&claim.spec.taints),
        startup_taints: taints(&claim.spec.startup_taints),
    })
}

/// The instance's facts become the claim's: its labels where the claim has none of its own, its
/// annotations over the claim's.
fn take_over(draft: &mut Draft, instance: &Instance) {
    let metadata = &mut draft.claim.metadata;
    let labels = metadata.labels.get_or_insert_default();
    for (key, value) in &instance.labels {
        labels
            .entry(key.to_string())
            .or_insert_with(|| value.to_string());
    }
    if !instance.annotations.is_empty() {
        let annotations = metadata.annotations.get_or_insert_default();
        for (key, value) in &instance.annotations {
            annotations.insert(key.to_string(), value.to_string());
        }
    }
    let status = draft.status();
    status.provider_id = Some(instance.provider_id.to_string());
    status.image_id = (!instance.image_id.is_empty()).then(|| instance.image_id.to_string());
    status.capacity = Some(resources_to_list(&instance.capacity));
    status.allocatable = Some(resources_to_list(&instance.allocatable));
    draft.conditions().set_true("Launched");
}

fn refused(ctx: &Context, draft: &mut Draft, outcome: &mut Outcome, error: CreateError) {
    let name = draft.name().to_owned();
    let text = cut(&chain(&error));
    match error {
        CreateError::InsufficientCapacity(_) => {
            tracing::info!(nodeclaim = name, error = text, "insufficient capacity");
            ctx.events
                .publish(&draft.claim, insufficient_capacity(&name, &text));
            draft
                .conditions()
                .set_unknown_with("Launched", INSUFFICIENT_CAPACITY, &text);
            outcome.delete("insufficient_capacity");
        }
        CreateError::NodeClassNotReady(_) => {
            tracing::info!(nodeclaim = name, error = text, "node class is not ready");
            draft
                .conditions()
                .set_unknown_with("Launched", NODE_CLASS_NOT_READY, &text);
            outcome.delete("nodeclass_not_ready");
        }
        CreateError::Refused { reason, message } => {
            set_launch_failure(draft, reason, &cut(&message));
            outcome.fail(Error::Launch(text));
        }
        CreateError::Throttled { retry_after } => outcome.fail(Error::Throttled { retry_after }),
        CreateError::Transport(_) => {
            set_launch_failure(draft, "LaunchFailed", &text);
            outcome.fail(Error::Launch(text));
        }
    }
}

/// Says why a launch is repeated. Errors hold ids of requests, so their text differs each time:
/// the first text of a reason stays, or each failure would be a change that hurries the next try.
fn set_launch_failure(draft: &mut Draft, reason: &str, message: &str) {
    if draft
        .conditions()
        .get("Launched")
        .is_none_or(|known| known.reason != reason)
    {
        draft
            .conditions()
            .set_unknown_with("Launched", reason, message);
    }
}

/// Asks whether a launch that was accepted has failed since.
pub(super) async fn check_launch(ctx: &Context, draft: &mut Draft, outcome: &mut Outcome) {
    if !draft.is_true("Launched") || draft.is_true("Registered") {
        return;
    }
    if let Some((reason, message)) = verdict(draft) {
        // Told before, but what follows from it was not done: another process had begun it.
        give_up(outcome, &reason, &message);
        return;
    }
    let name = NodeClaimName::new(draft.name());
    let Some(failure) = ctx.provider.launch_failure(&name).await else {
        outcome.again(Next::After(LAUNCH_CHECK_PERIOD));
        return;
    };
    let text = cut(&chain(&failure));
    tracing::warn!(nodeclaim = %name, error = text, "launch failed after it was accepted");
    let (reason, message) = match failure {
        CreateError::InsufficientCapacity(_) => {
            ctx.events
                .publish(&draft.claim, insufficient_capacity(name.as_str(), &text));
            (INSUFFICIENT_CAPACITY, text)
        }
        CreateError::Refused { reason, message } => {
            let message = cut(&message);
            let note = Note::warning(reason, format!("NodeClaim {name} event: {message}"));
            ctx.events.publish(&draft.claim, note);
            (reason, message)
        }
        CreateError::NodeClassNotReady(_) => (NODE_CLASS_NOT_READY, text),
        CreateError::Throttled { .. } | CreateError::Transport(_) => ("LaunchFailed", text),
    };
    draft.conditions().set_false("Registered", reason, &message);
    give_up(outcome, reason, &message);
}

/// Why the machine will not join, when that is known already.
fn verdict(draft: &Draft) -> Option<(String, String)> {
    let condition = draft.claim.condition("Registered")?;
    // Several Nodes are no fault of the machine; liveness ends such a claim.
    let is_verdict = condition.status == "False" && condition.reason != "MultipleNodesFound";
    is_verdict.then(|| (condition.reason.clone(), condition.message.clone()))
}

/// Ends a claim whose machine will not join. Capacity and NodeClasses have memories of their own;
/// everything else is remembered by the pool.
fn give_up(outcome: &mut Outcome, reason: &str, message: &str) {
    match reason {
        INSUFFICIENT_CAPACITY => outcome.delete("insufficient_capacity"),
        NODE_CLASS_NOT_READY => outcome.delete("nodeclass_not_ready"),
        _ => {
            outcome.registration_failed(reason, message);
            outcome.delete("launch_failed");
        }
    }
}

fn insufficient_capacity(name: &str, text: &str) -> Note {
    Note::warning(
        "InsufficientCapacityError",
        format!("NodeClaim {name} event: {text}"),
    )
    .once_per_object()
}

/// The seeds' way to watch provisioning (`kubectl get events --field-selector
/// reason=Provisioned`).
fn provisioned(instance: &Instance) -> Note {
    let of = |key: &str| instance.labels.get(key).map_or("?", |value| &**value);
    Note::normal(
        "Provisioned",
        format!(
            "Provisioned {} in {} ({}, {}/h)",
            instance.instance_type,
            of(labels::ZONE),
            of(labels::CAPACITY_TYPE),
            instance.price
        ),
    )
    .once_per_object()
}

/// At most 300 characters; what is left out is marked.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => {
            let kept: String = text
                .char_indices()
                .take_while(|(at, _)| *at < end)
                .map(|c| c.1)
                .collect();
            format!("{kept}...")
        }
        None => text.to_owned(),
    }
}

/// Whether the claim was launched.
pub(super) fn is_launched(claim: &NodeClaim) -> bool {
    claim.is_condition_true("Launched")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_errors_are_cut() {
        assert_eq!(cut("short"), "short");
        let long = cut(&"é".repeat(301));
        assert_eq!(long.chars().count(), 303);
        assert!(long.ends_with("..."));
    }
}
