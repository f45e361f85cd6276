//! What a pool's nodes add up to, in the pool's status.
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/nodepool/counter/controller.go`.

use std::collections::BTreeMap;
use std::time::Duration;

use controller_api::karpenter::v1::{NodePool, ResourceList};
use controller_api::labels;
use controller_cluster::{ClusterState, resources_from_list, resources_to_list};
use controller_core::model::NodePoolName;
use controller_core::quantity::{CPU, Resources};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use serde_json::{Map, Value, json};

use super::patch_status;
use crate::context::Context;
use crate::error::chain;

/// Changes are collected for this long before they are counted; upstream counts every 5 s.
const PERIOD: Duration = Duration::from_secs(5);

/// Resources a status always shows, zeros included.
const ALWAYS: [&str; 4] = ["cpu", "memory", "pods", "ephemeral-storage"];

/// Counts whenever something changed, for ever.
pub(crate) async fn count(ctx: &Context) -> ! {
    loop {
        for pool in ctx.managed_pools() {
            if let Err(error) = count_pool(ctx, &pool).await {
                // The next change counts again.
                tracing::warn!(
                    nodepool = pool.name_any(), error = %chain(&error), "nodes not counted"
                );
            }
        }
        let nodes = tracked(&ctx.cluster());
        ctx.metrics.mirror(nodes, ctx.unlaunched().is_empty());
        ctx.wakes.counter.notified().await;
        ctx.clock.sleep(PERIOD).await;
    }
}

/// Nodes, and machines of claims that have no node yet: what upstream's cluster state holds.
fn tracked(cluster: &ClusterState) -> usize {
    let lone = cluster.claims().filter(|claim| {
        claim.provider_id.is_some() && cluster.node_of_claim(&claim.view.name).is_none()
    });
    cluster.nodes().count() + lone.count()
}

async fn count_pool(ctx: &Context, pool: &NodePool) -> Result<(), crate::error::Error> {
    let name = pool.name_any();
    let (usage, nodes) = usage(&ctx.cluster(), &NodePoolName::new(&*name));
    publish(ctx, pool, &usage, nodes);
    let wanted = status_list(&usage, nodes);
    let known = pool
        .status
        .as_ref()
        .and_then(|status| status.resources.as_ref());
    let known_nodes = pool.status.as_ref().and_then(|status| status.nodes);
    if known == Some(&wanted) && known_nodes == Some(nodes) {
        return Ok(());
    }
    let mut resources: Map<String, Value> = known
        .into_iter()
        .flatten()
        .map(|(resource, _)| (resource.clone(), Value::Null))
        .collect();
    resources.extend(
        wanted
            .into_iter()
            .map(|(resource, amount)| (resource, amount.0.into())),
    );
    let patch = json!({ "status": { "resources": resources, "nodes": nodes } });
    patch_status(ctx, &name, &patch).await?;
    Ok(())
}

/// Capacity and number of the pool's nodes that are not going.
fn usage(cluster: &ClusterState, pool: &NodePoolName) -> (Resources, i64) {
    let mut sum = Resources::default();
    let mut nodes = 0;
    for claim in cluster.claims() {
        if claim.view.pool != *pool || claim.view.deleting || claim.instance_terminating {
            continue;
        }
        let Some(id) = &claim.provider_id else {
            continue;
        };
        let node = cluster
            .node_with(id)
            .filter(|node| node.has_flag(labels::INITIALIZED));
        sum.add_assign(node.map_or(&claim.capacity, |node| &node.capacity));
        nodes += 1;
    }
    (sum, nodes)
}

fn status_list(usage: &Resources, nodes: i64) -> ResourceList {
    let mut list: BTreeMap<String, Quantity> = resources_to_list(usage);
    for resource in ALWAYS {
        list.entry(resource.to_owned())
            .or_insert_with(|| Quantity("0".to_owned()));
    }
    list.insert("nodes".to_owned(), Quantity(nodes.to_string()));
    list
}

#[expect(
    clippy::cast_precision_loss,
    reason = "metrics are floating-point by format"
)]
fn publish(ctx: &Context, pool: &NodePool, usage: &Resources, nodes: i64) {
    let whole = |resource: &str, amount: i64| {
        let value = amount as f64;
        (
            resource.replace('-', "_"),
            if resource == CPU {
                value / 1000.0
            } else {
                value
            },
        )
    };
    let amounts = |resources: &Resources| -> Vec<(String, f64)> {
        resources
            .iter()
            .map(|(resource, amount)| whole(resource, amount))
            .collect()
    };
    let mut used = amounts(usage);
    used.push(("nodes".to_owned(), nodes as f64));
    let limits = pool.spec.limits.as_ref().map(resources_from_list);
    let limits = limits
        .and_then(Result::ok)
        .map(|limits| amounts(&limits))
        .unwrap_or_default();
    ctx.metrics.pool(&pool.name_any(), &used, &limits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_pool_shows_zeros() {
        let list = status_list(&Resources::default(), 0);
        let text: Vec<String> = list
            .iter()
            .map(|(key, value)| format!("{key}={}", value.0))
            .collect();
        assert_eq!(
            text,
            [
                "cpu=0",
                "ephemeral-storage=0",
                "memory=0",
                "nodes=0",
                "pods=0"
            ]
        );
        let usage = Resources {
            cpu_milli: 1500,
            ..Resources::default()
        };
        assert_eq!(status_list(&usage, 2)["cpu"].0, "1500m");
    }
}
