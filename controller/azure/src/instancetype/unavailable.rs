//! Memory of what Azure refused (`Azure/karpenter-provider-azure` `pkg/cache/unavailableofferings.go`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use controller_core::model::{CapacityType, InstanceTypeName, Zone};

use super::sku::Sku;

type FamilyKey = (Arc<str>, Zone, CapacityType);

/// Offerings that are not offered for a while. Entries end by time, so their number is bounded
/// by sizes × zones × capacity types.
#[derive(Debug, Default)]
pub(crate) struct UnavailableOfferings {
    single: BTreeMap<(InstanceTypeName, Zone, CapacityType), Duration>,
    /// From this many vCPUs on, the family is blocked: where 16 cores did not fit, 32 do not.
    families: BTreeMap<FamilyKey, (u32, Duration)>,
    all_spot_until: Option<Duration>,
    /// Rises whenever what is available changes.
    sequence: u64,
}

impl UnavailableOfferings {
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn is_unavailable(&self, sku: &Sku, zone: &Zone, capacity: CapacityType) -> bool {
        if capacity == CapacityType::Spot && self.all_spot_until.is_some() {
            return true;
        }
        let family = self.families.get(&family_key(sku, zone, capacity));
        family.is_some_and(|&(threshold, _)| sku.vcpus >= threshold)
            || self
                .single
                .contains_key(&(sku.name.clone(), zone.clone(), capacity))
    }

    /// Blocks one offering, and the family from its size on. A stricter block of the family
    /// keeps its threshold and lasts on.
    pub(crate) fn mark(&mut self, sku: &Sku, zone: &Zone, capacity: CapacityType, until: Duration) {
        let was_available = !self.is_unavailable(sku, zone, capacity);
        self.single
            .insert((sku.name.clone(), zone.clone(), capacity), until);
        let mut is_stricter = false;
        if !sku.family.is_empty() {
            let entry = self.families.entry(family_key(sku, zone, capacity));
            let entry = entry.or_insert((u32::MAX, until));
            is_stricter = sku.vcpus < entry.0;
            *entry = (entry.0.min(sku.vcpus), entry.1.max(until));
        }
        self.sequence += u64::from(was_available || is_stricter);
    }

    /// Blocks spot everywhere.
    pub(crate) fn mark_all_spot(&mut self, until: Duration) {
        self.sequence += u64::from(self.all_spot_until.is_none());
        self.all_spot_until = self.all_spot_until.max(Some(until));
    }

    /// Forgets what has ended by now.
    pub(crate) fn sweep(&mut self, now: Duration) {
        let before =
            self.single.len() + self.families.len() + usize::from(self.all_spot_until.is_some());
        self.single.retain(|_, until| *until > now);
        self.families.retain(|_, (_, until)| *until > now);
        self.all_spot_until = self.all_spot_until.filter(|until| *until > now);
        let after =
            self.single.len() + self.families.len() + usize::from(self.all_spot_until.is_some());
        self.sequence += u64::from(after < before);
    }
}

fn family_key(sku: &Sku, zone: &Zone, capacity: CapacityType) -> FamilyKey {
    (sku.family.to_lowercase().into(), zone.clone(), capacity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instancetype::sku::tests::item;

    fn sku(cores: u32) -> Sku {
        let name = format!("Standard_D{cores}s_v5");
        let cores = cores.to_string();
        item(
            &name,
            "standardDSv5Family",
            &["1"],
            &[("vCPUs", &cores), ("MemoryGB", "16")],
        )
        .usable("westeurope")
        .expect("usable")
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_size_blocks_its_family_from_there_on() {
        let (zone, other) = (Zone::from("westeurope-1"), Zone::from("westeurope-2"));
        let mut cache = UnavailableOfferings::default();
        cache.mark(&sku(16), &zone, CapacityType::OnDemand, MINUTE);
        let blocked = |cache: &UnavailableOfferings, cores| {
            cache.is_unavailable(&sku(cores), &zone, CapacityType::OnDemand)
        };
        assert!(blocked(&cache, 16) && blocked(&cache, 32) && !blocked(&cache, 8));
        assert!(!cache.is_unavailable(&sku(16), &zone, CapacityType::Spot));
        assert!(!cache.is_unavailable(&sku(16), &other, CapacityType::OnDemand));

        let sequence = cache.sequence();
        cache.mark(&sku(32), &zone, CapacityType::OnDemand, 2 * MINUTE);
        assert_eq!(
            cache.sequence(),
            sequence,
            "a longer block of the same changes nothing"
        );
        cache.sweep(MINUTE);
        assert!(blocked(&cache, 16), "the family's block was prolonged");
        cache.mark(&sku(8), &zone, CapacityType::OnDemand, 2 * MINUTE);
        assert!(blocked(&cache, 8) && cache.sequence() > sequence);
        cache.sweep(2 * MINUTE);
        assert!(!blocked(&cache, 64));
    }

    #[test]
    fn spot_can_be_blocked_as_a_whole() {
        let mut cache = UnavailableOfferings::default();
        cache.mark_all_spot(MINUTE);
        assert!(cache.is_unavailable(&sku(2), &Zone::from("0"), CapacityType::Spot));
        assert!(!cache.is_unavailable(&sku(2), &Zone::from("0"), CapacityType::OnDemand));
        cache.sweep(MINUTE);
        assert!(!cache.is_unavailable(&sku(2), &Zone::from("0"), CapacityType::Spot));
    }
}
