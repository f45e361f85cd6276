//! Validation of built-in kinds and of every object's metadata, with upstream's texts
//! (`kubernetes/kubernetes pkg/apis/*/validation`). What the cluster's components and controllers
//! depend on is checked; fields nobody reads are not.

pub(crate) mod names;
mod pods;

use serde_json::Value;

use crate::registry::{ResourceType, custom};
use crate::schema::join;
use crate::status::{Fault, FieldError};
use names::{is_dns_label, is_dns_subdomain, is_qualified_name, label_value_error};

/// The mistakes in `metadata`.
pub(crate) fn metadata(object: &Value, resource: &ResourceType) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    if let Some(why) = name_error(name, resource) {
        errors.push(FieldError::invalid("metadata.name", &name.into(), &why));
    }
    labels(&metadata["labels"], "metadata.labels", &mut errors);
    if let Some(annotations) = metadata["annotations"].as_object() {
        for key in annotations.keys() {
            if !is_qualified_name(&key.to_lowercase()) {
                let detail = names::QUALIFIED_NAME;
                errors.push(FieldError::invalid(
                    "metadata.annotations",
                    &key.as_str().into(),
                    detail,
                ));
            }
        }
    }
    let finalizers = metadata["finalizers"].as_array().into_iter().flatten();
    for (index, finalizer) in finalizers.enumerate() {
        let text = finalizer.as_str().unwrap_or_default();
        let path = format!("metadata.finalizers[{index}]");
        if !is_qualified_name(text) {
            errors.push(FieldError::invalid(path, finalizer, names::QUALIFIED_NAME));
        } else if !text.contains('/')
            && !matches!(text, "orphan" | "foregroundDeletion" | "kubernetes")
        {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path, finalizer, detail));
        }
    }
    owners(&metadata["ownerReferences"], &mut errors);
    errors
}

fn name_error(name: &str, resource: &ResourceType) -> Option<String> {
    let lenient = matches!(
        resource.group.as_str(),
        "rbac.authorization.k8s.io" | "flowcontrol.apiserver.k8s.io"
    ) || resource.plural == "events";
    if lenient {
        // path segment names
        if matches!(name, "." | "..") {
            return Some(format!("may not be '{name}'"));
        }
        let bad = name.chars().find(|c| matches!(c, '/' | '%'));
        return bad.map(|c| format!("may not contain '{c}'"));
    }
    if resource.is("", "namespaces") || resource.is("", "services") {
        return (!is_dns_label(name)).then(|| names::DNS_LABEL.to_owned());
    }
    (!is_dns_subdomain(name)).then(|| names::DNS_SUBDOMAIN.to_owned())
}

fn owners(owners: &Value, errors: &mut Vec<FieldError>) {
    for (index, owner) in owners.as_array().into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let path = format!("metadata.ownerReferences[{index}].{field}");
                errors.push(FieldError::invalid(path, &"".into(), "must not be empty"));
            }
        }
    }
    let controllers = owners.as_array().into_iter().flatten();
    let controllers: Vec<&Value> = controllers
        .filter(|owner| owner["controller"] == true)
        .collect();
    if let [first, second, ..] = controllers.as_slice() {
        let name = |owner: &Value| owner["name"].as_str().unwrap_or_default().to_owned();
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {}/{} and {}/{}",
            first["kind"].as_str().unwrap_or_default(),
            name(first),
            second["kind"].as_str().unwrap_or_default(),
            name(second),
        );
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            owners,
            &detail,
        ));
    }
}

/// Label maps.
pub(crate) fn labels(labels: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(labels) = labels.as_object() else {
        return;
    };
    for (key, value) in labels {
        if !is_qualified_name(key) {
            errors.push(FieldError::invalid(
                path,
                &key.as_str().into(),
                names::QUALIFIED_NAME,
            ));
        }
        if let Some(detail) = label_value_error(value.as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid(path, value, &detail));
        }
    }
}

