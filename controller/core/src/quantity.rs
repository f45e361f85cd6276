//! Exact resource arithmetic.

use std::collections::BTreeMap;
use std::sync::Arc;

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
