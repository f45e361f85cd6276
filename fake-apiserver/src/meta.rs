//! Reading and writing `metadata` of untyped objects.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// A string field of `metadata`; empty when absent.
pub(crate) fn string<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// `metadata`, created when absent or not a map.
pub(crate) fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    map_mut(object, "metadata")
}

/// A map field of an object, created when absent or not a map.
pub(crate) fn map_mut<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let map = object.as_object_mut().expect("made an object just above");
    let slot = map
        .entry(field)
        .or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("made an object just above")
}

pub(crate) fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    metadata_mut(object).insert(field.to_owned(), value.into());
}

pub(crate) fn remove(object: &mut Value, field: &str) {
    // `get_mut`, because indexing for writing would insert a null
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove(field);
    }
}

/// Copies a metadata field from `from`, or removes it.
pub(crate) fn restore(object: &mut Value, from: &Value, field: &str) {
    match from["metadata"].get(field) {
        Some(value) => set(object, field, value.clone()),
        None => remove(object, field),
    }
}

/// Copies a top-level field from `from`, or removes it.
pub(crate) fn restore_top(object: &mut Value, from: &Value, field: &str) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    match from.get(field) {
        Some(value) => {
            map.insert(field.to_owned(), value.clone());
        }
        None => {
            map.remove(field);
        }
    }
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// The label `key`, if set.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["labels"].get(key)?.as_str()
}

/// RFC 3339 in whole seconds, as `metav1.Time` is written.
pub(crate) fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads a `metav1.Time` or `MicroTime`.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
