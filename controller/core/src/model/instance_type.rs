//! What the cloud sells: instance types and their offerings.

use std::fmt;

use super::names::{InstanceTypeName, Zone};
use crate::quantity::Resources;
use crate::requirements::RequirementSpec;

/// US dollars per hour, in billionths: exact, ordered, summable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(pub i64);

impl Price {
    /// One dollar per hour.
    pub const DOLLAR: i64 = 1_000_000_000;
}

impl fmt::Display for Price {
    /// `$0.0960` with four decimals, rounded half up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ten_thousandths = (self.0.unsigned_abs() + 50_000) / 100_000;
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(
            f,
            "{sign}${}.{:04}",
            ten_thousandths / 10_000,
            ten_thousandths % 10_000
        )
    }
}

/// How capacity is bought (`karpenter.sh/capacity-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CapacityType {
    /// Paid ahead.
    Reserved,
    /// Cheap, may be taken back.
    Spot,
    /// Paid by the hour.
    OnDemand,
}

impl CapacityType {
    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Spot => "spot",
            Self::OnDemand => "on-demand",
        }
    }
}

/// What a node of this type keeps for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overhead {
    /// Kubelet's `--kube-reserved`.
    pub kube_reserved: Resources,
    /// Kubelet's `--system-reserved`.
    pub system_reserved: Resources,
    /// Hard eviction threshold.
    pub eviction_threshold: Resources,
}

/// One purchasable form of an instance type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offering {
    /// Zone.
    pub zone: Zone,
    /// Capacity type.
    pub capacity_type: CapacityType,
    /// Further requirements (placement scope, …) beside zone and capacity type.
    pub requirements: Vec<RequirementSpec>,
    /// Price.
    pub price: Price,
    /// Not refused recently and within known quota.
    pub available: bool,
}

/// An instance type as the provider describes it for one NodeClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceType {
    /// Name.
    pub name: InstanceTypeName,
    /// Labels that a node of this type has: a requirement for every well-known label, possibly
    /// `DoesNotExist`.
    pub requirements: Vec<RequirementSpec>,
    /// Offerings; unique by zone and capacity type. Unavailable ones stay in the list.
    pub offerings: Vec<Offering>,
    /// Total resources.
    pub capacity: Resources,
    /// What is subtracted from capacity to give allocatable.
    pub overhead: Overhead,
}

impl InstanceType {
    /// What pods may request in total: capacity − overhead; huge pages come out of memory.
    pub fn allocatable(&self) -> Resources {
        let mut allocatable = self.capacity.clone();
        allocatable.sub_assign(&self.overhead.kube_reserved);
        allocatable.sub_assign(&self.overhead.system_reserved);
        allocatable.sub_assign(&self.overhead.eviction_threshold);
        let huge = self
            .capacity
            .extended
            .iter()
            .filter(|(name, _)| name.starts_with("hugepages-"));
        let reserved = huge.fold(0_i64, |sum, (_, &bytes)| sum.saturating_add(bytes));
        if reserved > 0 {
            allocatable.memory_bytes = allocatable.memory_bytes.saturating_sub(reserved).max(0);
        }
        allocatable
    }
}
