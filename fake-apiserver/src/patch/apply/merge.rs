//! Merging an applied configuration into the live object, and taking back what it no longer says.

use serde_json::{Map, Value};

use super::fields::{
    Fields, ListForm, child_node, is_atomic_map, item_node, key_step, list_form, position,
};
use crate::schema::{Node, Schema};

/// Puts `config` into `live` by the list and map types of the schema.
pub(super) fn merge(
    live: &mut Value,
    config: &Value,
    node: Option<&Node>,
    schema: Option<&Schema>,
) {
    match (&mut *live, config) {
        (Value::Object(own), Value::Object(wanted)) if !is_atomic_map(node) => {
            for (name, value) in wanted {
                let child = child_node(node, schema, name);
                match own.get_mut(name) {
                    Some(own) => merge(own, value, child, schema),
                    None => {
                        own.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(own), Value::Array(wanted)) => match list_form(node) {
            ListForm::Atomic => own.clone_from(wanted),
            ListForm::Set => {
                for item in wanted {
                    if !own.contains(item) {
                        own.push(item.clone());
                    }
                }
            }
            ListForm::Map(keys) => {
                let child = item_node(node, schema);
                for item in wanted {
                    match position(own, &key_step(item, keys)).and_then(|index| own.get_mut(index))
                    {
                        Some(found) => merge(found, item, child, schema),
                        None => own.push(item.clone()),
                    }
                }
            }
        },
        _ => *live = config.clone(),
    }
}

/// Removes `dropped` from the object; `kept` is what somebody still wants.
pub(super) fn remove(value: &mut Value, dropped: &Fields, kept: &Fields) {
    for (step, fields) in &dropped.children {
        let empty = Fields::default();
        let still = kept.child(step).unwrap_or(&empty);
        if let Some(name) = step.strip_prefix("f:") {
            if let Some(map) = value.as_object_mut() {
                remove_field(map, name, fields, still);
            }
        } else if let Some(items) = value.as_array_mut()
            && let Some(index) = position(items, step)
        {
            if fields.own && still.is_empty() {
                items.remove(index);
            } else if let Some(item) = items.get_mut(index) {
                remove(item, fields, still);
            }
        }
    }
}

fn remove_field(map: &mut Map<String, Value>, name: &str, fields: &Fields, still: &Fields) {
    if fields.own && fields.children.is_empty() && still.is_empty() {
        map.remove(name);
        return;
    }
    let Some(child) = map.get_mut(name) else {
        return;
    };
    remove(child, fields, still);
    let emptied = match child {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    if emptied && still.is_empty() {
        map.remove(name);
    }
}
