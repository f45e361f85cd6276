//! NodePools.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_api::karpenter::v1::{
    Budget as ApiBudget, ConsolidationPolicy as ApiPolicy, NodePool as ApiPool,
};
use controller_api::labels;
use controller_core::model::{
    Budget, ConsolidationPolicy, DisruptionSpec, NodeClassName, NodePool, NodePoolName,
};
use controller_core::quantity;

use super::parts::{FieldError, Invalid, core_taints, shared_map, to_core_requirements};

/// Reads a NodePool.
pub(crate) fn pool(pool: &ApiPool) -> Result<NodePool, Invalid> {
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    convert(pool, name).map_err(|error| error.of("NodePool", name))
}

fn convert(pool: &ApiPool, name: &str) -> Result<NodePool, FieldError> {
    let template = &pool.spec.template;
    let spec = &template.spec;
    let metadata = template.metadata.as_ref();
    let ready = pool
        .status
        .iter()
        .flat_map(|status| &status.conditions)
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let hash = pool
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(labels::NODEPOOL_HASH))
        .map_or("", String::as_str);
    Ok(NodePool {
        name: NodePoolName::new(name),
        uid: Arc::from(pool.metadata.uid.as_deref().unwrap_or_default()),
        weight: pool.spec.weight.unwrap_or(0),
        ready: ready && pool.metadata.deletion_timestamp.is_none(),
        requirements: to_core_requirements(&spec.requirements),
        labels: shared_map(metadata.and_then(|metadata| metadata.labels.as_ref())),
        annotations: shared_map(metadata.and_then(|metadata| metadata.annotations.as_ref())),
        taints: core_taints(Some(spec.taints())),
        startup_taints: core_taints(Some(spec.startup_taints())),
        node_class: NodeClassName::new(&*spec.node_class_ref.name),
        node_class_group: Arc::from(&*spec.node_class_ref.group),
        node_class_kind: Arc::from(&*spec.node_class_ref.kind),
        expire_after: spec.expire_after.value(),
        termination_grace_period: spec
            .termination_grace_period
            .as_ref()
            .map(controller_api::GoDuration::value),
        limits: limits(pool)?,
        disruption: disruption(pool)?,
        hash: Arc::from(hash),
        replicas: pool
            .spec
            .replicas
            .and_then(|replicas| u32::try_from(replicas).ok()),
    })
}

fn limits(pool: &ApiPool) -> Result<BTreeMap<Arc<str>, i64>, FieldError> {
    pool.spec
        .limits
        .iter()
        .flatten()
        .map(|(resource, amount)| {
            let amount = quantity::parse(&amount.0)
                .map_err(|error| FieldError::new(format!("spec.limits.{resource}"), &error))?;
            Ok((
                Arc::from(&**resource),
                quantity::amount_of(resource, amount),
            ))
        })
        .collect()
}

fn disruption(pool: &ApiPool) -> Result<DisruptionSpec, FieldError> {
    let disruption = &pool.spec.disruption;
    Ok(DisruptionSpec {
        policy: match disruption.consolidation_policy {
            ApiPolicy::WhenEmpty => ConsolidationPolicy::WhenEmpty,
            // Balanced weighs savings against disruption; until that score exists it is the
            // policy that considers the same nodes.
            ApiPolicy::WhenEmptyOrUnderutilized | ApiPolicy::Balanced => {
                ConsolidationPolicy::WhenEmptyOrUnderutilized
            }
        },
        consolidate_after: disruption.consolidate_after.value(),
        budgets: disruption
            .budgets
            .iter()
            .enumerate()
            .map(|(index, budget)| {
                read_budget(budget).map_err(|problem| {
                    FieldError::new(format!("spec.disruption.budgets[{index}].nodes"), &problem)
                })
            })
            .collect::<Result<_, _>>()?,
    })
}

fn read_budget(budget: &ApiBudget) -> Result<Budget, String> {
    let number = |text: &str| {
        text.parse::<u32>()
            .map_err(|_error| format!("{text:?} is neither a count nor a percentage"))
    };
    Ok(Budget {
        nodes: match budget.nodes.strip_suffix('%') {
            Some(percent) => Err(number(percent)?),
            None => Ok(number(&budget.nodes)?),
        },
        reasons: budget
            .reasons
            .iter()
            .flatten()
            .map(|reason| Arc::from(reason.as_str()))
            .collect(),
        schedule: budget.schedule.as_deref().map(Arc::from),
        duration: budget
            .duration
            .as_ref()
            .map(controller_api::GoDuration::value),
    })
}
