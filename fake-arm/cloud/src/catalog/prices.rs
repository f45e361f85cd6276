//! The Retail Prices API's rows of one region, and its `$filter`.

use serde_json::{Value, json};

use super::{Catalog, Location, MicroUsd, Size};
use crate::random::hex;

/// One meter.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    size: &'static str,
    spot: bool,
    price: MicroUsd,
}

/// Two rows per size: on-demand, and spot where it is sold.
pub(super) fn rows(catalog: &Catalog) -> Vec<Row> {
    let rows_of = |size: &Size| {
        let on_demand = Some(Row {
            size: size.name,
            spot: false,
            price: size.on_demand,
        });
        let spot = size.spot.map(|price| Row {
            size: size.name,
            spot: true,
            price,
        });
        on_demand.into_iter().chain(spot).collect::<Vec<_>>()
    };
    catalog.sizes().iter().flat_map(rows_of).collect()
}

impl Row {
    /// The row as the API spells it. Fields that only identify a meter are derived from its name.
    pub(crate) fn document(&self, region: &str) -> Value {
        let meter = self
            .size
            .split_once('_')
            .map_or(self.size, |(_, rest)| rest)
            .replace('_', " ");
        let suffix = if self.spot { " Spot" } else { "" };
        let id = identifier(&format!("{region}/{}{suffix}", self.size));
        let price: Value = serde_json::from_str(&self.price.to_string()).unwrap_or_default();
        let place = Location::find(region).map_or(region, |location| location.display_name);
        json!({
            "currencyCode": "USD",
            "tierMinimumUnits": 0.0,
            "retailPrice": price,
            "unitPrice": price,
            "armRegionName": region,
            "location": place,
            "effectiveStartDate": "2026-06-01T00:00:00Z",
            "meterId": id,
            "meterName": format!("{meter}{suffix}"),
            "productId": "DZH318Z0FAKE",
            "skuId": format!("DZH318Z0FAKE/{}", id.get(..4).unwrap_or_default()),
            "productName": "Virtual Machines",
            "skuName": format!("{meter}{suffix}"),
            "serviceName": "Virtual Machines",
            "serviceId": "DZH313Z7MMC8",
            "serviceFamily": "Compute",
            "unitOfMeasure": "1 Hour",
            "type": "Consumption",
            "isPrimaryMeterRegion": true,
            "armSkuName": self.size,
        })
    }

    fn field(&self, name: &str, region: &str) -> Option<String> {
        let value = self.document(region);
        let name = if name == "priceType" { "type" } else { name };
        value.get(name).and_then(Value::as_str).map(str::to_owned)
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
        // The usual filter fixes only members that all rows share; they need no document per row.
        let constant = |field: &str| match field {
            "priceType" | "type" => Some("Consumption"),
            "currencyCode" => Some("USD"),
            "serviceFamily" => Some("Compute"),
            "serviceName" => Some("Virtual Machines"),
            "armRegionName" => Some(region),
            "armSkuName" => Some(row.size),
            _ => None,
        };
        let value = |field: &str| {
            constant(field)
                .map(str::to_owned)
                .or_else(|| row.field(field, region))
        };
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
