//! Instance types: which sizes a NodeClass can use, what they have, what they cost, and whether
//! they can be had now.

mod build;
mod capacity;
mod gpus;
mod size_name;
mod sku;
mod unavailable;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use controller_core::model::{CapacityType, InstanceType, InstanceTypeName, Zone};
use controller_core::mutants::{self, Mutant};

use crate::class::ClassKey;
use crate::error::{Block, Reaction};
use crate::pricing::Prices;
use crate::quota::Quota;
use crate::zones;

pub(crate) use build::{Surroundings, build};
pub(crate) use capacity::EVICTION_MEMORY_MIB;
pub(crate) use sku::{Sku, SkuItem};
pub(crate) use unavailable::UnavailableOfferings;

/// Lists kept: one per kind of NodeClass in use; clusters have a handful.
const LISTS_MAX: usize = 16;

/// What a list was made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Generation {
    skus: u64,
    prices: u64,
    unavailable: u64,
    quota: u64,
}

/// Everything known of what can be bought, and the lists made of it.
#[derive(Debug)]
pub(crate) struct Market {
    surroundings: Surroundings,
    skus: BTreeMap<InstanceTypeName, Arc<Sku>>,
    skus_changed: u64,
    prices: Prices,
    prices_changed: u64,
    pub(crate) unavailable: UnavailableOfferings,
    pub(crate) quota: Quota,
    lists: BTreeMap<ClassKey, (Generation, Arc<Vec<InstanceType>>)>,
}

impl Market {
    pub(crate) fn new(surroundings: Surroundings) -> Self {
        let prices = Prices::built_in(&surroundings.region);
        Self {
            surroundings,
            skus: BTreeMap::new(),
            skus_changed: 0,
            prices,
            prices_changed: 0,
            unavailable: UnavailableOfferings::default(),
            quota: Quota::default(),
            lists: BTreeMap::new(),
        }
    }

    /// Takes in a SKU list; gives the number of usable sizes.
    pub(crate) fn set_skus(&mut self, items: &[SkuItem]) -> usize {
        let region = &self.surroundings.region;
        let usable = items.iter().filter_map(|item| item.usable(region));
        let skus: BTreeMap<_, _> = usable
            .map(|sku| (sku.name.clone(), Arc::new(sku)))
            .collect();
        if skus != self.skus {
            self.skus = skus;
            self.quota.set_sizes(self.skus.values().map(|sku| &**sku));
            self.skus_changed += 1;
        }
        self.skus.len()
    }

    pub(crate) fn prices(&self) -> &Prices {
        &self.prices
    }

    pub(crate) fn set_prices(&mut self, prices: Prices) {
        if prices != self.prices {
            self.prices = prices;
            self.prices_changed += 1;
        }
    }

    pub(crate) fn sku(&self, name: &str) -> Option<Arc<Sku>> {
        self.skus.get(&InstanceTypeName::from(name)).cloned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.skus.is_empty()
    }

    /// The instance types for a kind of NodeClass; built anew only when something changed.
    pub(crate) fn instance_types(
        &mut self,
        key: &ClassKey,
        now: Duration,
    ) -> Arc<Vec<InstanceType>> {
        self.unavailable.sweep(now);
        self.quota.expire(now);
        let generation = Generation {
            skus: self.skus_changed,
            prices: self.prices_changed,
            unavailable: self.unavailable.sequence(),
            quota: self.quota.sequence(),
        };
        if let Some((made, list)) = self.lists.get(key)
            && *made == generation
        {
            return Arc::clone(list);
        }
        let list: Vec<InstanceType> = self
            .skus
            .values()
            .filter_map(|sku| build(sku, key, &self.surroundings, self))
            .collect();
        // Equal lists stay the same list: what was compiled of it need not be compiled again.
        let list = match self.lists.remove(key) {
            Some((_, old)) if *old == list => old,
            _ => Arc::new(list),
        };
        if self.lists.len() >= LISTS_MAX {
            self.lists.clear();
        }
        self.lists
            .insert(key.clone(), (generation, Arc::clone(&list)));
        list
    }

    /// Whether an offering can be had, as far as is known.
    fn is_available(&self, sku: &Sku, zone: &Zone, capacity: CapacityType) -> bool {
        let is_sold = capacity != CapacityType::Spot || sku.is_spot_capable;
        is_sold
            && !self.unavailable.is_unavailable(sku, zone, capacity)
            && self.quota.has_room(sku, capacity)
    }

