//! Core quotas: of families, of the region, of spot; with the cores of machines that Azure has
//! accepted and not counted yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use controller_core::model::CapacityType;
use serde::Deserialize;

use crate::instancetype::Sku;

/// Usages lag behind machines; after this long they are believed.
const LAG_MAX: Duration = Duration::from_mins(1);
/// Older figures are not believed: rather a refused launch than a pool that stays blocked.
const STALE_AFTER: Duration = Duration::from_mins(45);

/// One item of `GET …/usages`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageItem {
    #[serde(default)]
    current_value: Option<i64>,
    #[serde(default)]
    limit: Option<i64>,
    name: UsageName,
}

#[derive(Clone, Debug, Deserialize)]
struct UsageName {
    #[serde(default)]
    value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Counter {
    limit: i64,
    used: i64,
    /// Cores accepted since, not seen in `used` yet.
    in_flight: i64,
    last_launch: Duration,
}

impl Counter {
    fn room(&self) -> i64 {
        self.limit - self.used - self.in_flight
    }
}

/// What is known of quotas. Unknown counters never block.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    /// By lower-case name: families, `cores`, `lowprioritycores`.
    counters: BTreeMap<String, Counter>,
    /// Core counts of the sizes that count against a counter: only these can tell a difference.
    steps: BTreeMap<String, BTreeSet<i64>>,
    fetched_at: Option<Duration>,
    /// When a machine of ours was last accepted, refused or deleted.
    moved_at: Option<Duration>,
    /// Rises whenever some size stops or starts to fit.
    sequence: u64,
}

const REGIONAL: &str = "cores";
const SPOT: &str = "lowprioritycores";

/// The counters a machine counts against.
fn counters_of(sku: &Sku, capacity: CapacityType) -> [Option<String>; 2] {
    match capacity {
        CapacityType::Spot => [Some(SPOT.to_owned()), None],
        CapacityType::OnDemand | CapacityType::Reserved => {
            [Some(sku.family.to_lowercase()), Some(REGIONAL.to_owned())]
        }
    }
}

