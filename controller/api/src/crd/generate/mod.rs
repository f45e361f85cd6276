//! CRDs from the types: fields, types and descriptions are derived; what derivation cannot know
//! (defaults, patterns, CEL rules, list types, columns) is put in by path, and only here.

mod azure;
mod edit;
mod karpenter;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

/// All CRDs of the controller, in the order they are installed in: NodePool, NodeClaim, AKSNodeClass.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [
        karpenter::node_pool(),
        karpenter::node_claim(),
        azure::aks_node_class(),
    ]
    .into_iter()
    .map(|crd| serde_json::from_value(crd).expect("the finished CRD is still a CRD"))
    .collect()
}

/// File name of a CRD under `crds/`, as upstream names its files: `<group>_<plural>.yaml`.
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural)
}

/// A CRD as YAML with sorted keys; strings are quoted as in JSON unless they are plain words.
pub fn yaml(crd: &CustomResourceDefinition) -> String {
    let value = serde_json::to_value(crd).expect("a CRD is JSON");
    let mut text = String::new();
    write_yaml(&value, 0, &mut text);
    text
}

/// Block style for collections, JSON for everything else: JSON scalars are YAML scalars.
fn write_yaml(value: &Value, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                out.push_str(&pad);
                out.push_str(&scalar(key));
                out.push(':');
                write_nested(value, indent + 1, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                if is_block(item) {
                    // The first line of the item moves up beside its dash.
                    let mut nested = String::new();
                    write_yaml(item, indent + 1, &mut nested);
                    out.push_str(&pad);
                    out.push_str("- ");
                    out.push_str(nested.trim_start());
                } else {
                    out.push_str(&pad);
                    out.push('-');
                    write_nested(item, indent + 1, out);
                }
            }
        }
        other => {
            out.push_str(&pad);
            out.push_str(&flow(other));
            out.push('\n');
        }
    }
}

fn write_nested(value: &Value, indent: usize, out: &mut String) {
    if is_block(value) {
        out.push('\n');
        write_yaml(value, indent, out);
    } else {
        out.push(' ');
        out.push_str(&flow(value));
        out.push('\n');
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A plain scalar where YAML cannot take it for anything but this text, quoted otherwise.
fn scalar(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let starts_plain = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let ambiguous = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_plain = starts_plain
        && text.chars().all(is_word)
        && !ambiguous.contains(&text.to_ascii_lowercase().as_str());
    if is_plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests;
