//! Strategic merge patch of built-in kinds
//! (`kubernetes/kubernetes staging/src/k8s.io/apimachinery/pkg/util/strategicpatch`).

use serde_json::{Map, Value};

use crate::schema::{Node, PatchStrategy, Schema};
use crate::status::{Result, Status};

const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";
const RETAIN: &str = "$retainKeys";
const DIRECTIVE: &str = "$patch";

/// Merges `patch` into `tree` by the merge keys of the schema.
pub(crate) fn apply(tree: &mut Value, patch: &Value, schema: &Schema) -> Result<()> {
    let Some(patch) = patch.as_object() else {
        return Err(Status::bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ));
    };
    if !tree.is_object() {
        *tree = Value::Object(Map::new());
    }
    if let Value::Object(tree) = tree {
        merge_map(tree, patch, Some(schema.root()), schema)?;
    }
    Ok(())
}

fn merge_map(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    node: Option<&Node>,
    schema: &Schema,
) -> Result<()> {
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => {
            target.clear();
            target.extend(plain(patch));
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => {
            return Err(Status::bad_request(format!(
                "unknown patch type found: {other}"
            )));
        }
    }
    if let Some(kept) = patch.get(RETAIN).and_then(Value::as_array) {
        target.retain(|name, _| kept.iter().any(|kept| kept == name));
    }
    for (name, value) in patch {
        if name.starts_with('$') {
            continue;
        }
        let child = node.and_then(|node| schema.field(node, name));
        merge_field(target, name, value, (patch, child), schema)?;
    }
    // directives without a list of their own still act
    for (name, value) in patch {
        if let Some(field) = name.strip_prefix(DELETE)
            && let Some(items) = target.get_mut(field).and_then(Value::as_array_mut)
        {
            let doomed = value.as_array().map(Vec::as_slice).unwrap_or_default();
            items.retain(|item| !doomed.contains(item));
        }
        if let Some(field) = name.strip_prefix(ORDER)
            && let Some(items) = target.get_mut(field).and_then(Value::as_array_mut)
        {
            let child = node.and_then(|node| schema.field(node, field));
            let key = child
                .and_then(|child| child.patch.as_ref())
                .and_then(|patch| patch.key.clone());
            reorder(
                items,
                value.as_array().map(Vec::as_slice).unwrap_or_default(),
                key.as_deref(),
            );
        }
    }
    Ok(())
}

fn merge_field(
    target: &mut Map<String, Value>,
    name: &str,
    value: &Value,
    (siblings, node): (&Map<String, Value>, Option<&Node>),
    schema: &Schema,
) -> Result<()> {
    match value {
        Value::Null => {
            target.remove(name);
        }
        Value::Object(patch) => {
            let slot = target
                .entry(name.to_owned())
                .or_insert_with(|| Value::Object(Map::new()));
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            if let Value::Object(slot) = slot {
                merge_map(slot, patch, node, schema)?;
            }
            if patch.get(DIRECTIVE).and_then(Value::as_str) == Some("delete") {
                target.remove(name);
            }
        }
        Value::Array(patch) => {
            let strategy = node
                .and_then(|node| node.patch.as_deref())
                .filter(|patch| patch.merge);
            match (strategy, node) {
                (Some(strategy), Some(node)) => {
                    let slot = target
                        .entry(name.to_owned())
                        .or_insert_with(|| Value::Array(Vec::new()));
                    if !slot.is_array() {
                        *slot = Value::Array(Vec::new());
                    }
                    if let Value::Array(items) = slot {
                        let ordered = siblings.contains_key(&format!("{ORDER}{name}"));
                        merge_list(items, patch, strategy, (node, ordered), schema)?;
                    }
                }
                _ => {
                    target.insert(
                        name.to_owned(),
                        Value::Array(patch.iter().map(strip).collect()),
                    );
                }
            }
        }
        scalar => {
            target.insert(name.to_owned(), scalar.clone());
        }
    }
    Ok(())
}

