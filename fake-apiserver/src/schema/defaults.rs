//! Defaults of custom resources
//! (`kubernetes/kubernetes staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting`).

use serde_json::Value;

use super::{Node, Schema};

/// Fills missing fields; a null under a non-nullable field with a default counts as missing.
pub(crate) fn apply(value: &mut Value, schema: &Schema) {
    fill(value, schema.root(), schema);
}

/// The same for one node, as the default of a CRD itself is filled in.
pub(crate) fn apply_node(value: &mut Value, node: &Node, schema: &Schema) {
    fill(value, node, schema);
}

fn fill(value: &mut Value, node: &Node, schema: &Schema) {
    match value {
        Value::Object(map) => {
            for (name, id) in &node.properties {
                let child = schema.node(*id);
                if let Some(default) = &child.default {
                    let missing = match map.get(name) {
                        None => true,
                        Some(Value::Null) => !child.nullable,
                        Some(_) => false,
                    };
                    if missing {
                        map.insert(name.clone(), default.clone());
                    }
                }
                if let Some(inner) = map.get_mut(name) {
                    fill(inner, child, schema);
                }
            }
            if let Some(additional) = node.additional.map(|id| schema.node(id)) {
                for (name, inner) in map.iter_mut() {
                    if !node.properties.contains_key(name) {
                        if inner.is_null()
                            && !additional.nullable
                            && let Some(default) = &additional.default
                        {
                            *inner = default.clone();
                        }
                        fill(inner, additional, schema);
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(node) = schema.item(node) {
                for item in items {
                    fill(item, node, schema);
                }
            }
        }
        _ => {}
    }
}