    /// Remembers what a refusal says about offerings.
    pub(crate) fn block(
        &mut self,
        sku: &Sku,
        (zone, capacity): (&Zone, CapacityType),
        reaction: &Reaction,
        now: Duration,
    ) {
        let mut ttl = reaction.ttl;
        if mutants::is(Mutant::RefusalsForgotten) {
            ttl = ttl.min(Duration::from_secs(30));
        }
        let until = now + ttl;
        let is_regional = zone.as_str() == zones::REGIONAL;
        let regional = Zone::from(zones::REGIONAL);
        let all: Vec<Zone> = build::zone_labels(sku, &self.surroundings.region).collect();
        let in_scope = |zone: &&Zone| (zone.as_str() == zones::REGIONAL) == is_regional;
        let both = [CapacityType::OnDemand, CapacityType::Spot];
        let (placements, capacities): (Vec<&Zone>, &[CapacityType]) = match reaction.block {
            Block::Nothing => return,
            Block::AllSpot => {
                self.unavailable.mark_all_spot(until);
                return;
            }
            Block::EveryPlacement => (all.iter().collect(), &[capacity]),
            Block::EveryPlacementBoth => (all.iter().collect(), &both),
            Block::Scope => (all.iter().filter(in_scope).collect(), &[capacity]),
            Block::ScopeBoth => (all.iter().filter(in_scope).collect(), &both),
            Block::Zone => (
                vec![if is_regional { &regional } else { zone }],
                &[capacity],
            ),
            Block::ZoneBoth => (vec![if is_regional { &regional } else { zone }], &both),
        };
        for placement in placements {
            for &capacity in capacities {
                self.unavailable.mark(sku, placement, capacity, until);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::class::Needs;
    use crate::instancetype::sku::tests::item;

    pub(crate) fn sku_item(name: &str, cores: u32) -> SkuItem {
        let cores_text = cores.to_string();
        let memory = (cores * 4).to_string();
        item(
            name,
            "standardDSv5Family",
            &["1", "2", "3"],
            &[
                ("vCPUs", &cores_text),
                ("MemoryGB", &memory),
                ("LowPriorityCapable", "True"),
                ("AcceleratedNetworkingEnabled", "True"),
                ("PremiumIO", "True"),
                ("HyperVGenerations", "V1,V2"),
                ("CpuArchitectureType", "x64"),
            ],
        )
    }

    pub(crate) fn sku(name: &str, cores: u32) -> Sku {
        sku_item(name, cores).usable("westeurope").expect("usable")
    }

    pub(crate) fn market() -> Market {
        let mut market = Market::new(Surroundings {
            region: "westeurope".to_owned(),
            cluster_label: "MC_rg".to_owned(),
            memory_overhead: 0.075,
        });
        market.set_skus(&[
            sku_item("Standard_D2s_v5", 2),
            sku_item("Standard_D4s_v5", 4),
            sku_item("Standard_D8s_v5", 8),
        ]);
        market
    }

    pub(crate) fn key() -> ClassKey {
        ClassKey {
            is_azure_linux: false,
            os_disk_gb: 128,
            max_pods: 250,
            needs: Needs {
                gpu_driver: true,
                ..Needs::default()
            },
        }
    }

    fn available(list: &[InstanceType], name: &str) -> Vec<String> {
        let found = list
            .iter()
            .find(|it| it.name.as_str() == name)
            .expect("listed");
        found
            .offerings
            .iter()
            .filter(|offering| offering.available)
            .map(|offering| format!("{}/{}", offering.zone, offering.capacity_type.as_str()))
            .collect()
    }

    #[test]
    fn lists_are_shared_until_something_changes() {
        let mut market = market();
        let first = market.instance_types(&key(), Duration::ZERO);
        assert!(Arc::ptr_eq(
            &first,
            &market.instance_types(&key(), Duration::ZERO)
        ));
        let sku = market.sku("Standard_D4s_v5").expect("known");
        let zone = Zone::from("westeurope-1");
        let reaction = Reaction {
            reason: "",
            block: Block::ZoneBoth,
            ttl: Duration::from_mins(1),
            try_next: true,
        };
        market.block(
            &sku,
            (&zone, CapacityType::OnDemand),
            &reaction,
            Duration::ZERO,
        );
        let second = market.instance_types(&key(), Duration::ZERO);
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(available(&second, "Standard_D2s_v5").len(), 8);
        assert_eq!(
            available(&second, "Standard_D8s_v5").len(),
            6,
            "larger sizes of the family go along"
        );
        let third = market.instance_types(&key(), Duration::from_mins(1));
        assert_eq!(available(&third, "Standard_D4s_v5").len(), 8, "blocks end");
    }

    #[test]
    fn scopes_do_not_mix() {
        let mut market = market();
        let sku = market.sku("Standard_D8s_v5").expect("known");
        let reaction = Reaction {
            reason: "",
            block: Block::Scope,
            ttl: Duration::from_mins(1),
            try_next: true,
        };
        market.block(
            &sku,
            (&Zone::from("westeurope-2"), CapacityType::Spot),
            &reaction,
            Duration::ZERO,
        );
        let list = market.instance_types(&key(), Duration::ZERO);
        let left = available(&list, "Standard_D8s_v5");
        assert_eq!(
            left,
            [
                "0/on-demand",
                "0/spot",
                "westeurope-1/on-demand",
                "westeurope-2/on-demand",
                "westeurope-3/on-demand"
            ]
        );
    }

    #[test]
    fn an_instance_type_reads_as_upstreams() {
        let mut market = market();
        let list = market.instance_types(&key(), Duration::ZERO);
        let it = list
            .iter()
            .find(|it| it.name.as_str() == "Standard_D4s_v5")
            .expect("listed");
        let lines: Vec<String> = it
            .requirements
            .iter()
            .map(|r| {
                let values: Vec<&str> = r.values.iter().map(|v| &**v).collect();
                format!("{} {} {}", r.key, r.operator.as_str(), values.join(","))
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
