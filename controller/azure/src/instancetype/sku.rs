//! Resource SKUs as the Compute provider lists them, and what is read out of them.

use std::collections::BTreeSet;

use controller_core::model::InstanceTypeName;
use serde::Deserialize;

use super::gpus::{self, Gpu};
use super::size_name::SizeName;

/// One item of `GET …/Microsoft.Compute/skus`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SkuItem {
    pub(crate) resource_type: String,
    name: String,
    size: String,
    family: String,
    location_info: Vec<LocationInfo>,
    capabilities: Vec<Capability>,
    restrictions: Vec<Restriction>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LocationInfo {
    location: String,
    zones: Vec<String>,
    zone_details: Vec<ZoneDetail>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ZoneDetail {
    // Written `Name` by the service and `name` by its documentation.
    #[serde(alias = "Name")]
    name: Vec<String>,
    capabilities: Vec<Capability>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Capability {
    name: String,
    value: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Restriction {
    #[serde(rename = "type")]
    kind: String,
    values: Vec<String>,
    #[serde(rename = "restrictionInfo")]
    info: RestrictionInfo,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RestrictionInfo {
    zones: Vec<String>,
}

/// Where an ephemeral OS disk can lie, and how large it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EphemeralDisk {
    /// In units of 10⁹ bytes.
    pub(crate) max_gb: i64,
    /// Value of `diffDiskSettings.placement`.
    pub(crate) placement: &'static str,
}

/// A size that can be offered, in one region.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent capabilities, by their names"
)]
pub(crate) struct Sku {
    pub(crate) name: InstanceTypeName,
    pub(crate) family: String,
    pub(crate) parsed: SizeName,
    /// Usable logical zones (`1`), sorted.
    pub(crate) zones: Vec<String>,
    pub(crate) vcpus: u32,
    /// Memory in MiB; the capability calls it GB and means GiB.
    pub(crate) memory_mib: i64,
    pub(crate) gpus: i64,
    pub(crate) gpu: Option<Gpu>,
    /// `amd64`, `arm64`, or what the capability says.
    pub(crate) arch: String,
    /// `1`, `2`.
    pub(crate) hyperv_generations: Vec<String>,
    pub(crate) is_trusted_launch_disabled: bool,
    pub(crate) has_premium_io: bool,
    pub(crate) has_accelerated_networking: bool,
    pub(crate) is_spot_capable: bool,
    pub(crate) has_encryption_at_host: bool,
    pub(crate) ephemeral_disk: Option<EphemeralDisk>,
    /// Zones where ultra disks can be attached.
    pub(crate) ultra_disk_zones: BTreeSet<String>,
    /// Ultra disks can be attached to a regional machine.
    pub(crate) has_regional_ultra_disk: bool,
}

/// Sizes AKS refuses, and sizes upstream Karpenter leaves out
/// (`pkg/providers/instancetype/instancetypes.go`).
const RESTRICTED: [&str; 14] = [
    "Standard_A0",
    "Standard_A1",
    "Standard_A1_v2",
    "Standard_B1s",
    "Standard_B1ms",
    "Standard_F1",
    "Standard_F1s",
    "Basic_A0",
    "Basic_A1",
    "Basic_A2",
    "Basic_A3",
    "Basic_A4",
    "Standard_E64i_v3",
    "Standard_E64is_v3",
];
/// AKS needs two vCPUs.
const VCPUS_MIN: u32 = 2;
/// AKS needs 3.5 GiB.
const MEMORY_MIN_MIB: i64 = 3584;

impl SkuItem {
    fn capability(&self, name: &str) -> Option<&str> {
        self.capabilities
            .iter()
            .find(|c| c.name.eq_ignore_ascii_case(name))
            .map(|c| c.value.as_str())
    }

    fn is_true(&self, name: &str) -> bool {
        self.capability(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn integer(&self, name: &str) -> Option<i64> {
        self.capability(name)?.parse().ok()
    }

    /// The size, if it can carry a node in this region.
    pub(crate) fn usable(&self, region: &str) -> Option<Sku> {
        let is_vm = self.resource_type.eq_ignore_ascii_case("virtualMachines");
        if !is_vm || RESTRICTED.contains(&self.name.as_str()) || self.is_restricted(region) {
            return None;
        }
        let size = if self.size.is_empty() {
            self.name.split_once('_')?.1
        } else {
            &self.size
        };
        let parsed = SizeName::parse(size)?;
        let vcpus = self.capability("vCPUs")?.parse().ok()?;
        let memory_mib = mib(self.capability("MemoryGB")?)?;
        let gpus = self.integer("GPUs").unwrap_or(0);
        let gpu = gpus::lookup(&self.name);
        let is_confidential = size.starts_with("DC") || size.starts_with("EC");
        if vcpus < VCPUS_MIN
            || memory_mib < MEMORY_MIN_MIB
            || (gpus > 0 && gpu.is_none())
            || parsed.is_constrained
            || is_confidential
        {
            return None;
        }
        let (ultra_disk_zones, zones) = self.zones(region);
        Some(Sku {
            name: InstanceTypeName::new(self.name.as_str()),
            family: self.family.clone(),
            parsed,
            zones,
            vcpus,
            memory_mib,
            gpus: if gpu.is_some() { gpus } else { 0 },
            gpu,
            arch: self.arch(),
            hyperv_generations: self.hyperv_generations(),
            is_trusted_launch_disabled: self.is_true("TrustedLaunchDisabled"),
            has_premium_io: self.is_true("PremiumIO"),
            has_accelerated_networking: self.is_true("AcceleratedNetworkingEnabled"),
            is_spot_capable: self.is_true("LowPriorityCapable"),
            has_encryption_at_host: self.is_true("EncryptionAtHostSupported"),
            ephemeral_disk: self.ephemeral_disk(),
            ultra_disk_zones,
            has_regional_ultra_disk: self.is_true("UltraSSDAvailable"),
        })
    }

    fn is_restricted(&self, region: &str) -> bool {
        self.restrictions.iter().any(|r| {
            r.kind.eq_ignore_ascii_case("Location")
                && r.values.iter().any(|v| same_region(v, region))
        })
    }

    /// `(zones with ultra disks, zones)`.
    fn zones(&self, region: &str) -> (BTreeSet<String>, Vec<String>) {
        let Some(info) = self
            .location_info
            .iter()
            .find(|info| same_region(&info.location, region))
        else {
            return (BTreeSet::new(), Vec::new());
        };
        let closed: BTreeSet<&String> = self
            .restrictions
            .iter()
            .filter(|r| r.values.iter().any(|value| same_region(value, region)))
            .flat_map(|r| &r.info.zones)
            .collect();
        let mut zones: Vec<String> = info
            .zones
            .iter()
            .filter(|zone| !closed.contains(zone))
            .cloned()
            .collect();
        zones.sort();
        zones.dedup();
        let has_ultra = |detail: &&ZoneDetail| {
            detail.capabilities.iter().any(|c| {
                c.name.eq_ignore_ascii_case("UltraSSDAvailable")
                    && c.value.eq_ignore_ascii_case("true")
            })
        };
        let ultra = info
            .zone_details
            .iter()
            .filter(has_ultra)
            .flat_map(|d| d.name.clone())
            .collect();
        (ultra, zones)
    }

    fn arch(&self) -> String {
        match self.capability("CpuArchitectureType") {
            Some("x64") | None => "amd64".to_owned(),
            Some("Arm64") => "arm64".to_owned(),
            Some(other) => other.to_owned(),
        }
    }

    fn hyperv_generations(&self) -> Vec<String> {
        let list = self.capability("HyperVGenerations").unwrap_or_default();
        let mut generations: Vec<String> = list
            .split(',')
            .filter_map(|item| item.trim().strip_prefix(['V', 'v']))
            .map(str::to_owned)
            .collect();
        generations.sort();
        generations
    }

    /// `NVMe` first, then cache, then temporary disk (`FindMaxEphemeralSizeGBAndPlacement`).
    fn ephemeral_disk(&self) -> Option<EphemeralDisk> {
        if !self.is_true("EphemeralOSDiskSupported") {
            return None;
        }
        let placements = self
            .capability("SupportedEphemeralOSDiskPlacements")
            .unwrap_or_default();
        let has_nvme_placement = placements
            .split(',')
            .any(|placement| placement.trim() == "NvmeDisk");
        let nvme = self.integer("NvmeDiskSizeInMiB").unwrap_or(0);
        let cache = self.integer("CachedDiskBytes").unwrap_or(0);
        // The name says MB; the value is MiB.
        let temporary = self.integer("MaxResourceVolumeMB").unwrap_or(0);
        let (bytes, placement) = if nvme > 0 && has_nvme_placement {
            (nvme << 20, "NvmeDisk")
        } else if cache > 0 {
            (cache, "CacheDisk")
        } else {
            (temporary << 20, "ResourceDisk")
        };
        let max_gb = bytes / 1_000_000_000;
        (max_gb > 0).then_some(EphemeralDisk { max_gb, placement })
    }
}

/// Regions compare without case and blanks.
fn same_region(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace(' ', "");
    plain(a) == plain(b)
}

/// GiB as decimal text to whole MiB, cut off.
fn mib(gib: &str) -> Option<i64> {
    let (whole, fraction) = gib.trim().split_once('.').unwrap_or((gib.trim(), ""));
    let digits = fraction.get(..fraction.len().min(6))?;
    let scale = 10_i64.pow(u32::try_from(digits.len()).ok()?);
    let fraction: i64 = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    let whole: i64 = whole.parse().ok()?;
    whole
        .checked_mul(1024)
        .map(|mib| mib + fraction * 1024 / scale)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An item with some capabilities, for tests.
    pub(crate) fn item(
        name: &str,
        family: &str,
        zones: &[&str],
        capabilities: &[(&str, &str)],
    ) -> SkuItem {
        SkuItem {
            resource_type: "virtualMachines".to_owned(),
            name: name.to_owned(),
            size: name
                .split_once('_')
                .expect("a tier comes first")
                .1
                .to_owned(),
            family: family.to_owned(),
            location_info: vec![LocationInfo {
                location: "westeurope".to_owned(),
                zones: zones.iter().map(|&zone| zone.to_owned()).collect(),
                zone_details: Vec::new(),
            }],
            capabilities: capabilities
                .iter()
                .map(|&(name, value)| Capability {
                    name: name.to_owned(),
                    value: value.to_owned(),
                })
                .collect(),
            restrictions: Vec::new(),
        }
    }

    #[test]
    fn ephemeral_disks_follow_the_rule() {
        type Row = (
            &'static str,
            &'static [(&'static str, &'static str)],
            Option<(i64, &'static str)>,
        );
        let rows: &[Row] = &[
            (
                "Standard_D128ds_v6",
                &[
                    ("NvmeDiskSizeInMiB", "7208960"),
                    (
                        "SupportedEphemeralOSDiskPlacements",
                        "ResourceDisk,NvmeDisk",
                    ),
                ],
                Some((7559, "NvmeDisk")),
            ),
            (
                "Standard_D64s_v3",
                &[
                    ("CachedDiskBytes", "1717986918400"),
                    ("MaxResourceVolumeMB", "524288"),
                ],
                Some((1717, "CacheDisk")),
            ),
            (
                "Standard_NC24ads_A100_v4",
                &[
                    ("NvmeDiskSizeInMiB", "915527"),
                    ("CachedDiskBytes", "274877906944"),
                    ("SupportedEphemeralOSDiskPlacements", "CacheDisk"),
                ],
                Some((274, "CacheDisk")),
            ),
            (
                "Standard_B4ms",
                &[("MaxResourceVolumeMB", "32768")],
                Some((34, "ResourceDisk")),
            ),
            ("Standard_D2as_v6", &[], None),
        ];
        for (name, capabilities, expected) in rows {
            let mut all = vec![("EphemeralOSDiskSupported", "True")];
            all.extend(*capabilities);
            let disk = item(name, "f", &[], &all).ephemeral_disk();
            assert_eq!(
                disk.as_ref().map(|d| (d.max_gb, d.placement)),
                *expected,
                "{name}"
            );
        }
    }

    #[test]
    fn unusable_sizes_are_left_out() {
        let plain = [("vCPUs", "4"), ("MemoryGB", "16")];
        assert!(
            item("Standard_D4s_v5", "f", &[], &plain)
                .usable("westeurope")
                .is_some()
        );
        for (name, capabilities) in [
            ("Standard_D1s_v5", vec![("vCPUs", "1"), ("MemoryGB", "4")]),
            ("Standard_B2s", vec![("vCPUs", "2"), ("MemoryGB", "3.4")]),
            ("Standard_E32-16as_v5", plain.to_vec()),
            ("Standard_DC4as_v5", plain.to_vec()),
            (
                "Standard_NG8ads_V620_v1",
                vec![("vCPUs", "8"), ("MemoryGB", "16"), ("GPUs", "1")],
            ),
            ("Standard_E64i_v3", plain.to_vec()),
        ] {
            assert!(
                item(name, "f", &[], &capabilities)
                    .usable("westeurope")
                    .is_none(),
                "{name}"
            );
        }
        let mut restricted = item("Standard_D4s_v5", "f", &["1"], &plain);
        restricted.restrictions.push(Restriction {
            kind: "Location".to_owned(),
            values: vec!["WestEurope".to_owned()],
            info: RestrictionInfo::default(),
        });
        assert!(restricted.usable("westeurope").is_none());
    }

    #[test]
    fn closed_zones_are_left_out() {
        let mut sku = item(
            "Standard_D4s_v5",
            "f",
            &["3", "1", "2"],
            &[("vCPUs", "4"), ("MemoryGB", "16")],
        );
        sku.restrictions.push(Restriction {
            kind: "Zone".to_owned(),
            values: vec!["westeurope".to_owned()],
            info: RestrictionInfo {
                zones: vec!["2".to_owned()],
            },
        });
        assert_eq!(sku.usable("West Europe").expect("usable").zones, ["1", "3"]);
    }

    #[test]
    fn memory_is_read_exactly() {
        assert_eq!(
            [mib("16"), mib("218.75"), mib("3.5"), mib("0.75"), mib("x")],
            [Some(16384), Some(224_000), Some(3584), Some(768), None]
        );
    }
}
