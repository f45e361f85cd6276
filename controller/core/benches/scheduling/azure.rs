//! A region's whole catalogue, from the tables of the emulator.

use std::path::Path;

use controller_core::labels;
use controller_core::model::{CapacityType, InstanceType, Offering, Overhead, Price};
use controller_core::quantity::Resources;
use controller_core::requirements::{Operator, RequirementSpec};

use crate::cluster::{MI, one_of};

const REGION: &str = "westeurope";

fn prices(folder: &Path, file: &str) -> Result<Vec<Option<Price>>, String> {
    let path = folder.join(file);
    let table = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let line = table
        .lines()
        .find_map(|line| line.strip_prefix(REGION)?.strip_prefix('\t'));
    let line = line.ok_or_else(|| format!("{}: no line for {REGION}", path.display()))?;
    Ok(line.split(',').map(price).collect())
}

/// Dollars with up to nine decimals, exactly.
fn price(text: &str) -> Option<Price> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nano: i64 = format!("{fraction:0<9}").parse().ok()?;
    Some(Price(whole.parse::<i64>().ok()? * Price::DOLLAR + nano))
}

/// All sizes that are sold, in three zones, on demand and where there is a price as spot.
pub(crate) fn catalogue() -> Result<Vec<InstanceType>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fake-arm/cloud/data");
    let path = folder.join("sizes.tsv");
    let sizes = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let on_demand = prices(&folder, "ondemand.tsv")?;
    let spot = prices(&folder, "spot.tsv")?;
    let rows = sizes.lines().filter(|line| !line.starts_with('#'));
    let types = rows.enumerate().filter_map(|(index, line)| {
        let columns: Vec<&str> = line.split('\t').collect();
        let on_demand = on_demand.get(index).copied().flatten()?;
        instance_type(&columns, on_demand, spot.get(index).copied().flatten())
    });
    Ok(types.collect())
}

fn instance_type(columns: &[&str], on_demand: Price, spot: Option<Price>) -> Option<InstanceType> {
    let [name, family, cpu, memory, gpus, _, arch, ..] = columns[..] else {
        return None;
    };
    let cpu_count: i64 = cpu.parse().ok()?;
    let mut offerings = Vec::new();
    for zone in ["westeurope-1", "westeurope-2", "westeurope-3"] {
        let mut sell = |capacity_type, price| {
            offerings.push(Offering {
                zone: zone.into(),
                capacity_type,
                requirements: Vec::new(),
                price,
                available: true,
            });
        };
        sell(CapacityType::OnDemand, on_demand);
        if let Some(price) = spot {
            sell(CapacityType::Spot, price);
        }
    }
    let mut capacity = Resources {
        cpu_milli: cpu_count * 1000,
        memory_bytes: memory.parse::<i64>().ok()? * MI,
        ephemeral_bytes: 128_000 * MI,
        pods: 250,
        ..Resources::default()
    };
    match gpus.parse::<i64>() {
        Ok(count) if count > 0 => capacity.set("nvidia.com/gpu", count),
        _ => {}
    }
    let arch = if arch == "arm64" { "arm64" } else { "amd64" };
    let gpu = RequirementSpec::new(
        "karpenter.azure.com/sku-gpu-count",
        Operator::In,
        [gpus.into()],
    );
    Some(InstanceType {
        name: name.into(),
        requirements: vec![
            one_of(labels::INSTANCE_TYPE, [name]),
            one_of(labels::ARCH, [arch]),
            one_of(labels::OS, ["linux"]),
            one_of("karpenter.azure.com/sku-family", [family]),
            one_of("karpenter.azure.com/sku-cpu", [cpu]),
            one_of("karpenter.azure.com/sku-memory", [memory]),
            gpu,
        ],
        offerings,
        capacity,
        overhead: Overhead {
            kube_reserved: Resources {
                cpu_milli: 100,
                memory_bytes: 1_200 * MI,
                ..Resources::default()
            },
            ..Overhead::default()
        },
    })
}
