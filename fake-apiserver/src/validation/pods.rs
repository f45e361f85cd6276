//! Pods and pod templates (`kubernetes/kubernetes pkg/apis/core/validation`).

use serde_json::{Value, json};

use super::names::{self, is_dns_label, is_qualified_name, label_value_error};
use super::{label_selector, labels};
use crate::quantity;
use crate::status::{Fault, FieldError};

const IMMUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A pod template.
pub(super) fn template(template: &Value, path: &str, errors: &mut Vec<FieldError>) {
    labels(
        &template["metadata"]["labels"],
        &format!("{path}.metadata.labels"),
        errors,
    );
    spec(&template["spec"], &format!("{path}.spec"), errors);
}

/// A pod's spec.
pub(super) fn spec(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let containers = spec["containers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if containers.is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let volumes: Vec<&str> = volumes
        .filter_map(|volume| volume["name"].as_str())
        .collect();
    for field in ["initContainers", "containers"] {
        let mut seen: Vec<&str> = Vec::new();
        for (index, item) in spec[field].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.{field}[{index}]");
            container(item, &path, &volumes, errors);
            let name = item["name"].as_str().unwrap_or_default();
            if seen.contains(&name) {
                errors.push(FieldError::value(
                    format!("{path}.name"),
                    Fault::Duplicate,
                    &name.into(),
                    "",
                ));
            }
            seen.push(name);
        }
    }
    for (index, toleration) in spec["tolerations"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        check_toleration(toleration, &format!("{path}.tolerations[{index}]"), errors);
    }
    choice(
        spec,
        "restartPolicy",
        path,
        &["Always", "OnFailure", "Never"],
        errors,
    );
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    choice(spec, "dnsPolicy", path, &policies, errors);
    if spec["terminationGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds < 0)
    {
        let at = format!("{path}.terminationGracePeriodSeconds");
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(
            at,
            &spec["terminationGracePeriodSeconds"],
            detail,
        ));
    }
    labels(
        &spec["nodeSelector"],
        &format!("{path}.nodeSelector"),
        errors,
    );
    affinity(&spec["affinity"], &format!("{path}.affinity"), errors);
    spread(
        &spec["topologySpreadConstraints"],
        &format!("{path}.topologySpreadConstraints"),
        errors,
    );
}

fn choice(spec: &Value, field: &str, path: &str, supported: &[&str], errors: &mut Vec<FieldError>) {
    if let Some(text) = spec[field].as_str()
        && !supported.contains(&text)
    {
        errors.push(FieldError::not_supported(
            format!("{path}.{field}"),
            &spec[field],
            supported,
        ));
    }
}

fn container(container: &Value, path: &str, volumes: &[&str], errors: &mut Vec<FieldError>) {
    let text = |field: &str| container[field].as_str().unwrap_or_default();
    if text("name").is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    } else if !is_dns_label(text("name")) {
        errors.push(FieldError::invalid(
            format!("{path}.name"),
            &container["name"],
            names::DNS_LABEL,
        ));
    }
    if text("image").is_empty() {
        errors.push(FieldError::required(format!("{path}.image"), ""));
    }
    choice(
        container,
        "imagePullPolicy",
        path,
        &["Always", "IfNotPresent", "Never"],
        errors,
    );
    for (index, port) in container["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let at = format!("{path}.ports[{index}].containerPort");
        match port["containerPort"].as_i64() {
            None | Some(0) => errors.push(FieldError::required(at, "")),
            Some(1..=65535) => {}
            Some(_) => {
                let detail = "must be between 1 and 65535, inclusive";
                errors.push(FieldError::invalid(at, &port["containerPort"], detail));
            }
        }
    }
    for (index, mount) in container["volumeMounts"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let name = mount["name"].as_str().unwrap_or_default();
        let at = format!("{path}.volumeMounts[{index}].name");
        if name.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if !volumes.contains(&name) {
            errors.push(FieldError::value(at, Fault::NotFound, &mount["name"], ""));
        }
    }
    resources(
        &container["resources"],
        &format!("{path}.resources"),
        errors,
    );
}

