//! Nodes that stay unhealthy are replaced (feature gate `NodeRepair`).
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/node/health/controller.go`. Budgets,
//! do-not-disrupt and termination grace periods hold for disruptions; this is none.

use std::sync::Arc;
use std::time::Duration;

use controller_api::karpenter::v1::NodeClaim;
use controller_api::labels;
use controller_core::lifecycle::{Ailment, first_due, may_repair};
use controller_ports::RepairPolicy;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use serde_json::json;

use crate::context::Context;
use crate::error::Error;
use crate::events::Note;
use crate::metrics::Disrupted;
use crate::nodeclaim::claim_name;
use crate::objects::{annotation, is_deleting, label};
use crate::queue::Next;
use crate::writes::Guard;

/// When a repair that was blocked is looked at again; upstream's.
const BLOCKED: Duration = Duration::from_mins(5);
/// How often that is told; upstream's.
const BLOCKED_EVENT: Duration = Duration::from_mins(15);

/// Ends the claim of a node that has been unhealthy for longer than is tolerated.
pub(super) async fn repair(ctx: &Context, node: &Node) -> Result<Next, Error> {
    let policies = ctx.provider.repair_policies();
    if !ctx.options.gates.node_repair {
        return Ok(Next::OnChange);
    }
    let Some(ailment) = first_due(ailments(node, policies)) else {
        return Ok(Next::OnChange);
    };
    let Some(claim) = ctx
        .claim_of_node(node)
        .filter(|claim| !is_deleting(&**claim))
    else {
        return Ok(Next::OnChange);
    };
    if ctx.now() < ailment.due() {
        return Ok(ctx.at(ailment.due()));
    }
    if let Err(message) = check_others(ctx, &claim, policies) {
        let note = Note::warning("NodeRepairBlocked", message);
        ctx.events
            .publish(node, note.once_per_object().every(BLOCKED_EVENT));
        return Ok(Next::After(BLOCKED));
    }
    end(ctx, node, &claim, ailment.condition).await?;
    Ok(Next::OnChange)
}

/// Conditions of a node that a policy calls unhealthy.
fn ailments<'a>(node: &'a Node, policies: &[RepairPolicy]) -> Vec<Ailment<'a>> {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let matching = conditions.flat_map(|condition| {
        policies
            .iter()
            .filter(|policy| {
                policy.condition_type == condition.type_
                    && policy.condition_status == condition.status
            })
            .map(|policy| Ailment {
                condition: &condition.type_,
                since: condition
                    .last_transition_time
                    .as_ref()
                    .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
                toleration: policy.toleration,
            })
    });
    matching.collect()
}

/// Whether too many of the nodes beside it are unhealthy as well: those of its pool, or all when it
/// has none.
fn check_others(
    ctx: &Context,
    claim: &NodeClaim,
    policies: &[RepairPolicy],
) -> Result<(), &'static str> {
    let pool = label(claim, labels::NODEPOOL);
    let nodes: Vec<Arc<Node>> = {
        let objects = ctx.objects();
        let of_pool =
            |node: &&Arc<Node>| pool.is_none() || label(&***node, labels::NODEPOOL) == pool;
        objects.nodes.values().filter(of_pool).cloned().collect()
    };
    let is_unhealthy = |node: &&Arc<Node>| !ailments(node, policies).is_empty();
    let unhealthy = nodes.iter().filter(is_unhealthy).count();
    if may_repair(unhealthy, nodes.len()) {
        Ok(())
    } else if pool.is_some() {
        Err("more than 20% nodes are unhealthy in the nodepool")
    } else {
        Err("more then 20% nodes are unhealthy in the cluster")
    }
}

async fn end(ctx: &Context, node: &Node, claim: &NodeClaim, condition: &str) -> Result<(), Error> {
    let now = ctx.now();
    // Nobody answers on such a node: its drain ends at once. An end in the past has been reached.
    let is_past = annotation(claim, labels::TERMINATION_TIMESTAMP)
        .and_then(|text| text.parse::<Timestamp>().ok())
        .is_some_and(|deadline| deadline < now);
    if !is_past {
        let deadline = Timestamp::from_second(now.as_second()).unwrap_or(now);
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
    tracing::info!(
        nodeclaim = claim_name(claim),
        node = node.name_any(),
        condition,
        "deleting unhealthy node"
    );
    ctx.metrics
        .claim_disrupted(&Disrupted::forceful(claim, "unhealthy"));
    ctx.metrics.claim_unhealthy(claim, &snake(condition));
    Ok(())
}

/// `kubernetes.azure.com/NodeHealthy` → `kubernetes_azure_com_node_healthy`.
fn snake(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 4);
    let mut before = '_';
    for character in text.chars() {
        let is_break = character.is_ascii_uppercase() && before.is_ascii_lowercase();
        let next = if character.is_ascii_alphanumeric() {
            character.to_ascii_lowercase()
        } else {
            '_'
        };
        if is_break {
            result.push('_');
        }
        if next != '_' || !result.ends_with('_') {
            result.push(next);
        }
        before = character;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_spell_conditions_in_snake_case() {
        assert_eq!(snake("Ready"), "ready");
        assert_eq!(
            snake("kubernetes.azure.com/NodeHealthy"),
            "kubernetes_azure_com_node_healthy"
        );
    }

    #[test]
    fn a_policy_matches_type_and_status() {
        let policies = [RepairPolicy {
            condition_type: "Ready",
            condition_status: "Unknown",
            toleration: Duration::from_mins(10),
        }];
        let node = |status: &str| -> Node {
            serde_json::from_value(json!({"status": {"conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": "1970-01-01T00:00:05Z"},
                {"type": "DiskPressure", "status": "Unknown"},
            ]}}))
            .expect("a node")
        };
        assert_eq!(ailments(&node("True"), &policies), []);
        let unknown = node("Unknown");
        let found = ailments(&unknown, &policies);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].due().as_second(), 605);
    }
}