impl Quota {
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Learns which sizes there are.
    pub(crate) fn set_sizes<'a>(&mut self, skus: impl Iterator<Item = &'a Sku>) {
        self.steps.clear();
        for sku in skus {
            for name in [
                sku.family.to_lowercase(),
                REGIONAL.to_owned(),
                SPOT.to_owned(),
            ] {
                self.steps
                    .entry(name)
                    .or_default()
                    .insert(i64::from(sku.vcpus));
            }
        }
    }

    /// Whether one more machine of that size fits.
    pub(crate) fn has_room(&self, sku: &Sku, capacity: CapacityType) -> bool {
        let wanted = i64::from(sku.vcpus);
        counters_of(sku, capacity).iter().flatten().all(|name| {
            self.counters
                .get(name)
                .is_none_or(|counter| wanted <= counter.room())
        })
    }

    /// A machine came, went or was refused: figures read before are about to be old.
    pub(crate) fn moved(&mut self, now: Duration) {
        self.moved_at = Some(now);
    }

    /// Whether figures moved within a time that ends now.
    pub(crate) fn moved_within(&self, now: Duration, time: Duration) -> bool {
        self.moved_at
            .is_some_and(|at| now.saturating_sub(at) < time)
    }

    /// A machine was accepted.
    pub(crate) fn launched(&mut self, now: Duration, sku: &Sku, capacity: CapacityType) {
        self.moved(now);
        for name in counters_of(sku, capacity).into_iter().flatten() {
            self.change(&name, |counter| {
                counter.in_flight += i64::from(sku.vcpus);
                counter.last_launch = now;
            });
        }
    }

    /// An accepted machine will not be after all.
    pub(crate) fn withdrawn(&mut self, sku: &Sku, capacity: CapacityType) {
        for name in counters_of(sku, capacity).into_iter().flatten() {
            self.change(&name, |counter| {
                counter.in_flight = (counter.in_flight - i64::from(sku.vcpus)).max(0);
            });
        }
    }

    /// A refusal told the figures of the counter it was about.
    pub(crate) fn refused(&mut self, counter: QuotaKind<'_>, limit: i64, used: i64) {
        let name = match counter {
            QuotaKind::Family(sku) => sku.family.to_lowercase(),
            QuotaKind::Regional => REGIONAL.to_owned(),
            QuotaKind::Spot => SPOT.to_owned(),
        };
        let fresh = Counter {
            limit,
            used,
            in_flight: 0,
            last_launch: Duration::ZERO,
        };
        let old = self.counters.insert(name.clone(), fresh);
        let before = old.map_or(i64::MAX, |counter| counter.room());
        self.bump(&name, before, limit - used);
    }

    /// Takes in what the usages API says.
    pub(crate) fn refresh(&mut self, now: Duration, items: Vec<UsageItem>) {
        self.fetched_at = Some(now);
        for item in items {
            let (Some(limit), Some(used)) = (item.limit, item.current_value) else {
                continue;
            };
            let name = item.name.value.to_lowercase();
            let old = self.counters.get(&name).cloned();
            let in_flight = old.as_ref().map_or(0, |old| {
                // What has risen in the figures was in flight before.
                let counted = (used - old.used).max(0);
                let is_recent = now.saturating_sub(old.last_launch) < LAG_MAX;
                if is_recent {
                    (old.in_flight - counted).max(0)
                } else {
                    0
                }
            });
            let last_launch = old.as_ref().map_or(Duration::ZERO, |old| old.last_launch);
            let fresh = Counter {
                limit,
                used,
                in_flight,
                last_launch,
            };
            let before = old.map_or(i64::MAX, |counter| counter.room());
            let after = fresh.room();
            self.counters.insert(name.clone(), fresh);
            self.bump(&name, before, after);
        }
    }

    /// Whether figures are known and nothing is in flight: then equal figures say nothing new.
    pub(crate) fn is_settled(&self) -> bool {
        self.fetched_at.is_some() && self.counters.values().all(|counter| counter.in_flight == 0)
    }

    /// Whether nothing is held back soon: figures are known, and no limit is more than half used.
    pub(crate) fn is_far(&self) -> bool {
        let is_near = |counter: &Counter| {
            let taken = counter.used.saturating_add(counter.in_flight);
            taken > 0 && taken > counter.limit / 2
        };
        self.fetched_at.is_some() && !self.counters.values().any(is_near)
    }

    /// The usages API says the same as before.
    pub(crate) fn confirm(&mut self, now: Duration) {
        self.fetched_at = Some(now);
    }

    /// Drops figures that are too old to be believed.
    pub(crate) fn expire(&mut self, now: Duration) {
        let is_stale = self
            .fetched_at
            .is_some_and(|at| now.saturating_sub(at) > STALE_AFTER);
        if is_stale {
            self.counters.clear();
            self.fetched_at = None;
            self.sequence += 1;
        }
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Counter)) {
        let Some(counter) = self.counters.get_mut(name) else {
            return;
        };
        let before = counter.room();
        change(counter);
        let after = counter.room();
        self.bump(name, before, after);
    }

    /// Raises the sequence if a size lies between two amounts of room.
    fn bump(&mut self, name: &str, before: i64, after: i64) {
        let (low, high) = (before.min(after), before.max(after));
        let changes = self
            .steps
            .get(name)
            .is_some_and(|steps| steps.iter().any(|&step| low < step && step <= high));
        self.sequence += u64::from(changes);
    }
}