fn merge_list(
    items: &mut Vec<Value>,
    patch: &[Value],
    strategy: &PatchStrategy,
    (node, ordered): (&Node, bool),
    schema: &Schema,
) -> Result<()> {
    let Some(key) = &strategy.key else {
        // a set of primitives
        for value in patch {
            if !items.contains(value) {
                items.push(value.clone());
            }
        }
        return Ok(());
    };
    if patch.iter().any(|item| item[DIRECTIVE] == "replace") {
        *items = patch
            .iter()
            .filter(|item| item[DIRECTIVE] != "replace")
            .map(strip)
            .collect();
        return Ok(());
    }
    let mut order = Vec::new();
    for value in patch {
        let Some(change) = value.as_object() else {
            return Err(Status::bad_request("list element is not a map"));
        };
        let Some(identity) = change.get(key) else {
            let shown = Value::Object(change.clone());
            return Err(Status::plain_error(format!(
                "map: {shown} does not contain declared merge key: {key}"
            )));
        };
        if change.get(DIRECTIVE).and_then(Value::as_str) == Some("delete") {
            items.retain(|item| item.get(key) != Some(identity));
            continue;
        }
        order.push(identity.clone());
        let found = items
            .iter_mut()
            .find(|item| item.get(key) == Some(identity));
        match found.and_then(Value::as_object_mut) {
            Some(item) => merge_map(item, change, schema.item(node), schema)?,
            None => {
                let mut item = Map::new();
                merge_map(&mut item, change, schema.item(node), schema)?;
                items.push(Value::Object(item));
            }
        }
    }
    if !ordered {
        // patched items in the order of the patch, server-only items where they were
        let server: Vec<Value> = items
            .iter()
            .filter_map(|item| item.get(key).cloned())
            .collect();
        let mixed = merge_orders(&order, &server);
        reorder(items, &mixed, Some(key));
    }
    Ok(())
}

/// Server order, with new items at the end.
fn merge_orders(patch: &[Value], server: &[Value]) -> Vec<Value> {
    let new = patch.iter().filter(|identity| !server.contains(identity));
    server.iter().chain(new).cloned().collect()
}

/// Items named in `order` come in that order; others keep their place relative to what precedes
/// them.
fn reorder(items: &mut Vec<Value>, order: &[Value], key: Option<&str>) {
    let wanted = |item: &Value| {
        let identity = key.map_or(Some(item), |key| item.get(key));
        order.iter().position(|entry| {
            let entry = key.and_then(|key| entry.get(key)).unwrap_or(entry);
            identity == Some(entry)
        })
    };
    let mut listed: Vec<(usize, Value)> = Vec::new();
    let mut result: Vec<Value> = Vec::new();
    for item in items.iter() {
        if let Some(position) = wanted(item) {
            listed.push((position, item.clone()));
        }
    }
    listed.sort_by_key(|(position, _)| *position);
    let mut listed = listed.into_iter().map(|(_, item)| item);
    for item in items.drain(..) {
        if wanted(&item).is_some() {
            result.extend(listed.next());
        } else {
            result.push(item);
        }
    }
    *items = result;
}

/// A value to be stored as it is: without directives.
fn strip(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(plain(map).collect()),
        Value::Array(items) => Value::Array(items.iter().map(strip).collect()),
        scalar => scalar.clone(),
    }
}

fn plain(map: &Map<String, Value>) -> impl Iterator<Item = (String, Value)> + '_ {
    map.iter()
        .filter(|(name, value)| !name.starts_with('$') && !value.is_null())
        .map(|(name, value)| (name.clone(), strip(value)))
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::builtin;

    fn patched(mut tree: Value, patch: Value) -> Value {
        let schema = builtin::schema("", "Pod").unwrap();
        apply(&mut tree, &patch, &schema).unwrap();
        tree
    }

    #[test]
    fn lists_with_a_merge_key_merge_and_others_are_replaced() {
        let pod = json!({"spec": {
            "containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b"}],
            "tolerations": [{"key": "t"}],
        }});
        let patch = json!({"spec": {
            "containers": [{"name": "a", "image": "2", "args": ["y"]}, {"name": "c"}],
            "tolerations": [{"key": "u"}],
        }});
        assert_eq!(
            patched(pod, patch),
            json!({"spec": {
                "containers": [{"name": "a", "image": "2", "args": ["y"]}, {"name": "b"}, {"name": "c"}],
                "tolerations": [{"key": "u"}],
            }})
        );
    }

    #[test]
    fn directives_delete_replace_retain_and_order() {
        let pod = json!({
            "metadata": {"finalizers": ["a/x", "a/y"], "labels": {"k": "v"}},
            "spec": {
                "containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
                "volumes": [{"name": "v", "emptyDir": {}}],
            },
        });
        let patch = json!({
            "metadata": {
                "$deleteFromPrimitiveList/finalizers": ["a/x"],
                "finalizers": ["a/z"],
                "labels": {"$patch": "replace", "n": "1"},
            },
            "spec": {
                "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
                "containers": [{"name": "b", "$patch": "delete"}],
                "volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}],
            },
        });
        assert_eq!(
            patched(pod, patch),
            json!({
                "metadata": {"finalizers": ["a/y", "a/z"], "labels": {"n": "1"}},
                "spec": {
                    "containers": [{"name": "c"}, {"name": "a"}],
                    "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
                },
            })
        );
    }

    #[test]
    fn conditions_merge_by_type_and_null_removes() {
        let pod = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "x"}], "phase": "Pending"}});
        let patch = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": null}, {"type": "New", "status": "True"}], "phase": null}});
        assert_eq!(
            patched(pod, patch),
            json!({"status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "New", "status": "True"},
            ]}})
        );
    }
}
