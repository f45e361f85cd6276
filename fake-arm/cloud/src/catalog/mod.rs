//! Sizes, prices and zones of one region, from the tables in `data/`.
//!
//! Decoding reads one line of each price table and the table of sizes, under a millisecond; the
//! answers that never change (the SKU list) are encoded once per process and region.

mod capabilities;
mod locations;
mod prices;
mod skus;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    locations::Location,
    prices::{PriceFilter, Row as PriceRow},
};
use crate::config::{CapacityType, ConfigError};

const SIZES: &str = include_str!("../../data/sizes.tsv");
const ON_DEMAND: &str = include_str!("../../data/ondemand.tsv");
const SPOT: &str = include_str!("../../data/spot.tsv");

/// An amount of money: millionths of a US dollar, exact for every published price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MicroUsd(pub u64);

impl MicroUsd {
    /// Reads a decimal number of dollars with at most six places.
    fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = format!("{fraction:0<6}");
        let whole: u64 = whole.parse().ok()?;
        Some(Self(
            whole * 1_000_000 + digits.get(..6)?.parse::<u64>().ok()?,
        ))
    }
}

impl std::fmt::Display for MicroUsd {
    /// Dollars, without trailing zeros: `0.192`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// A VM size as a region sells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// `Standard_D4s_v5`.
    pub name: &'static str,
    /// Quota family in its exact spelling, `standardDSv5Family`.
    pub family: &'static str,
    pub vcpus: u32,
    pub memory_mib: u64,
    pub gpus: u32,
    /// Whether the GPUs are NVIDIA's.
    pub nvidia: bool,
    pub arm64: bool,
    pub(crate) max_data_disks: Option<u32>,
    pub(crate) disk_iops: Option<u64>,
    pub(crate) disk_mbps: Option<u64>,
    /// Linux pay-as-you-go, per hour.
    pub on_demand: MicroUsd,
    /// Absent: not sold as spot.
    pub spot: Option<MicroUsd>,
    /// Whether the size can be placed in a zone.
    pub zonal: bool,
}

impl Size {
    /// The price per hour; `None` when the size is not sold in that form.
    pub fn price(&self, kind: CapacityType) -> Option<MicroUsd> {
        match kind {
            CapacityType::OnDemand => Some(self.on_demand),
            CapacityType::Spot => self.spot,
        }
    }
}

/// What one region offers.
#[derive(Debug)]
pub struct Catalog {
    pub region: String,
    /// In the order of their names.
    sizes: Vec<Size>,
    /// Quota families of all sizes, in order.
    families: Vec<&'static str>,
    /// From lower-case name to index.
    by_name: BTreeMap<String, usize>,
    /// Logical zones, in order; empty for a region without zones.
    pub zones: Vec<String>,
    skus: OnceLock<Bytes>,
    prices: OnceLock<Vec<prices::Row>>,
}

impl Catalog {
    /// The catalogue of a region; decoded once per process.
    pub fn of(region: &str) -> Result<Arc<Self>, ConfigError> {
        static DECODED: Mutex<BTreeMap<String, Arc<Catalog>>> = Mutex::new(BTreeMap::new());
        let mut decoded = DECODED.lock().expect("decoding does not panic");
        if let Some(catalog) = decoded.get(region) {
            return Ok(Arc::clone(catalog));
        }
        let catalog = Arc::new(Self::decode(region)?);
        decoded.insert(region.to_owned(), Arc::clone(&catalog));
        Ok(catalog)
    }

    fn decode(region: &str) -> Result<Self, ConfigError> {
        let (Some(on_demand), Some(location)) =
            (line_of(ON_DEMAND, region), Location::find(region))
        else {
            return Err(ConfigError::new("region", unknown_region(region)));
        };
        let spot = line_of(SPOT, region).unwrap_or_default();
        let zones: Vec<String> = location
            .zones()
            .map(|(logical, _)| logical.to_owned())
            .collect();
        let sizes: Vec<Size> = SIZES
            .lines()
            .filter(|line| !line.starts_with('#'))
            .zip(on_demand.split(','))
            .zip(spot.split(',').chain(std::iter::repeat("")))
            .filter_map(|((row, on_demand), spot)| size(row, on_demand, spot))
            .collect();
        let by_name = sizes
            .iter()
            .enumerate()
            .map(|(index, size)| (size.name.to_ascii_lowercase(), index))
            .collect();
        let mut families: Vec<&'static str> = sizes.iter().map(|size| size.family).collect();
        families.sort_unstable();
        families.dedup();
        Ok(Self {
            region: region.to_owned(),
            sizes,
            families,
            by_name,
            zones,
            skus: OnceLock::new(),
            prices: OnceLock::new(),
        })
    }

    /// The quota families of the region, in order.
    pub fn families(&self) -> &[&'static str] {
        &self.families
    }

    /// Every size sold in the region.
    pub fn sizes(&self) -> &[Size] {
        &self.sizes
    }

    /// A size by name, in any case.
    pub fn size(&self, name: &str) -> Option<&Size> {
        self.by_name
            .get(&name.to_ascii_lowercase())
            .and_then(|index| self.sizes.get(*index))
    }

    /// The logical zones in which a size is sold.
    pub fn zones_of(&self, size: &Size) -> &[String] {
        if size.zonal { &self.zones } else { &[] }
    }

    /// The body of `GET …/Microsoft.Compute/skus`.
    pub(crate) fn skus(&self) -> Bytes {
        self.skus.get_or_init(|| skus::encode(self)).clone()
    }

    /// The rows of the Retail Prices API for this region.
    pub(crate) fn prices(&self) -> &[prices::Row] {
        self.prices.get_or_init(|| prices::rows(self))
    }
}

/// The rest of the table line that starts with `key` and a tab.
fn line_of(table: &'static str, key: &str) -> Option<&'static str> {
    table
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'))
}

fn unknown_region(region: &str) -> String {
    let known = ON_DEMAND
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('\t').next())
        .collect::<Vec<_>>()
        .join(", ");
    format!("no sizes and prices are known for '{region}'; known regions: {known}")
}

/// One row of the table of sizes, when the region sells it.
fn size(row: &'static str, on_demand: &str, spot: &str) -> Option<Size> {
    let on_demand = MicroUsd::parse(on_demand)?;
    let mut columns = row.split('\t');
    let mut next = || columns.next().unwrap_or("-");
    let name = next();
    let family = next();
    let vcpus = next().parse().ok()?;
    let memory_mib = next().parse().ok()?;
    let gpus = next().parse().unwrap_or(0);
    let nvidia = next() == "nvidia";
    let arm64 = next() == "arm64";
    Some(Size {
        name,
        family,
        vcpus,
        memory_mib,
        gpus,
        nvidia,
        arm64,
        max_data_disks: next().parse().ok(),
        disk_iops: next().parse().ok(),
        disk_mbps: next().parse().ok(),
        on_demand,
        spot: MicroUsd::parse(spot),
        zonal: capabilities::is_zonal(name),
    })
}
