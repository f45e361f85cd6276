//! What changed between two objects: a JSON merge patch (RFC 7386).

use serde_json::{Map, Value};

/// The patch that makes `after` of `before`. Nulls inside objects do not survive it; Kubernetes
/// stores none that matter.
pub fn diff(before: &Value, after: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return after.clone();
    };
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match old.get(key) {
            Some(was) if was == value => {}
            Some(was) => {
                patch.insert(key.clone(), diff(was, value));
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

/// Applies a patch.
pub fn apply(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            apply(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The paths that a patch changes, for people.
pub fn changed(patch: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    walk(patch, &mut String::new(), &mut paths);
    paths
}

fn walk(patch: &Value, path: &mut String, paths: &mut Vec<String>) {
    match patch {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let length = path.len();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                walk(value, path, paths);
                path.truncate(length);
            }
        }
        _ => paths.push(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_leads_from_one_to_the_other() {
        let cases = [
            (
                json!({"a": 1, "b": {"c": [1, 2], "d": "x"}}),
                json!({"a": 1, "b": {"c": [2]}, "e": 5}),
            ),
            (json!({"a": {"b": 1}}), json!({"a": "text"})),
            (json!({"a": "text"}), json!({"a": {"b": {"c": 1}}})),
            (json!({}), json!({"a": {}})),
        ];
        for (before, after) in cases {
            let patch = diff(&before, &after);
            let mut made = before.clone();
            apply(&mut made, &patch);
            assert_eq!(made, after, "{before} by {patch}");
        }
        let patch = diff(&json!({"a": {"b": 1, "c": 2}}), &json!({"a": {"b": 2}}));
        assert_eq!(changed(&patch), ["a.b", "a.c"]);
    }
}
