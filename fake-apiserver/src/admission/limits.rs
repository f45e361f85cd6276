//! `LimitRanger`: default requests and limits of containers, and their bounds
//! (`kubernetes/kubernetes plugin/pkg/admission/limitranger`).

use serde_json::{Map, Value, json};

use crate::machine::Machine;
use crate::meta;
use crate::quantity;

/// The entries of all `LimitRange`s of a namespace.
fn entries(machine: &Machine, namespace: &str) -> Vec<Value> {
    let space = machine.registry.space("", "limitranges");
    let prefix = format!("{namespace}/");
    let ranges = machine.store.range(space, &prefix, None);
    ranges
        .flat_map(|(_, range)| {
            let limits = range.value.value()["spec"]["limits"].as_array();
            limits.cloned().unwrap_or_default()
        })
        .collect()
}

/// Fills in what containers leave open.
pub(super) fn default(machine: &Machine, namespace: &str, pod: &mut Value) {
    let entries = entries(machine, namespace);
    let entries: Vec<&Value> = entries
        .iter()
        .filter(|e| e["type"] == "Container")
        .collect();
    if entries.is_empty() {
        return;
    }
    let spec = meta::map_mut(pod, "spec");
    for field in ["containers", "initContainers"] {
        let containers = spec.get_mut(field).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let resources = meta::map_mut(container, "resources");
            for entry in &entries {
                let limits = merged(&[&entry["default"], &entry["max"]]);
                let requests = merged(&[
                    &entry["defaultRequest"],
                    &entry["default"],
                    &entry["max"],
                    &entry["min"],
                ]);
                fill(resources, "limits", limits);
                fill(resources, "requests", requests);
            }
        }
    }
}

/// The first of several maps that has a name decides, as defaulting of a `LimitRange` does.
fn merged(maps: &[&Value]) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, value) in maps.iter().filter_map(|map| map.as_object()).flatten() {
        all.entry(name.clone()).or_insert_with(|| value.clone());
    }
    all
}

fn fill(resources: &mut Map<String, Value>, section: &str, defaults: Map<String, Value>) {
    if defaults.is_empty() {
        return;
    }
    let own = resources.entry(section).or_insert_with(|| json!({}));
    if let Some(own) = own.as_object_mut() {
        for (name, value) in defaults {
            own.entry(name).or_insert(value);
        }
    }
}

/// Why a pod is outside of the bounds of its namespace.
pub(super) fn violations(machine: &Machine, namespace: &str, pod: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for entry in &entries(machine, namespace) {
        let kind = entry["type"].as_str().unwrap_or_default();
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        match kind {
            "Container" => {
                let init = pod["spec"]["initContainers"].as_array();
                for container in containers.chain(init.into_iter().flatten()) {
                    let amount = |section: &str, name: &str| {
                        quantity::of(&container["resources"][section][name])
                    };
                    bounds(entry, amount, &mut problems);
                }
            }
            "Pod" => {
                let all: Vec<&Value> = containers.collect();
                let amount = |section: &str, name: &str| {
                    let amounts = all
                        .iter()
                        .map(|c| quantity::of(&c["resources"][section][name]));
                    amounts.sum::<Option<i128>>()
                };
                bounds(entry, amount, &mut problems);
            }
            _ => {}
        }
    }
    problems
}

fn bounds(entry: &Value, amount: impl Fn(&str, &str) -> Option<i128>, problems: &mut Vec<String>) {
    let kind = entry["type"].as_str().unwrap_or_default();
    // in the family of suffixes that the bound uses
    let show = |amount: i128, like: &str| {
        let kibi = 1024 * 1000;
        let text = if like.ends_with('i') && amount % kibi == 0 {
            format!("{}Ki", amount / kibi)
        } else {
            format!("{amount}m")
        };
        quantity::canonical(&text).unwrap_or(text)
    };
    for (bound, section, word) in [("min", "requests", "request"), ("max", "limits", "limit")] {
        for (name, value) in entry[bound].as_object().into_iter().flatten() {
            let Some(edge) = quantity::of(value) else {
                continue;
            };
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let prefix = format!("{bound}imum {name} usage per {kind} is {text}");
            match amount(section, name) {
                None => problems.push(format!("{prefix}.  No {word} is specified")),
                Some(own) if (bound == "min" && own < edge) || (bound == "max" && own > edge) => {
                    problems.push(format!("{prefix}, but {word} is {}", show(own, &text)));
                }
                Some(_) => {}
            }
        }
    }
}
