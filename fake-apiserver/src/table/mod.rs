//! Server-side printing: lists and objects as tables.

mod age;
mod jsonpath;
mod printers;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::item::Item;
use crate::registry::View;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub format: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub priority: i64,
    /// Of a custom column.
    #[serde(default)]
    pub json_path: String,
}

impl Column {
    /// The columns of a version of a CRD: the name, then what it declares, or the age.
    pub(crate) fn of_custom(version: &Value) -> Vec<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = Self {
            name: "Name".into(),
            kind: "string".into(),
            format: "name".into(),
            description: "Name must be unique within a namespace.".into(),
            priority: 0,
            json_path: String::new(),
        };
        let declared = version["additionalPrinterColumns"]
            .as_array()
            .map(Vec::as_slice);
        let age =
            [json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})];
        let declared = declared
            .filter(|columns| !columns.is_empty())
            .unwrap_or(&age);
        let declared = declared.iter().map(|column| Self {
            name: text(&column["name"]),
            kind: text(&column["type"]),
            format: text(&column["format"]),
            description: text(&column["description"]),
            priority: column["priority"].as_i64().unwrap_or(0),
            json_path: text(&column["jsonPath"]),
        });
        std::iter::once(name).chain(declared).collect()
    }

    fn definition(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind, "format": self.format,
            "description": self.description, "priority": self.priority,
        })
    }
}

/// What a row carries besides its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    Metadata,
    Object,
    None,
}

/// A table of objects in the form of the view.
pub(crate) fn table(
    view: &View,
    items: &[Item],
    metadata: &Value,
    (include, now): (Include, Timestamp),
) -> Value {
    let columns: Vec<Value> = view
        .served()
        .columns
        .iter()
        .map(Column::definition)
        .collect();
    let rows: Vec<Value> = items
        .iter()
        .map(|item| row(view, item.value(), include, now))
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

fn row(view: &View, object: &Value, include: Include, now: Timestamp) -> Value {
    let cells = if view.resource.custom {
        let columns = view.served().columns.iter();
        columns
            .map(|column| custom_cell(column, object, now))
            .collect()
    } else {
        printers::cells(&view.resource.group, &view.resource.plural, object, now)
    };
    let mut row = json!({"cells": cells});
    match include {
        Include::Metadata => row["object"] = partial(object),
        Include::Object => row["object"] = object.clone(),
        Include::None => row["object"] = Value::Null,
    }
    row
}

fn custom_cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    if column.json_path.is_empty() {
        return object["metadata"]["name"].clone();
    }
    let Some(value) = jsonpath::first(object, &column.json_path) else {
        return Value::Null;
    };
    match (column.kind.as_str(), value) {
        ("date", Value::String(text)) => age::since(&text, now).into(),
        ("string", value @ (Value::Array(_) | Value::Object(_))) => value.to_string().into(),
        ("string", Value::Number(number)) => number.to_string().into(),
        ("string", Value::Bool(flag)) => flag.to_string().into(),
        ("integer" | "number", value @ Value::Number(_)) => value,
        ("integer" | "number", _) => Value::Null,
        ("boolean", value @ Value::Bool(_)) => value,
        (_, value) => value,
    }
}

/// `PartialObjectMetadata` of an object.
pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}
