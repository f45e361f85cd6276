//! `ResourceQuota`: the last check of a new object
//! (`…/apiserver/pkg/admission/plugin/resourcequota`).
//!
//! Usage is counted from the store at every create, so that it is never behind; quotas with scopes
//! are left out, since none of the objects here have the properties they select by.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::machine::{Call, Machine};
use crate::quantity;
use crate::registry::ResourceType;
use crate::status::{Result, Status};

/// Amounts in thousandths, by the name a quota has for them.
type Usage = BTreeMap<String, i128>;

/// Answers 403 when the object does not fit into a quota of its namespace.
pub(crate) fn check(machine: &Machine, call: &Call<'_>, object: &Value) -> Result<()> {
    let resource = &call.view.resource;
    if !resource.namespaced || resource.is("", "events") || resource.is("", "resourcequotas") {
        return Ok(());
    }
    let space = machine.registry.space("", "resourcequotas");
    let prefix = format!("{}/", call.namespace);
    for (_, quota) in machine.store.range(space, &prefix, None) {
        let quota = &quota.value;
        let spec = &quota.value()["spec"];
        let Some(hard) = spec["hard"].as_object() else {
            continue;
        };
        if !spec["scopes"].is_null() || !spec["scopeSelector"].is_null() {
            continue;
        }
        let needed = usage(resource, object);
        let limited: Vec<&String> = hard
            .keys()
            .filter(|name| concerns(name, resource))
            .collect();
        let refusal = |why: String| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            Err(Status::forbidden(resource.named(name), &why))
        };
        let missing: Vec<String> = limited
            .iter()
            .filter(|name| !needed.contains_key(**name))
            .map(|name| format!("{name} for: {}", containers(object, name)))
            .collect();
        if !missing.is_empty() {
            let missing = missing.join("; ");
            return refusal(format!(
                "failed quota: {}: must specify {missing}",
                quota.name()
            ));
        }
        let used = used(machine, call, resource);
        let amount = |usage: &Usage, name: &str| usage.get(name).copied().unwrap_or_default();
        let over: Vec<&String> = limited
            .into_iter()
            .filter(|name| {
                let limit = quantity::of(&hard[*name]).unwrap_or_default();
                amount(&used, name) + amount(&needed, name) > limit
            })
            .collect();
        if over.is_empty() {
            continue;
        }
        let show = |usage: &Usage| {
            let parts = over.iter().map(|name| {
                let text = format!("{}m", amount(usage, name));
                format!("{name}={}", quantity::canonical(&text).unwrap_or(text))
            });
            parts.collect::<Vec<_>>().join(",")
        };
        let limits: Vec<String> = over
            .iter()
            .map(|name| format!("{name}={}", hard[*name].as_str().unwrap_or_default()))
            .collect();
        return refusal(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            quota.name(),
            show(&needed),
            show(&used),
            limits.join(",")
        ));
    }
    Ok(())
}

/// Whether a quota's entry counts objects of this resource.
fn concerns(name: &str, resource: &ResourceType) -> bool {
    let counted = [resource.plural.clone(), count(resource)];
    counted.iter().any(|own| own == name)
        && (resource.group.is_empty() || name.starts_with("count/"))
        || resource.is("", "pods") && computed(name).is_some()
}

fn count(resource: &ResourceType) -> String {
    if resource.group.is_empty() {
        format!("count/{}", resource.plural)
    } else {
        format!("count/{}.{}", resource.plural, resource.group)
    }
}

/// The section and name of a pod's resource that an entry sums.
fn computed(name: &str) -> Option<(&str, &str)> {
    match name {
        "cpu" | "memory" | "ephemeral-storage" => Some(("requests", name)),
        other => other
            .split_once('.')
            .filter(|(section, _)| matches!(*section, "requests" | "limits"))
            .filter(|(_, resource)| *resource != "storage"),
    }
}

/// What an object takes of each entry it concerns.
fn usage(resource: &ResourceType, object: &Value) -> Usage {
    let mut usage = Usage::new();
    if resource.is("", "pods") {
        if matches!(
            object["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        ) {
            return usage;
        }
        let (mut sum, init) = (Usage::new(), &object["spec"]["initContainers"]);
        for container in object["spec"]["containers"]
            .as_array()
            .into_iter()
            .flatten()
        {
            for (name, amount) in amounts(container) {
                *sum.entry(name).or_default() += amount;
            }
        }
        for container in init.as_array().into_iter().flatten() {
            for (name, amount) in amounts(container) {
                let own = sum.entry(name).or_default();
                *own = amount.max(*own);
            }
        }
        for (name, amount) in sum {
            if let Some(short) = name.strip_prefix("requests.") {
                usage.insert(short.to_owned(), amount);
            }
            usage.insert(name, amount);
        }
    }
    // one object, in thousandths
    usage.insert(count(resource), 1000);
    usage.insert(resource.plural.clone(), 1000);
    usage
}

fn amounts(container: &Value) -> Usage {
    let mut found = Usage::new();
    for section in ["requests", "limits"] {
        let own = container["resources"][section].as_object();
        for (name, amount) in own.into_iter().flatten() {
            let amount = quantity::of(amount).unwrap_or_default();
            found.insert(format!("{section}.{name}"), amount);
        }
    }
    found
}

/// Names of the containers that do not say what an entry sums.
fn containers(pod: &Value, entry: &str) -> String {
    let (section, name) = computed(entry).unwrap_or_default();
    let all = pod["spec"]["containers"].as_array().into_iter().flatten();
    let silent = all.filter(|container| container["resources"][section][name].is_null());
    let names: Vec<&str> = silent
        .filter_map(|container| container["name"].as_str())
        .collect();
    names.join(",")
}

fn used(machine: &Machine, call: &Call<'_>, resource: &ResourceType) -> Usage {
    let mut sum = Usage::new();
    let prefix = format!("{}/", call.namespace);
    for (_, own) in machine.store.range(resource.space, &prefix, None) {
        for (name, amount) in usage(resource, own.value.value()) {
            *sum.entry(name).or_default() += amount;
        }
    }
    sum
}
