//! JSON Patch (RFC 6902), with the API server's reading of `test`.

use serde_json::Value;

use crate::status::{Result, Status};

/// Upstream's bound on operations per patch.
const OPERATIONS_MAX: usize = 10_000;

/// Applies all operations or answers 422 and leaves `tree` in an unspecified state.
pub(crate) fn apply(tree: &mut Value, patch: &Value) -> Result<()> {
    let operations = patch.as_array().ok_or_else(|| {
        Status::bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        )
    })?;
    if operations.len() > OPERATIONS_MAX {
        return Err(Status::too_large(OPERATIONS_MAX));
    }
    for operation in operations {
        step(tree, operation).ok_or_else(Status::unprocessable)?;
    }
    Ok(())
}

fn step(tree: &mut Value, operation: &Value) -> Option<()> {
    let path = operation["path"].as_str()?;
    let value = || operation.get("value").cloned().unwrap_or_default();
    match operation["op"].as_str()? {
        "add" => add(tree, path, value()),
        "remove" => remove(tree, path).map(|_| ()),
        "replace" => {
            *find(tree, path)? = value();
            Some(())
        }
        "move" => {
            let moved = remove(tree, operation["from"].as_str()?)?;
            add(tree, path, moved)
        }
        "copy" => {
            let copied = find(tree, operation["from"].as_str()?)?.clone();
            add(tree, path, copied)
        }
        "test" => {
            // evanphx/json-patch: a missing path equals null, which kube's finalizer helper uses
            let found = find(tree, path).map(|found| &*found);
            (found.unwrap_or(&Value::Null) == &value()).then_some(())
        }
        _ => None,
    }
}

fn tokens(path: &str) -> Option<Vec<String>> {
    if path.is_empty() {
        return Some(Vec::new());
    }
    let rest = path.strip_prefix('/')?;
    Some(
        rest.split('/')
            .map(|token| token.replace("~1", "/").replace("~0", "~"))
            .collect(),
    )
}

fn child<'a>(value: &'a mut Value, token: &str) -> Option<&'a mut Value> {
    match value {
        Value::Object(map) => map.get_mut(token),
        Value::Array(items) => items.get_mut(token.parse::<usize>().ok()?),
        _ => None,
    }
}

fn find<'a>(tree: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    tokens(path)?
        .iter()
        .try_fold(tree, |value, token| child(value, token))
}

fn parent<'a>(tree: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let mut tokens = tokens(path)?;
    let last = tokens.pop()?;
    let parent = tokens
        .iter()
        .try_fold(tree, |value, token| child(value, token))?;
    Some((parent, last))
}

fn add(tree: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *tree = value;
        return Some(());
    }
    let (parent, last) = parent(tree, path)?;
    match parent {
        Value::Object(map) => {
            map.insert(last, value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let index: usize = last.parse().ok()?;
            if index > items.len() {
                return None;
            }
            items.insert(index, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(tree: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = parent(tree, path)?;
    match parent {
        Value::Object(map) => map.remove(&last),
        Value::Array(items) => {
            let index: usize = last.parse().ok()?;
            (index < items.len()).then(|| items.remove(index))
        }
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(patch: Value) -> Option<Value> {
        let mut tree = json!({"a": {"b": 1}, "list": [1, 2], "x/y": 0});
        apply(&mut tree, &patch).ok().map(|()| tree)
    }

    #[test]
    fn operations_follow_the_rfc() {
        for (patch, path, expected) in [
            (
                json!([{"op": "add", "path": "/a/c", "value": 2}]),
                "/a/c",
                json!(2),
            ),
            (
                json!([{"op": "add", "path": "/list/1", "value": 9}]),
                "/list",
                json!([1, 9, 2]),
            ),
            (
                json!([{"op": "add", "path": "/list/-", "value": 9}]),
                "/list",
                json!([1, 2, 9]),
            ),
            (
                json!([{"op": "remove", "path": "/list/0"}]),
                "/list",
                json!([2]),
            ),
            (
                json!([{"op": "replace", "path": "/x~1y", "value": 7}]),
                "/x~1y",
                json!(7),
            ),
            (
                json!([{"op": "move", "from": "/a/b", "path": "/c"}]),
                "/c",
                json!(1),
            ),
            (
                json!([{"op": "copy", "from": "/a", "path": "/d"}]),
                "/d",
                json!({"b": 1}),
            ),
        ] {
            assert_eq!(
                patched(patch.clone()).unwrap().pointer(path),
                Some(&expected),
                "{patch}"
            );
        }
    }

    #[test]
    fn a_test_for_null_passes_on_a_missing_path() {
        let finalizer = json!([
            {"op": "test", "path": "/a/finalizers", "value": null},
            {"op": "add", "path": "/a/finalizers", "value": ["f"]},
        ]);
        assert_eq!(patched(finalizer).unwrap()["a"]["finalizers"], json!(["f"]));
        assert!(patched(json!([{"op": "test", "path": "/a/b", "value": 2}])).is_none());
        assert!(patched(json!([{"op": "test", "path": "/no/way", "value": 2}])).is_none());
    }

    #[test]
    fn what_is_missing_cannot_be_removed_or_filled() {
        for patch in [
            json!([{"op": "remove", "path": "/nope"}]),
            json!([{"op": "add", "path": "/no/where", "value": 1}]),
            json!([{"op": "add", "path": "/list/9", "value": 1}]),
            json!([{"op": "replace", "path": "/nope", "value": 1}]),
            json!([{"op": "frobnicate", "path": "/a"}]),
        ] {
            assert!(patched(patch.clone()).is_none(), "{patch}");
        }
    }
}
