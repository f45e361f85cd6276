//! The value of an expression at one instant.

use fake_apiserver_components::api::Object;
use fake_arm_cloud::{VmState, VmView};
use serde_json::Value;

use crate::format::{Comparison, Expression, Filter, Observable};
use crate::observe::{CAPACITY_LABEL, Observation, POOL_LABEL, POOL_TAG, is_of_pool, resources};

/// Whether an expression holds.
pub fn holds(expression: &Expression, observation: &Observation<'_>) -> bool {
    let compared = expression.all.iter().all(|comparison| {
        comparison
            .operator
            .holds(evaluate(comparison, observation), comparison.value)
    });
    compared
        && expression
            .cel
            .as_ref()
            .is_none_or(|cel| super::cel::value(cel, observation) == Ok(true))
}

/// The left side of a comparison.
pub fn evaluate(comparison: &Comparison, observation: &Observation<'_>) -> i64 {
    let filters = comparison.filters.as_slice();
    match comparison.observable {
        Observable::Nodes => nodes(observation, filters, |_| true),
        Observable::NodesReady => nodes(observation, filters, |node| is_true(node, "Ready")),
        Observable::NodesCordoned => nodes(observation, filters, |node| {
            node.value()["spec"]["unschedulable"] == true
        }),
        Observable::Claims => claims(observation, filters, false),
        Observable::ClaimsReady => claims(observation, filters, true),
        Observable::Pods => pods(observation, filters, None),
        Observable::PodsRunning => pods(observation, filters, Some("Running")),
        Observable::PodsPending => pods(observation, filters, Some("Pending")),
        Observable::Vms => count(vms(observation, filters)),
        Observable::Nics => count(observation.cloud.pool_nics()),
        Observable::Disks => count(observation.cloud.pool_disks()),
        Observable::Cost => {
            let sum: u64 = vms(observation, filters)
                .map(|vm| vm.price_per_hour.0)
                .sum();
            i64::try_from(sum).unwrap_or(i64::MAX)
        }
        Observable::Events => events(observation, filters),
        Observable::Conditions => conditions(observation, filters),
        Observable::Launches => count(ever(observation, filters)),
        Observable::Terminations => {
            count(ever(observation, filters).filter(|vm| vm.state == VmState::Gone))
        }
        Observable::Preemptions => {
            count(ever(observation, filters).filter(|vm| vm.evicted_at.is_some()))
        }
        Observable::Evictions => count(
            observation
                .objects
                .evicted()
                .filter(|pod| filters.iter().all(|filter| pod_matches(pod, filter))),
        ),
        Observable::Requests => i64::try_from(observation.requests).unwrap_or(i64::MAX),
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> i64 {
    i64::try_from(items.count()).unwrap_or(i64::MAX)
}

fn label<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    object.value()["metadata"]["labels"][key].as_str()
}

/// The label behind a short filter name.
fn machine_label(key: &str) -> &str {
    match key {
        "pool" => POOL_LABEL,
        "size" => "node.kubernetes.io/instance-type",
        "zone" => "topology.kubernetes.io/zone",
        "capacity" => CAPACITY_LABEL,
        other => other,
    }
}

fn machine_matches(object: &Object, filters: &[Filter]) -> bool {
    filters.iter().all(|filter| {
        if filter.key == "name" {
            return object.name() == filter.value;
        }
        label(object, machine_label(&filter.key)) == Some(&filter.value)
    })
}

/// Whether a condition has the status True.
pub(crate) fn is_true(object: &Object, condition: &str) -> bool {
    conditions_of(object).any(|entry| entry["type"] == condition && entry["status"] == "True")
}

pub(crate) fn conditions_of(object: &Object) -> impl Iterator<Item = &Value> {
    object.value()["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
}

fn nodes(
    observation: &Observation<'_>,
    filters: &[Filter],
    wanted: impl Fn(&Object) -> bool,
) -> i64 {
    count(observation.objects.all(resources::NODES).filter(|node| {
        label(node, POOL_LABEL).is_some() && wanted(node) && machine_matches(node, filters)
    }))
}

fn claims(observation: &Observation<'_>, filters: &[Filter], ready: bool) -> i64 {
    count(
        observation
            .objects
            .all(resources::CLAIMS)
            .filter(|claim| (!ready || is_true(claim, "Ready")) && machine_matches(claim, filters)),
    )
}

fn pods(observation: &Observation<'_>, filters: &[Filter], phase: Option<&str>) -> i64 {
    let system = !filters.iter().any(|filter| filter.key == "namespace");
    count(observation.objects.all(resources::PODS).filter(|pod| {
        if system && pod.namespace() == "kube-system" {
            return false;
        }
        let value = pod.value();
        let in_phase = phase.is_none_or(|phase| {
            value["status"]["phase"] == phase && value["metadata"]["deletionTimestamp"].is_null()
        });
        in_phase && filters.iter().all(|filter| pod_matches(pod, filter))
    }))
}

fn pod_matches(pod: &Object, filter: &Filter) -> bool {
    match filter.key.as_str() {
        "namespace" => pod.namespace() == filter.value,
        "name" => pod.name() == filter.value,
        "node" => pod.value()["spec"]["nodeName"].as_str() == Some(&filter.value),
        key => label(pod, key) == Some(&filter.value),
    }
}

fn vms<'a>(
    observation: &'a Observation<'_>,
    filters: &'a [Filter],
) -> impl Iterator<Item = &'a VmView> {
    observation
        .cloud
        .pool_vms()
        .filter(|vm| filters.iter().all(|filter| vm_matches(vm, filter)))
}

