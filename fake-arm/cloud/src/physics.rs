//! Room, quota and time: what the cloud can give, and how long it takes.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::{
    config::{CapacityOverride, CapacityType, Latency, QuotaConfig, Refusal},
    path::same,
    random::Seeds,
};

/// Where a machine was placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) size: String,
    /// The logical zone (`1`), or `None` for regional placement.
    pub(crate) zone: Option<String>,
    pub(crate) capacity_type: CapacityType,
}

/// One limited pool.
#[derive(Clone, Debug)]
struct Pool {
    size: String,
    zone: Option<String>,
    capacity_type: Option<CapacityType>,
    refusal: Option<Refusal>,
    /// What was last set; 0 means that the size is not offered at all.
    set_to: u32,
    /// Machines that can still be placed.
    available: u32,
}

impl Pool {
    fn covers(&self, placement: &Placement) -> bool {
        (self.size == "*" || same(&self.size, &placement.size))
            && (self.zone.is_none() || self.zone == placement.zone)
            && self
                .capacity_type
                .is_none_or(|kind| kind == placement.capacity_type)
    }

    fn is_for(&self, size: &str, zone: Option<&str>, capacity_type: Option<CapacityType>) -> bool {
        same(&self.size, size)
            && self.zone.as_deref() == zone
            && self.capacity_type == capacity_type
    }

    fn refusal(&self, placement: &Placement) -> Refusal {
        if let Some(refusal) = self.refusal {
            return refusal;
        }
        if self.set_to == 0 && self.zone.is_none() {
            return Refusal::SkuNotAvailable;
        }
        match (placement.capacity_type, placement.zone.is_some()) {
            (CapacityType::OnDemand, true) => Refusal::ZonalAllocationFailed,
            (CapacityType::OnDemand, false) => Refusal::AllocationFailed,
            (CapacityType::Spot, true) => Refusal::OverconstrainedZonalAllocationRequest,
            (CapacityType::Spot, false) => Refusal::OverconstrainedAllocationRequest,
        }
    }
}

/// Limited pools. What no pool covers is endless.
#[derive(Debug, Default)]
pub(crate) struct Capacity {
    pools: Vec<Pool>,
}

impl Capacity {
    /// Sets a pool; one of the same size, zone and capacity type is replaced.
    pub(crate) fn set(&mut self, wanted: &CapacityOverride) {
        let zone = wanted.zone.as_deref().map(zone_number);
        self.clear(&wanted.size, zone, wanted.capacity_type);
        self.pools.push(Pool {
            size: wanted.size.clone(),
            zone: zone.map(str::to_owned),
            capacity_type: wanted.capacity_type,
            refusal: wanted.refusal,
            set_to: wanted.available,
            available: wanted.available,
        });
    }

    /// Makes a pool endless again.
    pub(crate) fn clear(
        &mut self,
        size: &str,
        zone: Option<&str>,
        capacity_type: Option<CapacityType>,
    ) {
        self.pools
            .retain(|pool| !pool.is_for(size, zone.map(zone_number), capacity_type));
    }

    /// Whether the machine would be refused now, and how.
    pub(crate) fn refusal(&self, placement: &Placement) -> Option<Refusal> {
        self.pools
            .iter()
            .filter(|pool| pool.available == 0 && pool.covers(placement))
            .map(|pool| pool.refusal(placement))
            // A size that is not offered is refused before anyone looks for room.
            .max_by_key(|refusal| *refusal == Refusal::SkuNotAvailable)
    }

    /// Takes one place from every pool that covers the machine.
    pub(crate) fn take(&mut self, placement: &Placement) {
        for pool in self.pools.iter_mut().filter(|pool| pool.covers(placement)) {
            pool.available = pool.available.saturating_sub(1);
        }
    }

    /// Gives the places back. A pool that was set to 0 stays sold out until it is set again.
    pub(crate) fn give_back(&mut self, placement: &Placement) {
        for pool in self.pools.iter_mut().filter(|pool| pool.covers(placement)) {
            if pool.set_to > 0 {
                pool.available += 1;
            }
        }
    }

    /// The pools as overrides, with what is left of each.
    pub(crate) fn view(&self) -> Vec<CapacityOverride> {
        self.pools
            .iter()
            .map(|pool| CapacityOverride {
                size: pool.size.clone(),
                zone: pool.zone.clone(),
                capacity_type: pool.capacity_type,
                available: pool.available,
                refusal: pool.refusal,
            })
            .collect()
    }
}

/// `westeurope-1` and `1` name the same zone.
pub(crate) fn zone_number(zone: &str) -> &str {
    zone.rsplit('-').next().unwrap_or(zone)
}

/// Which limit a request would exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// As the message names it: a family, `Total Regional` or `LowPriorityCores`.
    pub(crate) what: QuotaName,
    pub(crate) limit: u32,
    pub(crate) usage: u32,
    pub(crate) required: u32,
}

/// A counter of the usages list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QuotaName {
    Family(String),
    Regional,
    LowPriority,
}

/// Limits and live usage of vCPUs.
#[derive(Debug)]
pub(crate) struct Quota {
    pub(crate) limits: QuotaConfig,
    /// Keyed by family in lower case.
    families: BTreeMap<String, u32>,
    regional: u32,
    low_priority: u32,
}

