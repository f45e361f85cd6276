//! Reading the untyped tree of an object.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::Object;
use crate::time;

/// Namespace and name; the namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn of(object: &Object) -> Self {
        Self::new(object.namespace(), object.name())
    }
}

/// The owner that controls an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Controller {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// `metadata.ownerReferences` with `controller: true`.
pub(crate) fn controller_of(value: &Value) -> Option<Controller> {
    let references = value["metadata"]["ownerReferences"].as_array()?;
    let owner = references
        .iter()
        .find(|owner| owner["controller"] == true)?;
    Some(Controller {
        api_version: text(&owner["apiVersion"]).to_owned(),
        kind: text(&owner["kind"]).to_owned(),
        name: text(&owner["name"]).to_owned(),
        uid: text(&owner["uid"]).to_owned(),
    })
}

/// An owner reference as controllers write it.
pub(crate) fn owner_reference(api_version: &str, kind: &str, owner: &Value) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// A string, or the empty string.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The elements of an array, or none.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The entries of an object, or none.
pub(crate) fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// A map of strings; other values are left out.
pub(crate) fn string_map(value: &Value) -> BTreeMap<String, String> {
    entries(value)
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// `metadata.labels`.
pub(crate) fn labels(value: &Value) -> BTreeMap<String, String> {
    string_map(&value["metadata"]["labels"])
}

/// Whether the object is being deleted.
pub(crate) fn is_deleting(value: &Value) -> bool {
    value["metadata"]["deletionTimestamp"].is_string()
}

/// `metadata.generation`, 0 when absent.
pub(crate) fn generation(value: &Value) -> i64 {
    value["metadata"]["generation"].as_i64().unwrap_or_default()
}

/// `metadata.creationTimestamp`.
pub(crate) fn created(value: &Value) -> Option<Timestamp> {
    time::parse(text(&value["metadata"]["creationTimestamp"]))
}

/// The condition of a type in `status.conditions`.
pub(crate) fn condition<'a>(value: &'a Value, kind: &str) -> Option<&'a Value> {
    items(&value["status"]["conditions"])
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// The status of a condition: `True`, `False`, `Unknown`, or empty when absent.
pub(crate) fn condition_status<'a>(value: &'a Value, kind: &str) -> &'a str {
    condition(value, kind).map_or("", |condition| text(&condition["status"]))
}

/// `metadata.resourceVersion` as a number: of two states of an object the larger is the newer.
pub(crate) fn revision(value: &Value) -> u64 {
    text(&value["metadata"]["resourceVersion"])
        .parse()
        .unwrap_or_default()
}

/// An integer field, 0 when absent.
pub(crate) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}
