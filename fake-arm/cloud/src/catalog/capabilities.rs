//! What a size can do beyond cores and memory, read off its name.
//!
//! Rules of thumb after Azure's naming conventions and the published entries of about 30 sizes
//! (`Azure/karpenter-provider-azure` `pkg/fake/zz_generated.sku.*.go`); see `data/README.md`.

use super::Size;

/// The parts of a size name that carry meaning: `Standard_NC16as_T4_v3` is series `NC`, features
/// `as`, version 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) series: &'a str,
    /// Lower-case letters after the core count.
    pub(super) features: &'a str,
    /// 1 for names without a version.
    pub(super) version: u32,
    promo: bool,
}

impl<'a> Name<'a> {
    pub(super) fn parse(name: &'a str) -> Self {
        let (tier, rest) = name.split_once('_').unwrap_or(("", name));
        let mut parts = rest.split('_');
        let head = parts.next().unwrap_or_default();
        let series_end = head
            .find(|c: char| !c.is_ascii_uppercase())
            .unwrap_or(head.len());
        let (series, tail) = head.split_at_checked(series_end).unwrap_or((head, ""));
        let features = tail.trim_start_matches(|c: char| !c.is_ascii_lowercase());
        let version = parts
            .clone()
            .find_map(|part| part.strip_prefix('v')?.parse().ok())
            .unwrap_or(1);
        let promo = tier == "Basic" || parts.any(|part| part == "Promo");
        Self {
            series,
            features,
            version,
            promo,
        }
    }

    fn has(&self, feature: char) -> bool {
        self.features.contains(feature)
    }

    fn burstable_first(&self) -> bool {
        self.series == "B" && self.version == 1
    }
}

/// First-generation sizes are not sold in zones.
pub(super) fn is_zonal(size: &str) -> bool {
    let name = Name::parse(size);
    name.burstable_first() || name.version > 1 || name.series == "M"
}

/// The disks that may back an ephemeral operating-system disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LocalDisks {
    pub(super) cache_bytes: Option<u64>,
    pub(super) resource_mib: u64,
    pub(super) nvme_mib: Option<u64>,
}

const GIB: u64 = 1 << 30;

/// Cache and temporary disks.
pub(super) fn local_disks(size: &Size) -> LocalDisks {
    let name = Name::parse(size.name);
    let cores = u64::from(size.vcpus);
    let premium = premium_io(size.name);
    match name.version {
        _ if name.burstable_first() => LocalDisks {
            cache_bytes: Some(30 * GIB),
            resource_mib: cores * 8 * 1024,
            nvme_mib: None,
        },
        // From v6 on, temporary storage is NVMe, and only sizes with a `d` have it.
        6.. => LocalDisks {
            nvme_mib: name.has('d').then_some(cores * 56_320),
            ..LocalDisks::default()
        },
        4..=5 if name.has('d') => LocalDisks {
            cache_bytes: premium.then_some(cores * 25 * GIB),
            resource_mib: cores * 38_400,
            nvme_mib: None,
        },
        4..=5 => LocalDisks::default(),
        2..=3 => LocalDisks {
            cache_bytes: premium.then_some(cores * if name.series == "F" { 16 } else { 25 } * GIB),
            resource_mib: cores * if premium { 8_192 } else { 25_600 },
            nvme_mib: None,
        },
        _ => LocalDisks {
            resource_mib: cores * 20_480,
            ..LocalDisks::default()
        },
    }
}

/// Where an ephemeral operating-system disk may lie; empty when nowhere.
pub(super) fn os_disk_placements(size: &Size) -> &'static str {
    let disks = local_disks(size);
    match (disks.nvme_mib, disks.cache_bytes, disks.resource_mib) {
        (Some(_), _, _) => "NvmeDisk",
        (None, Some(_), _) => "ResourceDisk,CacheDisk",
        (None, None, mib) if mib > 0 && Name::parse(size.name).version >= 4 => {
            "ResourceDisk,CacheDisk"
        }
        _ => "",
    }
}

/// `s` among the features, or the old `DS`, `GS`, `LS` series.
pub(super) fn premium_io(size: &str) -> bool {
    let name = Name::parse(size);
    name.has('s') || matches!(name.series, "DS" | "GS" | "FS")
}

/// `V1`, `V2` or both.
pub(super) fn hyper_v(size: &Size) -> &'static str {
    let name = Name::parse(size.name);
    let modern = name.version >= 6 || size.name.contains("A100") || size.name.contains("H100");
    if size.arm64 || modern || name.series.starts_with("DC") || name.series.starts_with("EC") {
        "V2"
    } else if premium_io(size.name) || name.version >= 4 {
        "V1,V2"
    } else {
        "V1"
    }
}

/// Whether the catalogue says that the size may be bought as spot.
pub(super) fn low_priority(size: &Size) -> bool {
    let name = Name::parse(size.name);
    size.spot.is_some() && !name.burstable_first() && !name.promo
}

pub(super) fn accelerated_networking(size: &Size) -> bool {
    let name = Name::parse(size.name);
    size.vcpus >= 2
        && name.version > 1
        && !(name.series == "A" || name.series == "NV" && name.version < 3)
}

pub(super) fn encryption_at_host(size: &Size) -> bool {
    premium_io(size.name) || Name::parse(size.name).version >= 4
}

/// Network interfaces, after the core count as Azure grades them.
pub(super) fn network_interfaces(vcpus: u32) -> u32 {
    match vcpus {
        0..=7 => 2,
        8..=31 => 4,
        _ => 8,
    }
}

/// Threads per core.
pub(super) fn threads(size: &Size) -> u32 {
    let name = Name::parse(size.name);
    if size.arm64 || name.series == "B" || name.version < 2 || size.vcpus == 1 {
        1
    } else {
        2
    }
}
