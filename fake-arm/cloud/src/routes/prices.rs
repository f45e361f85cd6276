//! The Retail Prices API.

use bytes::Bytes;
use serde_json::json;

use super::{Call, Reply};
use crate::{
    catalog::{Catalog, PriceFilter, PriceRow},
    cloud::Cloud,
    error::{ArmError, Result},
};

/// Rows per page, as the service documents it.
const PAGE: usize = 1000;

/// `GET /api/retail/prices`.
pub(super) fn list(cloud: &Cloud, call: &Call<'_>) -> Result<Reply> {
    let text = call.request.parameter("$filter").unwrap_or_default();
    let Some(filter) = PriceFilter::parse(&text) else {
        return Err(ArmError::new(
            400,
            "BadRequest",
            format!("Invalid OData parameters supplied: $filter '{text}'."),
        ));
    };
    let skip: usize = call
        .request
        .parameter("$skip")
        .and_then(|skip| skip.parse().ok())
        .unwrap_or(0);
    let region = filter.region().unwrap_or(&cloud.config.region).to_owned();
    // A region without known prices has no rows; that is not an error of the request.
    let catalog = Catalog::of(&region).ok();
    let rows = catalog.as_ref().map_or(&[][..], |catalog| catalog.prices());
    let mut matching = rows
        .iter()
        .filter(|row| filter.matches(row, &region))
        .skip(skip);
    let items: Vec<&str> = matching.by_ref().take(PAGE).map(PriceRow::text).collect();
    let next = matching.next().map(|_| {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(
                ["api-version", "currencyCode", "$filter"]
                    .into_iter()
                    .filter_map(|name| Some((name, call.request.parameter(name)?))),
            )
            .append_pair("$skip", &(skip + PAGE).to_string())
            .finish();
        format!("{}/api/retail/prices?{query}", call.request.base)
    });
    // The rows are text already; only the frame is made here.
    let body = format!(
        "{{\"BillingCurrency\":\"USD\",\"CustomerEntityId\":\"Default\",\
         \"CustomerEntityType\":\"Retail\",\"Items\":[{}],\"NextPageLink\":{},\"Count\":{}}}",
        items.join(","),
        json!(next),
        items.len()
    );
    Ok(Reply::raw(Bytes::from(body)))
}
