//! The Retail Prices API's rows of one region, and its `$filter`.

use serde_json::Value;

use super::{Catalog, Location, MicroUsd};
use crate::random::hex;

/// One meter.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    size: &'static str,
    /// The row as the API spells it.
    text: String,
}

/// Two rows per size: on-demand, and spot where it is sold.
pub(super) fn rows(catalog: &Catalog) -> Vec<Row> {
    let region = &catalog.region;
    let place = Location::find(region).map_or(region.as_str(), |location| location.display_name);
    let mut rows = Vec::with_capacity(catalog.sizes().len() * 2);
    for size in catalog.sizes() {
        rows.push(row((region, place), size.name, "", size.on_demand));
        if let Some(price) = size.spot {
            rows.push(row((region, place), size.name, " Spot", price));
        }
    }
    rows
}

/// Fields that only identify a meter are derived from its name.
fn row(at: (&str, &str), size: &'static str, suffix: &str, price: MicroUsd) -> Row {
    let (region, place) = at;
    let meter = size
        .split_once('_')
        .map_or(size, |(_, rest)| rest)
        .replace('_', " ");
    let id = identifier(&format!("{region}/{size}{suffix}"));
    let short = id.get(..4).unwrap_or_default();
    let text = format!(
        "{{\"currencyCode\":\"USD\",\"tierMinimumUnits\":0.0,\"retailPrice\":{price},\
         \"unitPrice\":{price},\"armRegionName\":\"{region}\",\"location\":\"{place}\",\
         \"effectiveStartDate\":\"2020-01-01T00:00:00Z\",\"meterId\":\"{id}\",\
         \"meterName\":\"{meter}{suffix}\",\"productId\":\"DZH318Z0FAKE\",\
         \"skuId\":\"DZH318Z0FAKE/{short}\",\"productName\":\"Virtual Machines\",\
         \"skuName\":\"{meter}{suffix}\",\"serviceName\":\"Virtual Machines\",\
         \"serviceId\":\"DZH313Z7MMC8\",\"serviceFamily\":\"Compute\",\
         \"unitOfMeasure\":\"1 Hour\",\"type\":\"Consumption\",\
         \"isPrimaryMeterRegion\":true,\"armSkuName\":\"{size}\"}}"
    );
    Row { size, text }
}

impl Row {
    /// The row as JSON.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// A member of the row; the usual filters ask only for those that need no parsing.
    fn member(&self, name: &str, region: &str) -> Option<String> {
        let known = match name {
            "priceType" | "type" => "Consumption",
            "currencyCode" => "USD",
            "serviceFamily" => "Compute",
            "serviceName" => "Virtual Machines",
            "armRegionName" => region,
            "armSkuName" => self.size,
            _ => {
                let row: Value = serde_json::from_str(&self.text).ok()?;
                return row.get(name).and_then(Value::as_str).map(str::to_owned);
            }
        };
        Some(known.to_owned())
    }
}

/// A stable GUID-shaped name for a meter.
fn identifier(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(text.as_bytes());
    let hex = hex(digest.get(..16).unwrap_or_default());
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

/// A `$filter`: comparisons joined by `and`. Values compare with case, as since
/// `2023-01-01-preview`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PriceFilter {
    equal: Vec<(String, String)>,
    contains: Vec<(String, String)>,
}

impl PriceFilter {
    /// Reads a filter; `None` when it uses more than `eq`, `contains` and `and`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut filter = Self::default();
        for term in text
            .split(" and ")
            .map(str::trim)
            .filter(|term| !term.is_empty())
        {
            let call = term
                .strip_prefix("contains(")
                .and_then(|rest| rest.strip_suffix(')'));
            if let Some((field, value)) = call.and_then(|call| call.split_once(',')) {
                filter
                    .contains
                    .push((field.trim().to_owned(), unquote(value.trim())?));
            } else {
                let (field, value) = term.split_once(" eq ")?;
                filter
                    .equal
                    .push((field.trim().to_owned(), unquote(value.trim())?));
            }
        }
        Some(filter)
    }

    /// The region the filter asks for, if it names one.
    pub(crate) fn region(&self) -> Option<&str> {
        self.equal
            .iter()
            .find(|(field, _)| field == "armRegionName")
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn matches(&self, row: &Row, region: &str) -> bool {
        let value = |field: &str| row.member(field, region);
        self.equal
            .iter()
            .all(|(field, wanted)| value(field).as_deref() == Some(wanted))
            && self.contains.iter().all(|(field, part)| {
                value(field).is_some_and(|value| value.contains(part.as_str()))
            })
    }
}

fn unquote(text: &str) -> Option<String> {
    Some(
        text.strip_prefix('\'')?
            .strip_suffix('\'')?
            .replace("''", "'"),
    )
}