/// The mistakes in a built-in object; `old` is the stored one on update.
pub(crate) fn object(new: &Value, old: Option<&Value>, resource: &ResourceType) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => match old {
            Some(old) => pods::update(new, old, &mut errors),
            None => pods::spec(&new["spec"], "spec", &mut errors),
        },
        ("", "nodes") => node(&new["spec"], &mut errors),
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => {
            workload(new, old, &mut errors);
        }
        ("batch", "jobs") => pods::template(&new["spec"]["template"], "spec.template", &mut errors),
        ("batch", "cronjobs") => {
            required(&new["spec"], "schedule", "spec", &mut errors);
            let template = &new["spec"]["jobTemplate"]["spec"]["template"];
            pods::template(template, "spec.jobTemplate.spec.template", &mut errors);
        }
        ("policy", "poddisruptionbudgets") => budget(&new["spec"], &mut errors),
        ("rbac.authorization.k8s.io", "clusterrolebindings" | "rolebindings") => {
            binding(new, old, &mut errors);
        }
        ("coordination.k8s.io", "leases") => lease(&new["spec"], &mut errors),
        ("scheduling.k8s.io", "priorityclasses") => priority_class(new, old, &mut errors),
        ("storage.k8s.io", "storageclasses") => required(new, "provisioner", "", &mut errors),
        ("", "services") => service(&new["spec"], &mut errors),
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            errors.append(&mut custom::validate(new));
        }
        _ => {}
    }
    errors
}

fn required(object: &Value, field: &str, path: &str, errors: &mut Vec<FieldError>) {
    let value = &object[field];
    if value.is_null() || value.as_str() == Some("") {
        errors.push(FieldError::required(join(path, field), ""));
    }
}

fn node(spec: &Value, errors: &mut Vec<FieldError>) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, taint) in spec["taints"].as_array().into_iter().flatten().enumerate() {
        let path = format!("spec.taints[{index}]");
        let text = |field: &str| taint[field].as_str().unwrap_or_default();
        if !is_qualified_name(text("key")) {
            errors.push(FieldError::invalid(
                format!("{path}.key"),
                &taint["key"],
                names::QUALIFIED_NAME,
            ));
        }
        if let Some(detail) = label_value_error(text("value")) {
            errors.push(FieldError::invalid(
                format!("{path}.value"),
                &taint["value"],
                &detail,
            ));
        }
        taint_effect(taint, &format!("{path}.effect"), errors);
        let identity = (text("key"), text("effect"));
        if seen.contains(&identity) {
            let detail = "taints must be unique by key and effect pair";
            errors.push(FieldError::value(path, Fault::Duplicate, taint, detail));
        }
        seen.push(identity);
    }
}

fn taint_effect(taint: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match taint["effect"].as_str() {
        Some("NoSchedule" | "PreferNoSchedule" | "NoExecute") => {}
        None | Some("") => errors.push(FieldError::required(path, "")),
        Some(_) => errors.push(FieldError::not_supported(
            path,
            &taint["effect"],
            &["NoExecute", "NoSchedule", "PreferNoSchedule"],
        )),
    }
}

/// Deployments and their like: selector and template belong together.
fn workload(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &new["spec"];
    if let Some(replicas) = spec["replicas"].as_i64()
        && replicas < 0
    {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(
            "spec.replicas",
            &spec["replicas"],
            detail,
        ));
    }
    let selector = &spec["selector"];
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    } else {
        label_selector(selector, "spec.selector", errors);
        let empty = selector.as_object().is_some_and(|selector| {
            selector.values().all(|part| {
                part.as_object().is_none_or(serde_json::Map::is_empty)
                    && part.as_array().is_none_or(Vec::is_empty)
            })
        });
        if empty {
            let detail = "empty selector is invalid for deployment";
            errors.push(FieldError::invalid("spec.selector", selector, detail));
        }
    }
    pods::template(&spec["template"], "spec.template", errors);
    let labels = &spec["template"]["metadata"]["labels"];
    if !selector.is_null() && !crate::selectors::label_selector_matches(selector, labels) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            labels,
            detail,
        ));
    }
    if let Some(old) = old
        && old["spec"]["selector"] != *selector
    {
        errors.push(FieldError::invalid(
            "spec.selector",
            selector,
            "field is immutable",
        ));
    }
}

