//! What a machine has and what it keeps for itself
//! (`Azure/karpenter-provider-azure` `pkg/providers/instancetype/instancetype.go`).

use controller_core::model::Overhead;
use controller_core::quantity::Resources;

use super::sku::Sku;
use crate::number::{ceil, float, truncate};

const GIB: i64 = 1 << 30;
const MIB: i64 = 1 << 20;
/// Hard eviction threshold of memory that AKS nodes have.
pub(crate) const EVICTION_MEMORY_MIB: i64 = 750;

/// `(up to cores, cores kept of each)`.
const CPU_BRACKETS: [(f64, f64); 4] =
    [(1.0, 0.06), (2.0, 0.04), (4.0, 0.02), (f64::INFINITY, 0.01)];
/// `(up to GiB, share kept)`.
const MEMORY_BRACKETS: [(f64, f64); 5] = [
    (4.0, 0.25),
    (8.0, 0.2),
    (16.0, 0.1),
    (128.0, 0.06),
    (f64::INFINITY, 0.02),
];

/// Total resources of a node.
pub(crate) fn capacity(
    sku: &Sku,
    os_disk_gb: i64,
    max_pods: i64,
    memory_overhead: f64,
) -> Resources {
    // The fraction of a GiB is thrown away before the share of firmware and hypervisor goes.
    let bytes = sku.memory_mib / 1024 * GIB;
    let mut resources = Resources {
        cpu_milli: i64::from(sku.vcpus) * 1000,
        memory_bytes: bytes - ceil(float(bytes) * memory_overhead),
        ephemeral_bytes: os_disk_gb * 1_000_000_000,
        pods: max_pods,
        ..Resources::default()
    };
    if let Some(gpu) = sku.gpu.filter(|_| sku.gpus > 0) {
        resources.set(gpu.resource(), sku.gpus);
    }
    resources
}

/// What kubelet, system and eviction threshold take of it.
pub(crate) fn overhead(sku: &Sku) -> Overhead {
    let cpu_milli = reserved_cpu_milli(sku.vcpus);
    let memory_mib = reserved_memory_mib(sku.memory_mib);
    Overhead {
        kube_reserved: Resources {
            cpu_milli,
            memory_bytes: memory_mib * MIB,
            ..Resources::default()
        },
        system_reserved: Resources::default(),
        eviction_threshold: Resources {
            memory_bytes: EVICTION_MEMORY_MIB * MIB,
            ..Resources::default()
        },
    }
}

/// `--kube-reserved` of CPU.
pub(crate) fn reserved_cpu_milli(vcpus: u32) -> i64 {
    // In doubles and cut off, like upstream: 120 cores keep 1299 m, not 1300.
    truncate(1000.0 * tax(&CPU_BRACKETS, f64::from(vcpus)))
}

/// `--kube-reserved` of memory.
pub(crate) fn reserved_memory_mib(memory_mib: i64) -> i64 {
    truncate(1024.0 * tax(&MEMORY_BRACKETS, float(memory_mib) / 1024.0))
}

fn tax(brackets: &[(f64, f64)], amount: f64) -> f64 {
    let mut sum = 0.0;
    let mut lower = 0.0;
    for &(upper, rate) in brackets {
        if lower > amount {
            break;
        }
        // Not fused: upstream's doubles are rounded after the product.
        let part = (upper.min(amount) - lower) * rate;
        sum += part;
        lower = upper;
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::instancetype::sku::tests::item;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Table {
        worked: Worked,
        cpu_float_truncation_exceptions: BTreeMap<String, i64>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Worked {
        cpu_milli: BTreeMap<String, i64>,
        memory_mi: BTreeMap<String, i64>,
    }

    #[test]
    fn reserved_amounts_equal_upstreams() {
        let table: Table =
            serde_json::from_str(include_str!("../../data/kube_reserved.json")).expect("valid");
        for (cores, milli) in table
            .worked
            .cpu_milli
            .iter()
            .chain(&table.cpu_float_truncation_exceptions)
        {
            assert_eq!(
                reserved_cpu_milli(cores.parse().expect("cores")),
                *milli,
                "{cores} cores"
            );
        }
        for (gib, mib) in &table.worked.memory_mi {
            let memory_mib = truncate(gib.parse::<f64>().expect("GiB") * 1024.0);
            assert_eq!(reserved_memory_mib(memory_mib), *mib, "{gib} GiB");
        }
    }

    #[test]
    fn capacity_drops_fractions_of_a_gib() {
        let sku = item(
            "Standard_E28bs_v5",
            "f",
            &[],
            &[("vCPUs", "28"), ("MemoryGB", "218.75")],
        );
        let sku = sku.usable("westeurope").expect("usable");
        let resources = capacity(&sku, 128, 250, 0.075);
        assert_eq!(
            resources.memory_bytes,
            218 * GIB - (218 * GIB * 75 + 999) / 1000
        );
        assert_eq!(
            (
                resources.cpu_milli,
                resources.ephemeral_bytes,
                resources.pods
            ),
            (28_000, 128_000_000_000, 250)
        );
    }

    #[test]
    fn four_cores_and_sixteen_gib() {
        let sku = item(
            "Standard_D4s_v5",
            "f",
            &[],
            &[("vCPUs", "4"), ("MemoryGB", "16")],
        );
        let overhead = overhead(&sku.usable("westeurope").expect("usable"));
        assert_eq!(overhead.kube_reserved.cpu_milli, 140);
        assert_eq!(overhead.kube_reserved.memory_bytes, 2662 * MIB);
        assert_eq!(overhead.eviction_threshold.memory_bytes, 750 * MIB);
    }
}
