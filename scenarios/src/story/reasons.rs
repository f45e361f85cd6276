//! Why this size: what else the NodeClaim allowed, and what that would have cost.

use fake_apiserver_components::api::Object;
use fake_arm_cloud::{CapacityType, Catalog, VmView};
use serde_json::Value;

use crate::story::render::money;

/// Values of an `In` requirement.
fn allowed<'a>(claim: &'a Value, key: &str) -> Option<Vec<&'a str>> {
    let requirements = claim["spec"]["requirements"].as_array()?;
    let found = requirements
        .iter()
        .find(|it| it["key"] == key && it["operator"] == "In")?;
    Some(
        found["values"]
            .as_array()?
            .iter()
            .filter_map(Value::as_str)
            .collect(),
    )
}

/// One sentence about the choice of a machine.
pub(super) fn why_this_size(catalog: &Catalog, claim: &Object, vm: &VmView) -> String {
    let claim = claim.value();
    let sizes = allowed(claim, "node.kubernetes.io/instance-type").unwrap_or_default();
    let types = allowed(claim, "karpenter.sh/capacity-type")
        .unwrap_or_else(|| vec![CapacityType::OnDemand.as_str()]);
    let mut offers: Vec<(u64, &str, &str)> = Vec::new();
    for size in sizes.iter().filter_map(|name| catalog.size(name)) {
        for kind in [CapacityType::Spot, CapacityType::OnDemand] {
            if let Some(price) = size.price(kind).filter(|_| types.contains(&kind.as_str())) {
                offers.push((price.0, size.name, kind.as_str()));
            }
        }
    }
    offers.sort_unstable();
    let paid = catalog
        .size(&vm.size)
        .and_then(|size| size.price(vm.capacity_type))
        .map_or(0, |price| price.0);
    let chosen = (vm.size.as_str(), vm.capacity_type.as_str());
    let cheaper: Vec<&(u64, &str, &str)> = offers
        .iter()
        .filter(|(price, size, kind)| *price < paid && (*size, *kind) != chosen)
        .collect();
    let fits = requested(claim);
    match (
        cheaper.first(),
        offers.iter().find(|(price, ..)| *price > paid),
    ) {
        (Some((price, size, kind)), _) => format!(
            "{} of {} offers that hold {fits} cost less but were not to be had, first {size} {kind} at {}",
            cheaper.len(),
            offers.len(),
            money(*price)
        ),
        (None, Some((price, size, kind))) => format!(
            "cheapest of {} offers that hold {fits}; next {size} {kind} at {}",
            offers.len(),
            money(*price)
        ),
        (None, None) => format!("the only offer that holds {fits}"),
    }
}

/// What a claim asks for, in words.
pub(super) fn requested(claim: &Value) -> String {
    let requests = &claim["spec"]["resources"]["requests"];
    let part = |key: &str| requests[key].as_str().map(str::to_owned);
    let mut parts = Vec::new();
    parts.extend(part("cpu").map(|cpu| format!("{cpu} CPU")));
    parts.extend(part("memory"));
    parts.extend(part("nvidia.com/gpu").map(|gpus| format!("{gpus} GPU")));
    parts.extend(part("pods").map(|pods| format!("{pods} pods")));
    if parts.is_empty() {
        "the request".to_owned()
    } else {
        parts.join(", ")
    }
}
