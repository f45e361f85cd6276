//! Instances that the cloud has announced to take away: their nodes are drained ahead of it.
//!
//! The announcement arrives as a condition on the Node (AKS's node problem detector reads the
//! instance metadata service) or from the provider.

use std::time::Duration;

use controller_api::conditions::Conditioned;
use controller_api::karpenter::v1::NodeClaim;
use controller_api::labels;
use controller_ports::Interruption;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, chain};
use crate::events::Note;
use crate::metrics::Disrupted;
use crate::nodeclaim::claim_name;
use crate::objects::{annotation, is_deleting, node_condition};
use crate::writes::Guard;

/// How often the provider is asked. Azure announces an eviction of a spot machine 30 s ahead:
/// a third of that leaves most of the time to the drain.
const PERIOD: Duration = Duration::from_secs(10);

/// Node conditions that announce an interruption, and its kind
/// (`Azure/AKS` node auto-repair, "node-problem-detector" scheduled events).
const CONDITIONS: [(&str, &str); 3] = [
    ("PreemptScheduled", "Preempt"),
    ("TerminateScheduled", "Terminate"),
    ("RedeployScheduled", "Redeploy"),
];

/// Ends the claim of a node that says it will be taken away.
pub(crate) async fn check_conditions(ctx: &Context, node: &Node) -> Result<(), Error> {
    let kind = CONDITIONS
        .iter()
        .find(|(condition, _)| node_condition(node, condition) == Some("True"))
        .map(|(_, kind)| *kind);
    let Some(kind) = kind else { return Ok(()) };
    let Some(claim) = ctx.claim_of_node(node) else {
        return Ok(());
    };
    interrupt(ctx, &claim, kind, None).await
}

/// Asks the provider for ever.
pub(crate) async fn watch_interruptions(ctx: &Context) -> ! {
    loop {
        ctx.clock.sleep(PERIOD).await;
        let has_instances = ctx
            .cluster()
            .claims()
            .any(|claim| claim.provider_id.is_some());
        if !has_instances {
            continue;
        }
        match ctx.provider.interruptions().await {
            Ok(announced) => {
                for interruption in announced {
                    if let Err(error) = take(ctx, &interruption).await {
                        tracing::warn!(error = %chain(&error), "interruption not handled");
                    }
                }
            }
            Err(error) => tracing::debug!(error = %chain(&error), "no interruptions"),
        }
    }
}

async fn take(ctx: &Context, interruption: &Interruption) -> Result<(), Error> {
    let claims = ctx.claims_of(interruption.provider_id.as_str());
    for claim in claims {
        interrupt(ctx, &claim, &interruption.kind, interruption.not_before).await?;
    }
    Ok(())
}

async fn interrupt(
    ctx: &Context,
    claim: &NodeClaim,
    kind: &str,
    not_before: Option<Timestamp>,
) -> Result<(), Error> {
    let (reason, message) = match kind {
        "Preempt" => ("SpotInterrupted", "Spot interruption warning was received"),
        "Terminate" => ("InstanceTerminating", "Instance is terminating"),
        "Redeploy" => ("InstanceRedeploying", "Instance is redeploying"),
        // A reboot or a freeze keeps the instance.
        _ => return Ok(()),
    };
    if is_deleting(claim) || !ctx.is_managed(&claim.spec.node_class_ref) {
        return Ok(());
    }
    ctx.events.publish(
        claim,
        Note::warning(reason, message.to_owned()).once_per_object(),
    );
    // The drain must be over when the instance goes.
    if let Some(deadline) = not_before
        && annotation(claim, labels::TERMINATION_TIMESTAMP).is_none()
        && claim.is_condition_true("Registered")
    {
        let patch = json!({
            "metadata": {
                "annotations": { labels::TERMINATION_TIMESTAMP: deadline.to_string() }
            }
        });
        if ctx.patch_claim(claim, patch, Guard::None).await?.is_none() {
            return Ok(());
        }
    }
    ctx.delete_claim(claim).await?;
    let message = "Interruption triggered termination for the NodeClaim".to_owned();
    ctx.events.publish(
        claim,
        Note::warning("TerminatingOnInterruption", message).once_per_object(),
    );
    tracing::info!(
        nodeclaim = claim_name(claim),
        kind,
        "deleted nodeclaim ahead of interruption"
    );
    ctx.metrics
        .claim_disrupted(&Disrupted::forceful(claim, "interrupted"));
    Ok(())
}