/// `metav1.LabelSelector`.
pub(crate) fn label_selector(selector: &Value, path: &str, errors: &mut Vec<FieldError>) {
    labels(
        &selector["matchLabels"],
        &format!("{path}.matchLabels"),
        errors,
    );
    let expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten();
    for (index, expression) in expressions.enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let values = expression["values"].as_array().map_or(0, Vec::len);
        match expression["operator"].as_str().unwrap_or_default() {
            "In" | "NotIn" if values == 0 => errors.push(FieldError::required(
                format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if values > 0 => errors.push(FieldError::forbidden(
                format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(FieldError::invalid(
                format!("{path}.operator"),
                &expression["operator"],
                "not a valid selector operator",
            )),
        }
        let key = expression["key"].as_str().unwrap_or_default();
        if !is_qualified_name(key) {
            errors.push(FieldError::invalid(
                format!("{path}.key"),
                &key.into(),
                names::QUALIFIED_NAME,
            ));
        }
    }
}

fn budget(spec: &Value, errors: &mut Vec<FieldError>) {
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid("spec", spec, detail));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        let value = &spec[field];
        let path = format!("spec.{field}");
        if value.as_i64().is_some_and(|value| value < 0) {
            errors.push(FieldError::invalid(
                path,
                value,
                "must be greater than or equal to 0",
            ));
        } else if let Some(text) = value.as_str() {
            let percent = text
                .strip_suffix('%')
                .and_then(|number| number.parse::<u32>().ok());
            match percent {
                Some(percent) if percent <= 100 => {}
                Some(_) => {
                    errors.push(FieldError::invalid(path, value, "must not be greater than 100%"));
                }
                None => errors.push(FieldError::invalid(
                    path,
                    value,
                    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                )),
            }
        }
    }
    label_selector(&spec["selector"], "spec.selector", errors);
}

fn binding(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let role = &new["roleRef"];
    if !matches!(role["kind"].as_str(), Some("Role" | "ClusterRole")) {
        errors.push(FieldError::not_supported(
            "roleRef.kind",
            &role["kind"],
            &["Role", "ClusterRole"],
        ));
    }
    required(role, "name", "roleRef", errors);
    if let Some(old) = old
        && old["roleRef"] != *role
    {
        errors.push(FieldError::invalid(
            "roleRef",
            role,
            "cannot change roleRef",
        ));
    }
    for (index, subject) in new["subjects"].as_array().into_iter().flatten().enumerate() {
        let path = format!("subjects[{index}]");
        required(subject, "name", &path, errors);
        if !matches!(
            subject["kind"].as_str(),
            Some("User" | "Group" | "ServiceAccount")
        ) {
            let path = format!("{path}.kind");
            errors.push(FieldError::not_supported(
                path,
                &subject["kind"],
                &["ServiceAccount", "User", "Group"],
            ));
        }
    }
}

fn lease(spec: &Value, errors: &mut Vec<FieldError>) {
    for field in ["leaseDurationSeconds", "leaseTransitions"] {
        let value = &spec[field];
        let least = i64::from(field == "leaseDurationSeconds");
        if value.as_i64().is_some_and(|value| value < least) {
            let detail = if least == 1 {
                "must be greater than 0"
            } else {
                "must be greater than or equal to 0"
            };
            errors.push(FieldError::invalid(format!("spec.{field}"), value, detail));
        }
    }
}

fn priority_class(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let value = new["value"].as_i64().unwrap_or(0);
    if value > 1_000_000_000 && !name.starts_with("system-") {
        let detail = "maximum allowed value of a user defined priority is 1000000000";
        errors.push(FieldError::forbidden("value", detail));
    }
    if old.is_some_and(|old| old["value"] != new["value"]) {
        errors.push(FieldError::invalid(
            "value",
            &new["value"],
            "field is immutable",
        ));
    }
}

fn service(spec: &Value, errors: &mut Vec<FieldError>) {
    let ports = spec["ports"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if ports.is_empty() && spec["type"] != "ExternalName" && spec["clusterIP"] != "None" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        if !port["port"]
            .as_i64()
            .is_some_and(|port| (1..=65535).contains(&port))
        {
            let detail = "must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(
                format!("spec.ports[{index}].port"),
                &port["port"],
                detail,
            ));
        }
    }
}