fn resources(resources: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for part in ["limits", "requests"] {
        for (name, value) in resources[part].as_object().into_iter().flatten() {
            let at = format!("{path}.{part}[{name}]");
            if quantity::of(value).is_some_and(|amount| amount < 0) {
                errors.push(FieldError::invalid(
                    &at,
                    value,
                    "must be greater than or equal to 0",
                ));
            }
            let standard = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
                || name.starts_with("hugepages-");
            if !standard && !name.contains('/') {
                let name = Value::from(name.as_str());
                errors.push(FieldError::invalid(
                    &at,
                    &name,
                    "must be a standard resource type or fully qualified",
                ));
                errors.push(FieldError::invalid(
                    &at,
                    &name,
                    "must be a standard resource for containers",
                ));
            }
        }
    }
    let limits = resources["limits"].as_object().into_iter().flatten();
    for (name, limit) in limits {
        let Some(request) = resources["requests"].get(name) else {
            continue;
        };
        let at = format!("{path}.requests");
        let (requested, limited) = (quantity::of(request), quantity::of(limit));
        if requested > limited {
            let shown = request
                .as_str()
                .map_or_else(|| request.to_string(), str::to_owned);
            let limit = limit
                .as_str()
                .map_or_else(|| limit.to_string(), str::to_owned);
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            errors.push(FieldError::invalid(at, &shown.into(), &detail));
        } else if name.contains('/') && requested != limited {
            let detail = format!(
                "must be equal to {name} limit of {}",
                limit.as_str().unwrap_or_default()
            );
            errors.push(FieldError::invalid(at, request, &detail));
        }
    }
}

fn check_toleration(toleration: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let text = |field: &str| toleration[field].as_str().unwrap_or_default();
    if !text("key").is_empty() && !is_qualified_name(text("key")) {
        errors.push(FieldError::invalid(
            format!("{path}.key"),
            &toleration["key"],
            names::QUALIFIED_NAME,
        ));
    }
    match text("operator") {
        "Exists" if !text("value").is_empty() => errors.push(FieldError::invalid(
            format!("{path}.operator"),
            &toleration["value"],
            "value must be empty when `operator` is 'Exists'",
        )),
        "" | "Equal" if text("key").is_empty() => errors.push(FieldError::invalid(
            format!("{path}.operator"),
            &toleration["operator"],
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        )),
        "" | "Equal" | "Exists" => {}
        _ => errors.push(FieldError::not_supported(
            format!("{path}.operator"),
            &toleration["operator"],
            &["Equal", "Exists"],
        )),
    }
    if let Some(detail) = label_value_error(text("value")) {
        errors.push(FieldError::invalid(
            format!("{path}.value"),
            &toleration["value"],
            &detail,
        ));
    }
    match text("effect") {
        "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute" => {}
        _ => errors.push(FieldError::not_supported(
            format!("{path}.effect"),
            &toleration["effect"],
            &["NoExecute", "NoSchedule", "PreferNoSchedule"],
        )),
    }
    if toleration["tolerationSeconds"].is_i64() && text("effect") != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(
            format!("{path}.effect"),
            &toleration["effect"],
            detail,
        ));
    }
}

