//! The published schema, made of the one that the types yield.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::format::observable::OBSERVABLES;
use crate::format::raw::{MODELS, VERBS};

/// Where the published schema is known by.
const ID: &str = "https://nap.internal/schema/scenario.json";

/// Numbers and switches may also be parameters; a step has one verb.
pub(super) fn published(mut schema: Value) -> Value {
    allow_parameters(&mut schema);
    one_of(&mut schema["$defs"]["RawStep"], &VERBS);
    one_of(&mut schema["$defs"]["RawLoad"], &MODELS);
    let modalities = ["eventually", "always", "never", "atMost", "stays"];
    one_of(&mut schema["$defs"]["RawExpectation"], &modalities);
    rename(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), json!(ID));
        root.insert("title".to_owned(), json!("nap scenario"));
        root.insert("description".to_owned(), json!(description()));
        root.insert("x-observables".to_owned(), super::observables());
    }
    schema
}

fn description() -> String {
    let mut text = String::from(
        "A scenario: the cloud, the cluster, real Kubernetes objects, what happens when, and what \
         must come true. The first line is a comment that says what it proves. Conditions compare \
         observables with numbers and are joined by '&&'; filters in parentheses narrow an \
         observable, for example pods(app=web).running == 10. Observables:",
    );
    for row in &OBSERVABLES {
        write!(
            text,
            "\n- {} ({}): {}",
            row.name,
            row.kind.as_str(),
            row.meaning
        )
        .expect("writing to a string");
    }
    text
}

fn one_of(schema: &mut Value, keys: &[&str]) {
    let branches: Vec<Value> = keys.iter().map(|key| json!({"required": [key]})).collect();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("oneOf".to_owned(), json!(branches));
    }
}

/// A number may be written as `${name}`.
fn allow_parameters(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for value in map.values_mut() {
                allow_parameters(value);
            }
            let scalar = ["integer", "number", "boolean"]
                .iter()
                .any(|kind| has_type(map, kind));
            let parameter = json!({"type": "string", "pattern": r"\$\{[A-Za-z0-9_-]+\}"});
            if scalar || map.contains_key("pattern") || map.contains_key("enum") {
                let description = map.remove("description");
                let inner = Value::Object(std::mem::take(map));
                map.insert("anyOf".to_owned(), json!([inner, parameter]));
                if let Some(description) = description {
                    map.insert("description".to_owned(), description);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                allow_parameters(item);
            }
        }
        _ => {}
    }
}

fn has_type(map: &Map<String, Value>, kind: &str) -> bool {
    match map.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

/// Definitions are called `Step`, not `RawStep`.
fn rename(schema: &mut Value) {
    let text = schema.to_string();
    let renamed = text
        .replace("\"#/$defs/Raw", "\"#/$defs/")
        .replace("\"Raw", "\"");
    if let Ok(renamed) = serde_json::from_str(&renamed) {
        *schema = renamed;
    }
}