/// Which quota a refusal was about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QuotaKind<'a> {
    Family(&'a Sku),
    Regional,
    Spot,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instancetype::tests::sku;

    fn usage(name: &str, used: i64, limit: i64) -> UsageItem {
        UsageItem {
            current_value: Some(used),
            limit: Some(limit),
            name: UsageName {
                value: name.to_owned(),
            },
        }
    }

    const MINUTE: Duration = Duration::from_mins(1);

    fn quota(items: Vec<UsageItem>) -> (Quota, Sku, Sku) {
        let (small, large) = (sku("Standard_D2s_v5", 2), sku("Standard_D8s_v5", 8));
        let mut quota = Quota::default();
        quota.set_sizes([&small, &large].into_iter());
        quota.refresh(Duration::ZERO, items);
        (quota, small, large)
    }

    #[test]
    fn cores_in_flight_count_until_usages_show_them() {
        let (mut quota, small, large) = quota(vec![
            usage("standardDSv5Family", 0, 10),
            usage("cores", 0, 100),
        ]);
        assert!(quota.has_room(&large, CapacityType::OnDemand));
        let sequence = quota.sequence();
        quota.launched(MINUTE, &large, CapacityType::OnDemand);
        assert!(
            !quota.has_room(&large, CapacityType::OnDemand)
                && quota.has_room(&small, CapacityType::OnDemand)
        );
        assert!(quota.sequence() > sequence);
        quota.refresh(MINUTE, vec![usage("standardDSv5Family", 8, 10)]);
        assert!(
            quota.has_room(&small, CapacityType::OnDemand),
            "eight cores are counted once"
        );
        quota.launched(MINUTE, &small, CapacityType::OnDemand);
        assert!(!quota.has_room(&small, CapacityType::OnDemand));
        quota.refresh(3 * MINUTE, vec![usage("standardDSv5Family", 8, 10)]);
        assert!(
            quota.has_room(&small, CapacityType::OnDemand),
            "what never shows is not there"
        );
    }

    #[test]
    fn figures_move_with_machines() {
        let (mut quota, small, _) = quota(vec![usage("cores", 0, 100)]);
        assert!(!quota.moved_within(MINUTE, MINUTE));
        quota.launched(MINUTE, &small, CapacityType::OnDemand);
        assert!(quota.moved_within(MINUTE, MINUTE) && !quota.moved_within(3 * MINUTE, MINUTE));
    }

    #[test]
    fn spot_and_region_have_totals() {
        let (quota, small, large) = quota(vec![
            usage("cores", 95, 100),
            usage("lowPriorityCores", 0, 4),
        ]);
        assert!(
            !quota.has_room(&large, CapacityType::OnDemand)
                && quota.has_room(&small, CapacityType::OnDemand)
        );
        assert!(
            !quota.has_room(&large, CapacityType::Spot)
                && quota.has_room(&small, CapacityType::Spot)
        );
    }

    #[test]
    fn unknown_is_open_and_stale_is_dropped() {
        let (mut quota, _, large) = quota(vec![usage("standardDSv5Family", 10, 10)]);
        assert!(!quota.has_room(&large, CapacityType::OnDemand));
        quota.expire(STALE_AFTER);
        assert!(!quota.has_room(&large, CapacityType::OnDemand));
        quota.expire(STALE_AFTER + MINUTE);
        assert!(quota.has_room(&large, CapacityType::OnDemand));
    }

    #[test]
    fn what_is_settled_and_far_from_limits_may_be_read_rarely() {
        let mut quota = Quota::default();
        assert!(!quota.is_settled() && !quota.is_far(), "nothing is known");
        quota.refresh(
            MINUTE,
            vec![usage("standardDSv5Family", 5, 10), usage("cores", 0, 0)],
        );
        assert!(quota.is_settled() && quota.is_far());
        quota.launched(MINUTE, &sku("Standard_D2s_v5", 2), CapacityType::OnDemand);
        assert!(
            !quota.is_settled() && !quota.is_far(),
            "in flight, and 7 of 10"
        );
        quota.refresh(
            3 * MINUTE,
            vec![usage("standardDSv5Family", 5, 10), usage("cores", 0, 0)],
        );
        quota.confirm(10 * MINUTE);
        quota.expire(10 * MINUTE + STALE_AFTER);
        assert!(
            quota.is_settled(),
            "what is confirmed is believed from then on"
        );
        quota.expire(11 * MINUTE + STALE_AFTER);
        assert!(!quota.is_settled());
    }

    #[test]
    fn equal_figures_leave_the_sequence() {
        let (mut quota, ..) = quota(vec![usage("standardDSv5Family", 0, 10)]);
        let sequence = quota.sequence();
        quota.refresh(MINUTE, vec![usage("standardDSv5Family", 0, 10)]);
        assert_eq!(quota.sequence(), sequence);
        quota.refused(QuotaKind::Regional, 10, 9);
        assert!(quota.sequence() > sequence);
    }
}
