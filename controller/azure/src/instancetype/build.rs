//! From a SKU to an instance type: labels and offerings
//! (`Azure/karpenter-provider-azure` `pkg/providers/instancetype/instancetype.go`).

use std::sync::Arc;

use controller_api::labels;
use controller_core::model::{CapacityType, InstanceType, Offering, Zone};
use controller_core::requirements::{Operator, RequirementSpec};

use super::Market;
use super::capacity::{capacity, overhead};
use super::sku::Sku;
use crate::class::ClassKey;
use crate::zones;

/// Facts of the cluster that are the same for every size.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) region: String,
    /// Value of `kubernetes.azure.com/cluster`.
    pub(crate) cluster_label: String,
    pub(crate) memory_overhead: f64,
}

/// The local DNS cache needs this much (`pkg/providers/instancetype`).
const LOCAL_DNS_VCPUS_MIN: u32 = 4;
const LOCAL_DNS_MEMORY_MIN_MIB: i64 = 244;

/// The instance type for a kind of NodeClass; `None` when the class cannot use the size.
pub(crate) fn build(
    sku: &Sku,
    key: &ClassKey,
    surroundings: &Surroundings,
    market: &Market,
) -> Option<InstanceType> {
    if !suits(sku, key) {
        return None;
    }
    let offerings = offerings(sku, surroundings, market);
    Some(InstanceType {
        name: sku.name.clone(),
        requirements: requirements(sku, key, surroundings, &offerings),
        offerings,
        capacity: capacity(
            sku,
            key.os_disk_gb,
            key.max_pods,
            surroundings.memory_overhead,
        ),
        overhead: overhead(sku),
    })
}

fn suits(sku: &Sku, key: &ClassKey) -> bool {
    let needs = key.needs;
    let gpu_suits = sku.gpu.is_none_or(|gpu| {
        gpu.supports(key.is_azure_linux) && (!needs.gpu_driver || gpu.manufacturer == "nvidia")
    });
    let has_generation_2 = sku
        .hyperv_generations
        .iter()
        .any(|generation| generation == "2");
    gpu_suits
        && (!needs.encryption_at_host || sku.has_encryption_at_host)
        && (!needs.trusted_launch || (has_generation_2 && !sku.is_trusted_launch_disabled))
        && (!needs.artifact_streaming || sku.arch != "arm64")
        && (!needs.local_dns
            || (sku.vcpus >= LOCAL_DNS_VCPUS_MIN && sku.memory_mib >= LOCAL_DNS_MEMORY_MIN_MIB))
}

/// Label values of every placement of a size: regional first, then its zones.
pub(crate) fn zone_labels(sku: &Sku, region: &str) -> impl Iterator<Item = Zone> {
    std::iter::once(Zone::from(zones::REGIONAL))
        .chain(sku.zones.iter().map(|zone| zones::label(region, zone)))
}

/// `zonal` or `regional`.
pub(crate) fn placement_scope(zone: &Zone) -> &'static str {
    if zone.as_str() == zones::REGIONAL {
        "regional"
    } else {
        "zonal"
    }
}

/// What the AKS labels call a capacity type.
pub(crate) fn priority(capacity: CapacityType) -> &'static str {
    if capacity == CapacityType::Spot {
        "spot"
    } else {
        "regular"
    }
}

fn offerings(sku: &Sku, surroundings: &Surroundings, market: &Market) -> Vec<Offering> {
    let mut offerings = Vec::with_capacity(2 * (sku.zones.len() + 1));
    for zone in zone_labels(sku, &surroundings.region) {
        let has_ultra = zones::wire(&zone)
            .first()
            .map_or(sku.has_regional_ultra_disk, |zone| {
                sku.ultra_disk_zones.contains(zone)
            });
        let ultra: &[&str] = if has_ultra {
            &["true", "false"]
        } else {
            &["false"]
        };
        for capacity_type in [CapacityType::OnDemand, CapacityType::Spot] {
            let priority = priority(capacity_type);
            offerings.push(Offering {
                requirements: vec![
                    is(labels::AKS_SCALE_SET_PRIORITY, priority),
                    is(labels::AKS_PRIORITY, priority),
                    is(labels::PLACEMENT_SCOPE, placement_scope(&zone)),
                    one_of(labels::SKU_STORAGE_ULTRA_SSD, ultra.iter().copied()),
                ],
                price: market.prices.of(sku.name.as_str(), capacity_type),
                available: market.is_available(sku, &zone, capacity_type),
                zone: zone.clone(),
                capacity_type,
            });
        }
    }
    offerings
}