fn affinity(affinity: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let node = &affinity["nodeAffinity"];
    let hard = &node["requiredDuringSchedulingIgnoredDuringExecution"];
    if hard.is_object() {
        let path = format!(
            "{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        );
        let terms = hard["nodeSelectorTerms"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        if terms.is_empty() {
            errors.push(FieldError::required(
                &path,
                "must have at least one node selector term",
            ));
        }
        for (index, term) in terms.iter().enumerate() {
            node_term(term, &format!("{path}[{index}]"), errors);
        }
    }
    let soft = &node["preferredDuringSchedulingIgnoredDuringExecution"];
    for (index, term) in soft.as_array().into_iter().flatten().enumerate() {
        let path =
            format!("{path}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[{index}]");
        weight(term, &path, errors);
        node_term(&term["preference"], &format!("{path}.preference"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let hard = &affinity[kind]["requiredDuringSchedulingIgnoredDuringExecution"];
        for (index, term) in hard.as_array().into_iter().flatten().enumerate() {
            let path =
                format!("{path}.{kind}.requiredDuringSchedulingIgnoredDuringExecution[{index}]");
            pod_term(term, &path, errors);
        }
        let soft = &affinity[kind]["preferredDuringSchedulingIgnoredDuringExecution"];
        for (index, term) in soft.as_array().into_iter().flatten().enumerate() {
            let path =
                format!("{path}.{kind}.preferredDuringSchedulingIgnoredDuringExecution[{index}]");
            weight(term, &path, errors);
            pod_term(
                &term["podAffinityTerm"],
                &format!("{path}.podAffinityTerm"),
                errors,
            );
        }
    }
}

fn weight(term: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if !term["weight"]
        .as_i64()
        .is_some_and(|weight| (1..=100).contains(&weight))
    {
        errors.push(FieldError::invalid(
            format!("{path}.weight"),
            &term["weight"],
            "must be in the range 1-100",
        ));
    }
}

fn pod_term(term: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if term["topologyKey"].as_str().unwrap_or_default().is_empty() {
        errors.push(FieldError::required(
            format!("{path}.topologyKey"),
            "can not be empty",
        ));
    }
    label_selector(
        &term["labelSelector"],
        &format!("{path}.labelSelector"),
        errors,
    );
}

fn node_term(term: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for part in ["matchExpressions", "matchFields"] {
        for (index, expression) in term[part].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.{part}[{index}]");
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
                "Gt" | "Lt" if values != 1 => errors.push(FieldError::required(
                    format!("{path}.values"),
                    "must be specified single value when `operator` is 'Lt' or 'Gt'",
                )),
                "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
                _ => errors.push(FieldError::invalid(
                    format!("{path}.operator"),
                    &expression["operator"],
                    "not a valid selector operator",
                )),
            }
            let key = expression["key"].as_str().unwrap_or_default();
            if part == "matchExpressions" && !is_qualified_name(key) {
                errors.push(FieldError::invalid(
                    format!("{path}.key"),
                    &key.into(),
                    names::QUALIFIED_NAME,
                ));
            }
        }
    }
}

fn spread(constraints: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, constraint) in constraints.as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}[{index}]");
        if constraint["maxSkew"].as_i64().is_none_or(|skew| skew <= 0) {
            errors.push(FieldError::invalid(
                format!("{path}.maxSkew"),
                &constraint["maxSkew"],
                "must be greater than zero",
            ));
        }
        if constraint["topologyKey"]
            .as_str()
            .unwrap_or_default()
            .is_empty()
        {
            errors.push(FieldError::required(
                format!("{path}.topologyKey"),
                "can not be empty",
            ));
        }
        let supported = ["DoNotSchedule", "ScheduleAnyway"];
        if !constraint["whenUnsatisfiable"]
            .as_str()
            .is_some_and(|text| supported.contains(&text))
        {
            let at = format!("{path}.whenUnsatisfiable");
            errors.push(FieldError::not_supported(
                at,
                &constraint["whenUnsatisfiable"],
                &supported,
            ));
        }
        label_selector(
            &constraint["labelSelector"],
            &format!("{path}.labelSelector"),
            errors,
        );
    }
}

/// Almost nothing of a pod's spec may change.
pub(super) fn update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (&new["spec"], &old["spec"]);
    if new == old {
        return;
    }
    let gated = old["schedulingGates"]
        .as_array()
        .is_some_and(|gates| !gates.is_empty());
    if frozen(new, gated) != frozen(old, gated) {
        errors.push(FieldError::forbidden("spec", IMMUTABLE));
    }
    let tolerations = |spec: &Value| spec["tolerations"].as_array().cloned().unwrap_or_default();
    let kept = tolerations(new);
    if !tolerations(old).iter().all(|own| {
        kept.iter()
            .any(|new| new["key"] == own["key"] && new["effect"] == own["effect"])
    }) {
        errors.push(FieldError::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
    let gates = |spec: &Value| {
        spec["schedulingGates"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let before = gates(old);
    let added: Vec<Value> = gates(new)
        .into_iter()
        .filter(|gate| !before.contains(gate))
        .collect();
    if !added.is_empty() {
        let detail = format!(
            "only deletion is allowed, but found new scheduling gates {}",
            json!(added)
        );
        errors.push(FieldError::forbidden("spec.schedulingGates", &detail));
    }
}

/// The part of a spec that may not change.
fn frozen(spec: &Value, gated: bool) -> Value {
    let mut spec = spec.clone();
    for field in ["containers", "initContainers"] {
        let containers = spec.get_mut(field).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                container.remove("image");
            }
        }
    }
    if let Some(map) = spec.as_object_mut() {
        for field in [
            "activeDeadlineSeconds",
            "tolerations",
            "schedulingGates",
            "terminationGracePeriodSeconds",
        ] {
            map.remove(field);
        }
        if gated {
            map.remove("nodeSelector");
            map.remove("affinity");
        }
    }
    spec
}
