//! The Resource SKUs list, written directly: it is megabytes long and made once.

use std::fmt::Write as _;

use bytes::Bytes;

use super::{Catalog, Size, capabilities as can};

const CAPABILITIES: &str = include_str!("../../data/capabilities.tsv");

/// The body of the SKU list: every size of the region.
pub(super) fn encode(catalog: &Catalog) -> Bytes {
    // About 2 kB per size.
    let mut out = String::with_capacity(catalog.sizes().len() * 2_048);
    out.push_str("{\"value\":[");
    for (index, size) in catalog.sizes().iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        encode_size(&mut out, catalog, size);
    }
    out.push_str("]}");
    Bytes::from(out)
}

fn encode_size(out: &mut String, catalog: &Catalog, size: &Size) {
    let region = &catalog.region;
    let (tier, short) = size.name.split_once('_').unwrap_or(("Standard", size.name));
    let zones = catalog.zones_of(size);
    let quoted = zones
        .iter()
        .map(|zone| format!("\"{zone}\""))
        .collect::<Vec<_>>()
        .join(",");
    let details = if zones.is_empty() || !can::premium_io(size.name) {
        String::new()
    } else {
        format!(
            "{{\"Name\":[{quoted}],\"capabilities\":[{{\"name\":\"UltraSSDAvailable\",\"value\":\"True\"}}]}}"
        )
    };
    write!(
        out,
        "{{\"resourceType\":\"virtualMachines\",\"name\":\"{}\",\"tier\":\"{tier}\",\"size\":\"{short}\",\
         \"family\":\"{}\",\"locations\":[\"{region}\"],\"locationInfo\":[{{\"location\":\"{region}\",\
         \"zones\":[{quoted}],\"zoneDetails\":[{details}]}}],\"capabilities\":[",
        size.name, size.family
    )
    .expect("writing to a String cannot fail");
    encode_capabilities(out, size);
    out.push_str("],\"restrictions\":[]}");
}

/// Published capabilities where there are any, else those read off the name.
fn encode_capabilities(out: &mut String, size: &Size) {
    let Some(published) = super::line_of(CAPABILITIES, size.name) else {
        derive_capabilities(out, size);
        return;
    };
    let members = published.split(';').filter_map(|pair| pair.split_once('='));
    for (index, (name, value)) in members.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(out, "{comma}{{\"name\":\"{name}\",\"value\":\"{value}\"}}")
            .expect("writing to a String cannot fail");
    }
}

fn derive_capabilities(out: &mut String, size: &Size) {
    let disks = can::local_disks(size);
    let mut first = true;
    let mut add = |name: &str, value: &dyn std::fmt::Display| {
        let comma = if std::mem::take(&mut first) { "" } else { "," };
        write!(out, "{comma}{{\"name\":\"{name}\",\"value\":\"{value}\"}}")
            .expect("writing to a String cannot fail");
    };
    let flag = |set: bool| if set { "True" } else { "False" };
    add("MaxResourceVolumeMB", &disks.resource_mib);
    add("OSVhdSizeMB", &1_047_552);
    add("vCPUs", &size.vcpus);
    add(
        "MemoryPreservingMaintenanceSupported",
        &flag(size.gpus == 0),
    );
    add("HyperVGenerations", &can::hyper_v(size));
    add("MemoryGB", &gib(size.memory_mib));
    if let Some(disks) = size.max_data_disks {
        add("MaxDataDiskCount", &disks);
    }
    add(
        "CpuArchitectureType",
        &if size.arm64 { "Arm64" } else { "x64" },
    );
    add("LowPriorityCapable", &flag(can::low_priority(size)));
    add("PremiumIO", &flag(can::premium_io(size.name)));
    add("VMDeploymentTypes", &"IaaS");
    add("vCPUsAvailable", &size.vcpus);
    add("vCPUsPerCore", &can::threads(size));
    if size.gpus > 0 {
        add("GPUs", &size.gpus);
    }
    if let Some(bytes) = disks.cache_bytes {
        add("CachedDiskBytes", &bytes);
    }
    if let Some(mib) = disks.nvme_mib {
        add("NvmeDiskSizeInMiB", &mib);
    }
    if let Some(iops) = size.disk_iops {
        add("UncachedDiskIOPS", &iops);
    }
    if let Some(mbps) = size.disk_mbps {
        add("UncachedDiskBytesPerSecond", &(mbps * 1_048_576));
    }
    let placements = can::os_disk_placements(size);
    add("EphemeralOSDiskSupported", &flag(!placements.is_empty()));
    if !placements.is_empty() {
        add("SupportedEphemeralOSDiskPlacements", &placements);
    }
    add(
        "EncryptionAtHostSupported",
        &flag(can::encryption_at_host(size)),
    );
    add("CapacityReservationSupported", &"False");
    add(
        "AcceleratedNetworkingEnabled",
        &flag(can::accelerated_networking(size)),
    );
    add(
        "RdmaEnabled",
        &flag(size.name.contains('r') && size.gpus > 0),
    );
    add("MaxNetworkInterfaces", &can::network_interfaces(size.vcpus));
}

/// GiB without superfluous zeros: 512 MiB are `0.5`.
fn gib(mib: u64) -> String {
    let thousandths = mib * 1000 / 1024;
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