/// Machines that exist or existed.
fn ever<'a>(
    observation: &'a Observation<'_>,
    filters: &'a [Filter],
) -> impl Iterator<Item = &'a VmView> {
    let of_pools = observation.cloud.vms.iter().filter(|vm| is_of_pool(vm));
    of_pools.filter(|vm| filters.iter().all(|filter| vm_matches(vm, filter)))
}

fn vm_matches(vm: &VmView, filter: &Filter) -> bool {
    match filter.key.as_str() {
        "pool" => vm.tags.get(POOL_TAG) == Some(&filter.value),
        "size" => vm.size == filter.value,
        "zone" => vm.zone == filter.value,
        "capacity" => vm.capacity_type.as_str() == filter.value,
        "name" => vm.name == filter.value,
        // Tag names cannot hold a slash.
        key => vm.tags.get(&key.replace('/', "_")) == Some(&filter.value),
    }
}

fn events(observation: &Observation<'_>, filters: &[Filter]) -> i64 {
    let matching = observation.objects.all(resources::EVENTS).filter(|event| {
        let value = event.value();
        filters.iter().all(|filter| {
            let found = match filter.key.as_str() {
                "message" => return contains(&value["message"], &filter.value),
                "reason" => value["reason"].as_str(),
                "type" => value["type"].as_str(),
                "kind" => value["involvedObject"]["kind"].as_str(),
                _ => value["involvedObject"]["name"].as_str(),
            };
            found == Some(&filter.value)
        })
    });
    matching
        .map(|event| event.value()["count"].as_i64().unwrap_or(1).max(1))
        .sum()
}

fn contains(text: &Value, part: &str) -> bool {
    text.as_str().is_some_and(|text| text.contains(part))
}

fn conditions(observation: &Observation<'_>, filters: &[Filter]) -> i64 {
    let kinds = [
        ("NodeClaim", resources::CLAIMS),
        ("NodePool", resources::POOLS),
        ("AKSNodeClass", resources::CLASSES),
        ("Node", resources::NODES),
        ("Pod", resources::PODS),
    ];
    let wanted = |key: &str| {
        filters
            .iter()
            .find(|filter| filter.key == key)
            .map(|it| &*it.value)
    };
    let mut total = 0;
    for (kind, resource) in kinds {
        if wanted("kind").is_some_and(|wanted| wanted != kind) {
            continue;
        }
        for object in observation.objects.all(resource) {
            if wanted("name").is_some_and(|name| name != object.name()) {
                continue;
            }
            total += count(conditions_of(object).filter(|condition| {
                let said =
                    wanted("message").is_none_or(|text| contains(&condition["message"], text));
                said && ["type", "status", "reason"].iter().all(|field| {
                    wanted(field).is_none_or(|value| condition[field].as_str() == Some(value))
                })
            }));
        }
    }
    total
}