fn is(key: &str, value: &str) -> RequirementSpec {
    one_of(key, [value])
}

fn one_of<'a>(key: &str, values: impl IntoIterator<Item = &'a str>) -> RequirementSpec {
    let values: Vec<Arc<str>> = values.into_iter().map(Arc::from).collect();
    let operator = if values.is_empty() {
        Operator::DoesNotExist
    } else {
        Operator::In
    };
    RequirementSpec::new(key, operator, values)
}

fn optional(key: &str, value: Option<&str>) -> RequirementSpec {
    one_of(key, value)
}

fn boolean(key: &str, value: bool) -> RequirementSpec {
    is(key, if value { "true" } else { "false" })
}

/// Distinct values of available offerings, in order of first appearance.
fn distinct<'a>(
    offerings: &'a [Offering],
    value: impl Fn(&'a Offering) -> &'a str,
) -> Vec<&'a str> {
    let mut values = Vec::new();
    for offering in offerings.iter().filter(|offering| offering.available) {
        let value = value(offering);
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

fn requirements(
    sku: &Sku,
    key: &ClassKey,
    surroundings: &Surroundings,
    offerings: &[Offering],
) -> Vec<RequirementSpec> {
    let mut all = vec![
        is(labels::INSTANCE_TYPE, sku.name.as_str()),
        is(labels::ARCH, &sku.arch),
        is(labels::OS, "linux"),
        is(labels::REGION, &surroundings.region),
        one_of(labels::WINDOWS_BUILD, []),
        one_of(labels::ZONE, distinct(offerings, |o| o.zone.as_str())),
        one_of(
            labels::CAPACITY_TYPE,
            distinct(offerings, |o| o.capacity_type.as_str()),
        ),
        one_of(
            labels::PLACEMENT_SCOPE,
            distinct(offerings, |o| placement_scope(&o.zone)),
        ),
        one_of(
            labels::AKS_SCALE_SET_PRIORITY,
            distinct(offerings, |o| priority(o.capacity_type)),
        ),
        one_of(
            labels::AKS_PRIORITY,
            distinct(offerings, |o| priority(o.capacity_type)),
        ),
        is(labels::AKS_CLUSTER, &surroundings.cluster_label),
        one_of(labels::AKS_MODE, ["system", "user"]),
        is(
            labels::AKS_OS_SKU,
            if key.is_azure_linux {
                "AzureLinux"
            } else {
                "Ubuntu"
            },
        ),
        optional(labels::AKS_FIPS_ENABLED, key.needs.fips.then_some("true")),
    ];
    all.extend(sku_requirements(sku));
    all
}

fn sku_requirements(sku: &Sku) -> Vec<RequirementSpec> {
    let cpu = sku.vcpus.to_string();
    let memory = sku.memory_mib.to_string();
    let ephemeral = sku
        .ephemeral_disk
        .as_ref()
        .map(|disk| disk.max_gb.to_string());
    let has_ultra = sku.has_regional_ultra_disk || !sku.ultra_disk_zones.is_empty();
    let ultra: &[&str] = if has_ultra {
        &["true", "false"]
    } else {
        &["false"]
    };
    vec![
        is(labels::SKU_NAME, sku.name.as_str()),
        is(labels::SKU_FAMILY, &sku.parsed.family),
        is(labels::SKU_SERIES, &sku.parsed.series()),
        is(labels::SKU_VERSION, sku.parsed.version_label()),
        is(labels::SKU_CPU, &cpu),
        is(labels::SKU_MEMORY, &memory),
        is(labels::AKS_SKU_CPU, &cpu),
        is(labels::AKS_SKU_MEMORY, &memory),
        boolean(
            labels::SKU_NETWORKING_ACCELERATED,
            sku.has_accelerated_networking,
        ),
        boolean(labels::SKU_STORAGE_PREMIUM_CAPABLE, sku.has_premium_io),
        optional(
            labels::SKU_STORAGE_EPHEMERALOS_MAXSIZE,
            ephemeral.as_deref(),
        ),
        one_of(labels::SKU_STORAGE_ULTRA_SSD, ultra.iter().copied()),
        is(labels::SKU_GPU_COUNT, &sku.gpus.to_string()),
        optional(
            labels::SKU_GPU_MANUFACTURER,
            sku.gpu.map(|gpu| gpu.manufacturer),
        ),
        optional(
            labels::SKU_GPU_NAME,
            sku.parsed.accelerator.as_deref().filter(|_| sku.gpus > 0),
        ),
        one_of(
            labels::SKU_HYPERV_GENERATION,
            sku.hyperv_generations.iter().map(String::as_str),
        ),
    ]
}
