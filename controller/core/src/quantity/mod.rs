//! Exact resource arithmetic: Kubernetes quantities, and amounts of resources by name.

mod parse;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use parse::{Quantity, QuantityError, amount_of, format, parse};

/// Amounts of resources, as exact integers. Missing means zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu_milli: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Bytes of ephemeral storage.
    pub ephemeral_bytes: i64,
    /// Number of pods.
    pub pods: i64,
    /// Extended and other resources (`nvidia.com/gpu`, `hugepages-2Mi`, …) in their base unit;
    /// a resource whose canonical unit is a whole number counts whole units.
    pub extended: BTreeMap<Arc<str>, i64>,
}

/// Resource name of CPU.
pub const CPU: &str = "cpu";
/// Resource name of memory.
pub const MEMORY: &str = "memory";
/// Resource name of ephemeral storage.
pub const EPHEMERAL_STORAGE: &str = "ephemeral-storage";
/// Resource name of the pod count.
pub const PODS: &str = "pods";
/// Resource name under which limits count nodes; never part of an instance type's capacity.
pub const NODES: &str = "nodes";

impl Resources {
    /// The amount of a resource by its Kubernetes name, in its base unit (milli for `cpu`).
    pub fn get(&self, name: &str) -> i64 {
        match name {
            CPU => self.cpu_milli,
            MEMORY => self.memory_bytes,
            EPHEMERAL_STORAGE => self.ephemeral_bytes,
            PODS => self.pods,
            _ => self.extended.get(name).copied().unwrap_or(0),
        }
    }

    /// Sets a resource by its Kubernetes name, in its base unit (milli for `cpu`).
    pub fn set(&mut self, name: &str, amount: i64) {
        match name {
            CPU => self.cpu_milli = amount,
            MEMORY => self.memory_bytes = amount,
            EPHEMERAL_STORAGE => self.ephemeral_bytes = amount,
            PODS => self.pods = amount,
            _ => {
                self.extended.insert(name.into(), amount);
            }
        }
    }

    /// Builds from a resource list as the API writes it (`cpu: 500m`, `memory: 1Gi`).
    ///
    /// # Errors
    ///
    /// The first value that is no quantity, with its resource name.
    pub fn from_quantities<'a>(
        list: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, QuantityError> {
        let mut resources = Self::default();
        for (name, text) in list {
            let amount = amount_of(name, parse(text)?);
            resources.set(name, amount);
        }
        Ok(resources)
    }

    /// Every resource with an amount other than zero, as `(name, amount in base units)`: cpu,
    /// memory, ephemeral storage, pods, then the others by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        [
            (CPU, self.cpu_milli),
            (MEMORY, self.memory_bytes),
            (EPHEMERAL_STORAGE, self.ephemeral_bytes),
            (PODS, self.pods),
        ]
        .into_iter()
        .chain(
            self.extended
                .iter()
                .map(|(name, &amount)| (&**name, amount)),
        )
        .filter(|&(_, amount)| amount != 0)
    }

    /// The resource list as the API writes it, canonical quantities by name; zeros left out.
    pub fn to_quantities(&self) -> BTreeMap<Arc<str>, String> {
        self.iter()
            .map(|(name, amount)| (Arc::from(name), format(name, amount)))
            .collect()
    }

    /// Sum, saturating: no real cluster comes near the bounds, and a hostile object must not
    /// make the sum wrap around.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.add_assign(other);
        sum
    }

    /// Adds in place, saturating.
    pub fn add_assign(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    /// Difference; entries may become negative (that is how overcommitment shows).
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        let mut difference = self.clone();
        difference.sub_assign(other);
        difference
    }

    /// Subtracts in place; entries may become negative.
    pub fn sub_assign(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    /// Difference with negative entries raised to zero.
    #[must_use]
    pub fn saturating_sub(&self, other: &Self) -> Self {
        let mut difference = self.sub(other);
        difference.clamp_negative();
        difference
    }

    /// Difference, or `None` when an entry would become negative.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        let difference = self.sub(other);
        (!difference.is_negative()).then_some(difference)
    }

    /// The larger amount of each resource.
    #[must_use]
    pub fn max_of_each(&self, other: &Self) -> Self {
        let mut larger = self.clone();
        larger.combine(other, i64::max);
        larger
    }

    /// The smaller amount of each resource; a resource that one side lacks becomes zero.
    #[must_use]
    pub fn min_of_each(&self, other: &Self) -> Self {
        let mut smaller = self.clone();
        for (name, amount) in &mut smaller.extended {
            *amount = (*amount).min(other.get(name));
        }
        smaller.cpu_milli = smaller.cpu_milli.min(other.cpu_milli);
        smaller.memory_bytes = smaller.memory_bytes.min(other.memory_bytes);
        smaller.ephemeral_bytes = smaller.ephemeral_bytes.min(other.ephemeral_bytes);
        smaller.pods = smaller.pods.min(other.pods);
        smaller.extended.retain(|_, amount| *amount != 0);
        smaller
    }

    /// Whether these requests fit into `available`: no entry of `available` is negative, even
    /// one that is not asked for, and every request is at most what is available.
    pub fn fits(&self, available: &Self) -> bool {
        self.shortfall(available).is_none()
    }

    /// The first resource that keeps these requests out of `available`, and by how much.
    pub fn shortfall<'a>(&'a self, available: &'a Self) -> Option<(&'a str, i64)> {
        let basic = [
            (CPU, self.cpu_milli, available.cpu_milli),
            (MEMORY, self.memory_bytes, available.memory_bytes),
            (
                EPHEMERAL_STORAGE,
                self.ephemeral_bytes,
                available.ephemeral_bytes,
            ),
            (PODS, self.pods, available.pods),
        ];
        for (name, want, have) in basic {
            if have < 0 || want > have {
                return Some((name, want.max(0).saturating_sub(have)));
            }
        }
        for (name, &have) in &available.extended {
            if have < 0 {
                return Some((name, have.saturating_neg()));
            }
        }
        for (name, &want) in &self.extended {
            let have = available.get(name);
            if want > have {
                return Some((name, want - have));
            }
        }
        None
    }

    /// Whether any entry is below zero.
    pub fn is_negative(&self) -> bool {
        self.iter().any(|(_, amount)| amount < 0)
    }

    /// Whether every entry is zero.
    pub fn is_zero(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Raises negative entries to zero.
    pub fn clamp_negative(&mut self) {
        self.combine(&Self::default(), |amount, _| amount.max(0));
        for amount in self.extended.values_mut() {
            *amount = (*amount).max(0);
        }
    }

    fn combine(&mut self, other: &Self, operation: impl Fn(i64, i64) -> i64) {
        self.cpu_milli = operation(self.cpu_milli, other.cpu_milli);
        self.memory_bytes = operation(self.memory_bytes, other.memory_bytes);
        self.ephemeral_bytes = operation(self.ephemeral_bytes, other.ephemeral_bytes);
        self.pods = operation(self.pods, other.pods);
        for (name, &amount) in &other.extended {
            match self.extended.get_mut(name) {
                Some(own) => *own = operation(*own, amount),
                None => {
                    self.extended.insert(Arc::clone(name), operation(0, amount));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_entry_that_nobody_asked_for_still_keeps_pods_out() {
        let available = Resources {
            cpu_milli: 1000,
            pods: -1,
            ..Resources::default()
        };
        let request = Resources {
            cpu_milli: 10,
            ..Resources::default()
        };
        assert!(!request.fits(&available));
    }
}
