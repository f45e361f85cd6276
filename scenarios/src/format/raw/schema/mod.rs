//! The JSON Schema of scenario files.

#[cfg(feature = "schema")]
mod derive;

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::format::observable::OBSERVABLES;

/// What the parser reads, once parameters are filled in.
const STRICT: &str = include_str!("../../../../schema/strict.json");

/// The JSON Schema of scenario files, for editors: numbers and switches may also be parameters.
const PUBLISHED: &str = include_str!("../../../../schema/scenario.json");

/// What the parser reads, once parameters are filled in. A file, because deriving it compiles a
/// schema of every type into the program; it is written by the example `schemas`.
pub(crate) fn strict() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| serde_json::from_str(STRICT).expect("a test compares the file"))
}

/// The JSON Schema of scenario files, for editors: numbers and switches may also be parameters.
pub fn schema() -> Value {
    serde_json::from_str(PUBLISHED).expect("a test compares the file")
}

/// Both, from the types: what the parser reads, and what is published.
#[cfg(feature = "schema")]
pub fn derived() -> (Value, Value) {
    let strict = schemars::schema_for!(crate::format::raw::RawScenario).to_value();
    let published = derive::published(strict.clone());
    (strict, published)
}

/// The table of observables.
pub fn observables() -> Value {
    let rows = OBSERVABLES.iter().map(|row| {
        let mut filters: Vec<&str> = row.filters.to_vec();
        if row.labels {
            filters.push("any label");
        }
        json!({
            "name": row.name, "type": row.kind.as_str(), "filters": filters,
            "meaning": row.meaning,
        })
    });
    Value::Array(rows.collect())
}
