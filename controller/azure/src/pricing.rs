//! Prices: the Retail Prices API, and a table built in for when there is none.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use controller_core::model::{CapacityType, Price};
use flate2::read::GzDecoder;
use jiff::Timestamp;
use serde::Deserialize;

use crate::number::{float, round};

static TABLE: &[u8] = include_bytes!("../data/ondemand.tsv.gz");
/// Region whose prices stand in for a region that is not in the table.
const FALLBACK_REGION: &str = "eastus";
/// A size without a price: so dear that anything with a price is preferred.
const UNPRICED: Price = Price(999 * Price::DOLLAR);

/// Prices of one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prices {
    on_demand: BTreeMap<Arc<str>, Price>,
    spot: BTreeMap<Arc<str>, Price>,
}

/// One item of the Retail Prices API.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PriceItem {
    retail_price: f64,
    effective_start_date: Option<Timestamp>,
    meter_name: String,
    product_name: String,
    sku_name: String,
    arm_sku_name: String,
}

/// One page of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PricePage {
    #[serde(default)]
    pub(crate) items: Vec<PriceItem>,
    #[serde(default)]
    pub(crate) next_page_link: Option<String>,
}

/// The filter for Linux machines of a region, pay as you go.
pub(crate) fn filter(region: &str) -> String {
    format!(
        "priceType eq 'Consumption' and currencyCode eq 'USD' and serviceFamily eq 'Compute' \
         and serviceName eq 'Virtual Machines' and armRegionName eq '{region}'"
    )
}

fn price(dollars: f64) -> Price {
    Price(round(dollars * float(Price::DOLLAR)))
}

impl Prices {
    /// The table built in. Spot starts as on-demand: nothing is known of its discount.
    pub(crate) fn built_in(region: &str) -> Self {
        let text = table();
        let mut lines = text.lines();
        let sizes: Vec<&str> = lines
            .next()
            .unwrap_or_default()
            .split('\t')
            .skip(1)
            .collect();
        let row = |wanted: &str| {
            text.lines()
                .skip(1)
                .find(|line| line.split('\t').next() == Some(wanted))
        };
        let prices = row(region)
            .or_else(|| row(FALLBACK_REGION))
            .unwrap_or_default();
        let on_demand: BTreeMap<Arc<str>, Price> = sizes
            .iter()
            .zip(prices.split('\t').skip(1))
            .filter_map(|(&size, text)| Some((Arc::from(size), price(text.parse().ok()?))))
            .collect();
        Self {
            spot: on_demand.clone(),
            on_demand,
        }
    }

    /// Prices from the API, at one time. A kind without any item keeps what it had.
    pub(crate) fn updated(&self, items: &[PriceItem], now: Timestamp) -> Self {
        let mut newest: BTreeMap<(CapacityType, &str), &PriceItem> = BTreeMap::new();
        for item in items {
            let is_other = item.product_name.ends_with(" Windows")
                || item.meter_name.ends_with(" Low Priority")
                || item.arm_sku_name.is_empty()
                || item.effective_start_date.is_some_and(|start| start > now);
            // A free or negative price is a meter of something else.
            if is_other || item.retail_price <= 0.0 {
                continue;
            }
            let is_spot = item.sku_name.ends_with(" Spot");
            let capacity = if is_spot {
                CapacityType::Spot
            } else {
                CapacityType::OnDemand
            };
            // Several meters and dates name one size: the newest that is in force counts.
            let best = newest.entry((capacity, &item.arm_sku_name)).or_insert(item);
            if item.effective_start_date > best.effective_start_date {
                *best = item;
            }
        }
        let of = |wanted: CapacityType| -> BTreeMap<Arc<str>, Price> {
            let found = newest
                .iter()
                .filter(|((capacity, _), _)| *capacity == wanted);
            found
                .map(|((_, size), item)| (Arc::from(*size), price(item.retail_price)))
                .collect()
        };
        let kept = |fresh: BTreeMap<Arc<str>, Price>, old: &BTreeMap<Arc<str>, Price>| {
            if fresh.is_empty() { old.clone() } else { fresh }
        };
        Self {
            on_demand: kept(of(CapacityType::OnDemand), &self.on_demand),
            spot: kept(of(CapacityType::Spot), &self.spot),
        }
    }

    /// Price of a size.
    pub(crate) fn of(&self, size: &str, capacity: CapacityType) -> Price {
        let table = match capacity {
            CapacityType::Spot => &self.spot,
            CapacityType::OnDemand | CapacityType::Reserved => &self.on_demand,
        };
        table.get(size).copied().unwrap_or(UNPRICED)
    }
}

fn table() -> String {
    let mut text = String::new();
    GzDecoder::new(TABLE)
        .read_to_string(&mut text)
        .expect("the table is part of the program");
    text
}

#[cfg(test)]
pub(crate) fn known_sizes() -> Vec<String> {
    table()
        .lines()
        .next()
        .unwrap_or_default()
        .split('\t')
        .skip(1)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(
        size: &str,
        sku: &str,
        product: &str,
        meter: &str,
        dollars: f64,
        from: &str,
    ) -> PriceItem {
        PriceItem {
            retail_price: dollars,
            effective_start_date: Some(from.parse().expect("a time")),
            meter_name: meter.to_owned(),
            product_name: product.to_owned(),
            sku_name: sku.to_owned(),
            arm_sku_name: size.to_owned(),
        }
    }

    #[test]
    fn the_table_knows_regions_and_falls_back() {
        let europe = Prices::built_in("westeurope");
        assert!(europe.of("Standard_D4s_v5", CapacityType::OnDemand) < price(1.0));
        assert_eq!(europe.of("Standard_X1", CapacityType::Spot), UNPRICED);
        assert_eq!(Prices::built_in("nowhere"), Prices::built_in("eastus"));
    }

    #[test]
    fn only_linux_meters_in_force_count() {
        let (old, new, later) = (
            "2024-01-01T00:00:00Z",
            "2025-01-01T00:00:00Z",
            "2030-01-01T00:00:00Z",
        );
        let size = "Standard_D4s_v5";
        let items = [
            item(size, "D4s v5", "Dsv5 Series", "D4s v5", 0.3, old),
            item(size, "D4s v5", "Dsv5 Series", "D4s v5", 0.2, new),
            item(size, "D4s v5", "Dsv5 Series", "D4s v5", 0.1, later),
            item(size, "D4s v5", "Dsv5 Series Windows", "D4s v5", 0.5, new),
            item(
                size,
                "D4s v5 Low Priority",
                "Dsv5 Series",
                "D4s v5 Low Priority",
                0.01,
                new,
            ),
            item(size, "D4s v5 Spot", "Dsv5 Series", "D4s v5 Spot", 0.05, new),
        ];
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let prices = Prices::built_in("westeurope").updated(&items, now);
        assert_eq!(prices.of(size, CapacityType::OnDemand), price(0.2));
        assert_eq!(prices.of(size, CapacityType::Spot), price(0.05));
        assert_eq!(prices.of("Standard_D8s_v5", CapacityType::Spot), UNPRICED);
        let kept = prices.updated(&[], now);
        assert_eq!(kept, prices, "an empty answer changes nothing");
    }
}
