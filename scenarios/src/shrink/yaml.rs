//! Writes YAML that people like to read: short things on one line.

use serde_json::{Map, Value};

/// Keys that come first, in the order in which people write them; the others follow by name.
const FIRST: [&str; 30] = [
    "name",
    "region",
    "seed",
    "epoch",
    "at",
    "horizon",
    "azure",
    "cluster",
    "controller",
    "faults",
    "load",
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "percent",
    "perMille",
    "replicas",
    "selector",
    "eventually",
    "always",
    "never",
    "within",
    "after",
    "from",
    "until",
    "manifests",
    "timeline",
    "expect",
    "template",
];

fn ordered(entries: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let rank = |name: &str| FIRST.iter().position(|first| *first == name);
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by_key(|(name, _)| (rank(name).unwrap_or(FIRST.len()), *name));
    entries
}

/// Columns that a line in flow style may have.
const WIDTH: usize = 100;

/// A document from its entries, in their order.
pub(crate) fn document(entries: &Map<String, Value>) -> String {
    let mut out = String::new();
    block_map(&mut out, entries, 0);
    out
}

fn block_map(out: &mut String, entries: &Map<String, Value>, indent: usize) {
    for (index, (name, value)) in ordered(entries).into_iter().enumerate() {
        // The first entry of a list's element stands beside its dash.
        if index > 0 || !out.ends_with("- ") {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str(&scalar(name));
        out.push(':');
        after(out, value, indent);
    }
}

/// What follows a key.
fn after(out: &mut String, value: &Value, indent: usize) {
    let line = flow(value);
    let short = indent + line.len() < WIDTH / 2 || simple(value);
    let fits = indent + line.len() < WIDTH;
    match value {
        Value::Object(entries) if !(entries.is_empty() || short || fits && flat(value)) => {
            out.push('\n');
            block_map(out, entries, indent + 2);
        }
        Value::Array(items) if !(items.is_empty() || short || fits && flat(value)) => {
            out.push('\n');
            for item in items {
                element(out, item, indent + 2);
            }
        }
        _ => {
            out.push(' ');
            out.push_str(&line);
            out.push('\n');
        }
    }
}

fn element(out: &mut String, item: &Value, indent: usize) {
    out.push_str(&" ".repeat(indent));
    out.push_str("- ");
    let line = flow(item);
    match item {
        Value::Object(entries) if indent + line.len() >= WIDTH && !entries.is_empty() => {
            block_map(out, entries, indent + 2);
        }
        _ => {
            out.push_str(&line);
            out.push('\n');
        }
    }
}

fn simple(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

/// Whether nothing in it is nested any further.
fn flat(value: &Value) -> bool {
    match value {
        Value::Object(entries) => entries.values().all(simple),
        Value::Array(items) => items.iter().all(simple),
        _ => true,
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let entries = ordered(entries)
                .into_iter()
                .map(|(name, value)| format!("{}: {}", scalar(name), flow(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            let items = items.iter().map(flow);
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A string, quoted where YAML would read something else.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let begins = text
        .chars()
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic());
    let plain = |part: char| part.is_ascii_alphanumeric() || "_-./".contains(part);
    let word = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    let duration = text
        .chars()
        .next()
        .is_some_and(|first| first.is_ascii_digit())
        && text.ends_with(['s', 'm', 'h', 'd'])
        && text
            .chars()
            .all(|part| part.is_ascii_digit() || "smhd".contains(part));
    if duration || begins && !word && text.chars().all(plain) {
        text.to_owned()
    } else {
        Value::String(text.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_what_was_meant() {
        let value = json!({
            "name": "x",
            "horizon": "20m",
            "manifests": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec":
                    {"replicas": 2, "template": {"metadata": {"labels": {"a/b": "no"}}, "spec":
                    {"containers": [{"name": "main", "image": "registry.example/pause:3.9"}]}}}},
                {"kind": "X"},
            ],
            "expect": [{"eventually": "pods.running == 10 && nodes.ready >= 1", "within": "3m"}],
            "empty": {},
            "list": ["1", "yes", "a b", "", 1, null],
        });
        let text = document(value.as_object().expect("a map"));
        let back: Value = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!(back, value, "{text}");
        insta::assert_snapshot!(text, @r#"
        name: x
        horizon: 20m
        manifests:
          - apiVersion: apps/v1
            kind: Deployment
            metadata: {name: a}
            spec:
              replicas: 2
              template:
                metadata: {labels: {a/b: "no"}}
                spec:
                  containers:
                    - {name: main, image: "registry.example/pause:3.9"}
          - {kind: X}
        expect:
          - {eventually: "pods.running == 10 && nodes.ready >= 1", within: 3m}
        empty: {}
        list: ["1", "yes", "a b", "", 1, null]
        "#);
    }
}
