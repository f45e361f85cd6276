//! Instances that the cloud has announced to take away: their nodes are drained ahead of it.
//!
//! The announcement arrives as a condition on the Node (AKS's node problem detector reads the
//! instance metadata service) or from the provider.

use std::time::Duration;

use controller_api::conditions::Conditioned;
use controller_api::karpenter::v1::NodeClaim;
use controller_api::labels;
use controller_core::mutants::{self, Mutant};
use controller_ports::Interruption;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, chain};
use crate::events::Note;
use crate::metrics::Disrupted;
use crate::nodeclaim::claim_name;
use crate::objects::{annotation, is_deleting};
use crate::writes::Guard;

/// How often the provider is asked what became of spot instances, while anything happens in the
/// cluster. The announcement itself arrives as a condition.
const PERIOD: Duration = Duration::from_secs(30);
/// How often while nothing happens: the node of an instance that is gone stops being ready, and that
/// is a change.
const QUIET_PERIOD: Duration = Duration::from_mins(30);

/// Node conditions that announce an interruption, and its kind
/// (`Azure/AKS` node auto-repair, "node-problem-detector" scheduled events).
const CONDITIONS: [(&str, &str); 3] = [
    ("PreemptionScheduled", "Preempt"),
    ("TerminateScheduled", "Terminate"),
    ("RedeployScheduled", "Redeploy"),
];

/// Ends the claim of a node that says it will be taken away.
pub(crate) async fn check_conditions(ctx: &Context, node: &Node) -> Result<(), Error> {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let announced = conditions
        .filter(|condition| condition.status == "True")
        .find_map(|c| {
            let (_, kind) = CONDITIONS.iter().find(|(type_, _)| *type_ == c.type_)?;
            Some((*kind, deadline(c.message.as_deref().unwrap_or_default())))
        });
    let Some((kind, not_before)) = announced else {
        return Ok(());
    };
    let Some(claim) = ctx.claim_of_node(node) else {
        return Ok(());
    };
    interrupt(ctx, &claim, kind, not_before).await
}

/// The time in a condition's message, when it names one.
fn deadline(message: &str) -> Option<Timestamp> {
    message
        .split_whitespace()
        .find_map(|word| word.trim_matches(['.', ',']).parse().ok())
}

/// Asks the provider for ever.
pub(crate) async fn watch_interruptions(ctx: &Context) -> ! {
    loop {
        ctx.rest(PERIOD, QUIET_PERIOD).await;
        let is_spot = |claim: &controller_cluster::ClaimRecord| {
            claim
                .labels
                .get(labels::CAPACITY_TYPE)
                .is_some_and(|value| &**value == "spot")
        };
        if !ctx.cluster().claims().any(is_spot) {
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
        && !mutants::is(Mutant::NoticeWithoutDeadline)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_is_read_from_the_message() {
        let time = "2026-01-01T00:00:30Z".parse().expect("a time");
        let message = "Preempt scheduled not before 2026-01-01T00:00:30Z";
        assert_eq!(deadline(message), Some(time));
        assert_eq!(deadline("soon"), None);
    }
}
