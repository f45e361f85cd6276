//! The part of `JSONPath` that printer columns use (`k8s.io/client-go/util/jsonpath`).

use serde_json::Value;

/// The first match of a path such as `.status.conditions[?(@.type=="Ready")].status`.
pub(crate) fn first(object: &Value, path: &str) -> Option<Value> {
    let path = path
        .trim()
        .trim_start_matches('{')
        .trim_end_matches('}')
        .trim_start_matches('$');
    find(object, path).filter(|value| !value.is_null()).cloned()
}

fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return Some(value);
    }
    if let Some(rest) = path.strip_prefix('.') {
        let (name, rest) = field(rest);
        return find(value.get(name.as_str())?, rest);
    }
    let inner = path.strip_prefix('[')?;
    let end = closing(inner)?;
    let (selector, rest) = inner.split_at(end);
    let rest = rest.strip_prefix(']')?;
    if selector == "*" {
        return children(value).find_map(|child| find(child, rest));
    }
    if let Some(filter) = selector
        .strip_prefix("?(")
        .and_then(|text| text.strip_suffix(')'))
    {
        return children(value)
            .filter(|child| passes(child, filter))
            .find_map(|child| find(child, rest));
    }
    if let Some(name) = quoted(selector) {
        return find(value.get(name)?, rest);
    }
    let items = value.as_array()?;
    let index: i64 = selector.parse().ok()?;
    let index = if index < 0 {
        i64::try_from(items.len()).ok()? + index
    } else {
        index
    };
    find(items.get(usize::try_from(index).ok()?)?, rest)
}

fn children(value: &Value) -> impl Iterator<Item = &Value> {
    let items = value.as_array().into_iter().flatten();
    let values = value.as_object().into_iter().flat_map(|map| map.values());
    items.chain(values)
}

/// A field name, with `\.` for a dot inside it.
fn field(path: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = path.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, path.split_at(index).1),
            c => name.push(c),
        }
    }
    (name, "")
}

fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0_u32;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(index),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn quoted(text: &str) -> Option<&str> {
    ['"', '\'']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
}

fn passes(child: &Value, filter: &str) -> bool {
    for operator in ["==", "!="] {
        if let Some((left, right)) = filter.split_once(operator) {
            let left = left
                .trim()
                .strip_prefix('@')
                .and_then(|path| find(child, path));
            let right = right.trim();
            let equal = match quoted(right) {
                Some(text) => left.and_then(Value::as_str) == Some(text),
                None => {
                    let right: Option<Value> = serde_json::from_str(right).ok();
                    left.is_some() && left == right.as_ref()
                }
            };
            return equal == (operator == "==");
        }
    }
    filter
        .trim()
        .strip_prefix('@')
        .is_some_and(|path| find(child, path).is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_printer_columns_find_their_value() {
        let object = json!({
            "metadata": {"labels": {"karpenter.sh/x": "y"}, "name": "n"},
            "status": {"conditions": [
                {"type": "A", "status": "False"}, {"type": "Ready", "status": "True"},
            ]},
            "spec": {"n": 3, "list": [1, 2]},
        });
        for (path, expected) in [
            (".metadata.name", json!("n")),
            (r".metadata.labels.karpenter\.sh/x", json!("y")),
            (".metadata.labels['karpenter.sh/x']", json!("y")),
            (
                r#".status.conditions[?(@.type=="Ready")].status"#,
                json!("True"),
            ),
            (".spec.n", json!(3)),
            (".spec.list[0]", json!(1)),
            (".spec.list[-1]", json!(2)),
            (".spec.list[*]", json!(1)),
        ] {
            assert_eq!(first(&object, path), Some(expected), "{path}");
        }
        assert_eq!(first(&object, ".no.such"), None);
    }
}
