//! Which offering to ask for: the cheapest that fits
//! (`Azure/karpenter-provider-azure` `pkg/providers/allocationstrategy`).

use std::cmp::Ordering;

use controller_api::labels;
use controller_core::model::{CapacityType, InstanceType, Offering};
use controller_core::quantity::Resources;
use controller_core::requirements::{Operator, RequirementSpec, Requirements, UndefinedKeys};
use controller_ports::Entropy;
use rand_core::Rng;

use crate::zones;

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) instance_type: &'a InstanceType,
    pub(crate) offering: &'a Offering,
}

/// What a claim demands of its machine.
#[derive(Debug)]
pub(crate) struct Demand<'a> {
    pub(crate) claim: &'a str,
    pub(crate) requirements: Requirements,
    pub(crate) requests: &'a Resources,
}

/// The cheapest available offering that meets the demand. Equal offerings are drawn by lot, from
/// a stream of the claim's own, so that claims spread over zones and a repeated try of one claim
/// chooses alike.
pub(crate) fn choose<'a>(
    list: &'a [InstanceType],
    demand: &Demand<'_>,
    entropy: &Entropy,
) -> Option<Choice<'a>> {
    let mut lots = entropy.stream(demand.claim);
    let mut best: Option<(Choice<'a>, u64)> = None;
    for instance_type in list
        .iter()
        .filter(|instance_type| meets(instance_type, demand))
    {
        for offering in instance_type
            .offerings
            .iter()
            .filter(|offering| offering.available)
        {
            if !offering_meets(offering, demand) {
                continue;
            }
            let choice = Choice {
                instance_type,
                offering,
            };
            let lot = lots.next_u64();
            let is_better = best.is_none_or(|(known, known_lot)| {
                order(&choice, &known).then(lot.cmp(&known_lot)).is_lt()
            });
            if is_better {
                best = Some((choice, lot));
            }
        }
    }
    best.map(|(choice, _)| choice)
}

/// Price first; spot, then zonal, at equal price; then the name.
fn order(a: &Choice<'_>, b: &Choice<'_>) -> Ordering {
    let rank = |choice: &Choice<'_>| {
        let offering = choice.offering;
        (
            offering.price,
            offering.capacity_type != CapacityType::Spot,
            offering.zone.as_str() == zones::REGIONAL,
        )
    };
    rank(a)
        .cmp(&rank(b))
        .then_with(|| a.instance_type.name.cmp(&b.instance_type.name))
}

fn meets(instance_type: &InstanceType, demand: &Demand<'_>) -> bool {
    // The name first: it rules out most of some seven hundred sizes at once.
    if !demand
        .requirements
        .has(labels::INSTANCE_TYPE, instance_type.name.as_str())
    {
        return false;
    }
    let offered = Requirements::from_specs(&instance_type.requirements);
    demand
        .requirements
        .compatible(&offered, UndefinedKeys::WellKnownAllowed)
        .is_ok()
        && demand.requests.fits(&allocatable(instance_type))
}

fn offering_meets(offering: &Offering, demand: &Demand<'_>) -> bool {
    let offered = Requirements::from_specs(&offering_requirements(offering));
    demand
        .requirements
        .compatible(&offered, UndefinedKeys::WellKnownAllowed)
        .is_ok()
}

/// Zone, capacity type and the rest.
pub(crate) fn offering_requirements(offering: &Offering) -> Vec<RequirementSpec> {
    let mut specs = vec![
        RequirementSpec::new(labels::ZONE, Operator::In, [offering.zone.shared()]),
        RequirementSpec::new(
            labels::CAPACITY_TYPE,
            Operator::In,
            [offering.capacity_type.as_str().into()],
        ),
    ];
    specs.extend(offering.requirements.iter().cloned());
    specs
}

/// Capacity without overhead.
pub(crate) fn allocatable(instance_type: &InstanceType) -> Resources {
    let overhead = &instance_type.overhead;
    instance_type
        .capacity
        .saturating_sub(&overhead.kube_reserved)
        .saturating_sub(&overhead.system_reserved)
        .saturating_sub(&overhead.eviction_threshold)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::instancetype::tests::{key, market};
    use crate::pricing::Prices;

    fn spec(key: &str, operator: Operator, values: &[&str]) -> RequirementSpec {
        RequirementSpec::new(key, operator, values.iter().map(|&value| value.into()))
    }

    fn chosen(claim: &str, specs: &[RequirementSpec], cpu_milli: i64) -> Option<String> {
        let mut market = market();
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let items = serde_json::from_value::<Vec<crate::pricing::PriceItem>>(serde_json::json!([
            {"armSkuName": "Standard_D2s_v5", "skuName": "D2s v5 Spot", "retailPrice": 0.02},
            {"armSkuName": "Standard_D4s_v5", "skuName": "D4s v5 Spot", "retailPrice": 0.9},
        ]))
        .expect("items");
        market.set_prices(Prices::built_in("westeurope").updated(&items, now));
        let list = market.instance_types(&key(), Duration::ZERO);
        let requests = Resources {
            cpu_milli,
            ..Resources::default()
        };
        let demand = Demand {
            claim,
            requirements: Requirements::from_specs(specs),
            requests: &requests,
        };
        choose(&list, &demand, &Entropy::from_seed(1)).map(|choice| {
            format!(
                "{} {} {}",
                choice.instance_type.name,
                choice.offering.capacity_type.as_str(),
                choice.offering.zone
            )
        })
    }

    #[test]
    fn price_decides_before_capacity_type() {
        let zone = spec(labels::ZONE, Operator::In, &["westeurope-1", "0"]);
        let both = [zone.clone()];
        assert_eq!(
            chosen("a", &both, 1000).as_deref(),
            Some("Standard_D2s_v5 spot westeurope-1")
        );
        assert_eq!(
            chosen("a", &both, 3000).as_deref(),
            Some("Standard_D4s_v5 on-demand westeurope-1")
        );
        let spot = [
            zone.clone(),
            spec(labels::AKS_PRIORITY, Operator::In, &["spot"]),
        ];
        assert_eq!(
            chosen("a", &spot, 3000).as_deref(),
            Some("Standard_D4s_v5 spot westeurope-1")
        );
        let regional = [spec(labels::PLACEMENT_SCOPE, Operator::In, &["regional"])];
        assert_eq!(
            chosen("a", &regional, 1000).as_deref(),
            Some("Standard_D2s_v5 spot 0")
        );
        assert_eq!(chosen("a", &both, 300_000), None);
        assert_eq!(
            chosen("a", &[spec(labels::ARCH, Operator::In, &["arm64"])], 1),
            None
        );
    }

    #[test]
    fn equal_zones_are_drawn_by_claim() {
        let zones: BTreeSet<_> = (0..32)
            .map(|n| chosen(&format!("claim-{n}"), &[], 1000))
            .collect();
        assert_eq!(zones.len(), 3, "{zones:?}");
        assert_eq!(chosen("claim-7", &[], 1000), chosen("claim-7", &[], 1000));
    }
}