impl Quota {
    pub(crate) fn new(mut limits: QuotaConfig) -> Self {
        limits.family = limits
            .family
            .into_iter()
            .map(|(family, limit)| (family.to_lowercase(), limit))
            .collect();
        Self {
            limits,
            families: BTreeMap::new(),
            regional: 0,
            low_priority: 0,
        }
    }

    pub(crate) fn family_limit(&self, family: &str) -> u32 {
        self.limits
            .family
            .get(&family.to_lowercase())
            .copied()
            .unwrap_or(self.limits.family_default)
    }

    pub(crate) fn family_usage(&self, family: &str) -> u32 {
        self.families
            .get(&family.to_lowercase())
            .copied()
            .unwrap_or(0)
    }

    pub(crate) fn regional_usage(&self) -> u32 {
        self.regional
    }

    pub(crate) fn low_priority_usage(&self) -> u32 {
        self.low_priority
    }

    /// Counts `cores` in, or says which limit stands against it. Spot counts against one regional
    /// pool of its own and against nothing else.
    pub(crate) fn reserve(
        &mut self,
        family: &str,
        kind: CapacityType,
        cores: u32,
    ) -> Result<(), Exceeded> {
        let exceeds = |usage: u32, limit: u32| usage.saturating_add(cores) > limit;
        let refuse = |what, limit, usage| {
            Err(Exceeded {
                what,
                limit,
                usage,
                required: cores,
            })
        };
        match kind {
            CapacityType::Spot => {
                if exceeds(self.low_priority, self.limits.low_priority) {
                    return refuse(
                        QuotaName::LowPriority,
                        self.limits.low_priority,
                        self.low_priority,
                    );
                }
                self.low_priority += cores;
            }
            CapacityType::OnDemand => {
                let (usage, limit) = (self.family_usage(family), self.family_limit(family));
                if exceeds(usage, limit) {
                    return refuse(QuotaName::Family(family.to_owned()), limit, usage);
                }
                if exceeds(self.regional, self.limits.regional) {
                    return refuse(QuotaName::Regional, self.limits.regional, self.regional);
                }
                *self.families.entry(family.to_lowercase()).or_default() += cores;
                self.regional += cores;
            }
        }
        Ok(())
    }

    /// Takes out what `reserve` counted in.
    pub(crate) fn release(&mut self, family: &str, kind: CapacityType, cores: u32) {
        match kind {
            CapacityType::Spot => self.low_priority = self.low_priority.saturating_sub(cores),
            CapacityType::OnDemand => {
                self.regional = self.regional.saturating_sub(cores);
                if let Some(usage) = self.families.get_mut(&family.to_lowercase()) {
                    *usage = usage.saturating_sub(cores);
                }
            }
        }
    }
}

/// Things that take time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// From the PUT to the platform's decision about room.
    Allocate,
    /// From there until the operating system runs.
    Boot,
    /// From there until the guest agent has reported.
    Provision,
    DeleteVm,
    Power,
    DeleteNic,
    DeleteDisk,
    DeleteGroup,
    Extension,
    UpdateCluster,
    /// From `simulateEviction` to the notice.
    Evict,
}

impl Latency {
    /// Lower and upper bound in milliseconds.
    fn range(self, step: Step) -> (u64, u64) {
        match (self, step) {
            (Self::Fast, Step::Allocate) => (500, 1_500),
            (Self::Fast, Step::Boot) => (3_000, 8_000),
            (Self::Fast, Step::Provision) => (1_000, 2_500),
            (Self::Fast, Step::DeleteVm) => (2_000, 5_000),
            (Self::Fast, Step::Power) => (1_500, 3_000),
            (Self::Fast, Step::DeleteNic | Step::DeleteDisk | Step::Extension) => (500, 1_500),
            (Self::Fast, Step::DeleteGroup) => (4_000, 8_000),
            (Self::Fast, Step::UpdateCluster) => (2_000, 5_000),
            (Self::Fast, Step::Evict) => (1_000, 5_000),
            (Self::Realistic, Step::Allocate) => (2_000, 9_000),
            (Self::Realistic, Step::Boot) => (18_000, 45_000),
            (Self::Realistic, Step::Provision) => (8_000, 25_000),
            (Self::Realistic, Step::DeleteVm) => (15_000, 60_000),
            (Self::Realistic, Step::Power) => (10_000, 40_000),
            (Self::Realistic, Step::DeleteNic | Step::DeleteDisk) => (3_000, 11_000),
            (Self::Realistic, Step::Extension) => (8_000, 30_000),
            (Self::Realistic, Step::DeleteGroup) => (60_000, 180_000),
            (Self::Realistic, Step::UpdateCluster) => (30_000, 120_000),
            (Self::Realistic, Step::Evict) => (5_000, 120_000),
        }
    }

    /// How long `step` takes for the thing called `identity`.
    pub(crate) fn draw(self, seeds: Seeds, step: Step, identity: &str) -> SignedDuration {
        let (low, high) = self.range(step);
        let millis = seeds.between(&format!("latency/{step:?}"), identity, low, high);
        SignedDuration::from_millis(i64::try_from(millis).expect("bounds above are small"))
    }

    /// Seconds that a client should wait before it polls again: 0 would mean 30 to the Python
    /// clients (azure-core `arm_polling`).
    pub(crate) fn retry_after(self) -> u32 {
        match self {
            Self::Fast => 1,
            Self::Realistic => 10,
        }
    }
}
