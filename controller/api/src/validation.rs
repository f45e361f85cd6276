//! What the CRDs cannot check: the run-time validation of a NodePool.
//!
//! Source: kubernetes-sigs/karpenter `pkg/apis/v1/nodepool_validation.go`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Taint;

use crate::karpenter::v1::{NodePool, NodeRequirement, Operator};
use crate::labels;

/// Everything wrong with a NodePool, in the order of the checks; empty when nothing is.
/// The texts, joined by `; `, are the message of the condition `ValidationSucceeded`.
pub fn validate_node_pool(pool: &NodePool) -> Vec<String> {
    let mut errors = Vec::new();
    let template = &pool.spec.template;
    for (key, value) in template.labels() {
        check_template_label(key, value, &mut errors);
    }
    let mut seen = BTreeSet::new();
    let lists = [
        ("taints", template.spec.taints()),
        ("startupTaints", template.spec.startup_taints()),
    ];
    for (field, taints) in lists {
        for taint in taints {
            check_taint(field, taint, &mut errors);
            if !seen.insert((taint.key.as_str(), taint.effect.as_str())) {
                let (key, effect) = (&taint.key, &taint.effect);
                errors.push(format!("duplicate taint Key/Effect pair {key}={effect}"));
            }
        }
    }
    for requirement in &template.spec.requirements {
        check_requirement(requirement, &mut errors);
    }
    for requirement in &template.spec.requirements {
        if requirement.key == labels::NODEPOOL {
            errors.push(format!(
                "key {} is restricted in requirements",
                labels::NODEPOOL
            ));
        }
    }
    errors
}

fn check_template_label(key: &str, value: &str, errors: &mut Vec<String>) {
    if key == labels::NODEPOOL {
        errors.push(format!("invalid key name {key:?} in labels, restricted"));
        return;
    }
    if let Some(error) = qualified_name_error(key) {
        errors.push(format!("invalid key name {key:?} in labels, {error}"));
    }
    if let Some(error) = label_value_error(value) {
        errors.push(format!(
            "invalid value: {value:?} for label[{key}], {error}"
        ));
    }
    if let Some(error) = labels::restriction(key) {
        errors.push(format!("invalid key name {key:?} in labels, {error}"));
    }
}

fn check_taint(field: &str, taint: &Taint, errors: &mut Vec<String>) {
    if taint.key.is_empty() {
        errors.push(format!("invalid {field}: the key may not be empty"));
    } else if let Some(error) = qualified_name_error(&taint.key) {
        errors.push(format!("invalid {field} key {:?}, {error}", taint.key));
    }
    let value = taint.value.as_deref().unwrap_or_default();
    if !value.is_empty()
        && let Some(error) = qualified_name_error(value)
    {
        errors.push(format!("invalid {field} value {value:?}, {error}"));
    }
    if !["NoSchedule", "PreferNoSchedule", "NoExecute", ""].contains(&taint.effect.as_str()) {
        errors.push(format!("invalid {field} effect {:?}", taint.effect));
    }
}

/// Checks one requirement; the key may be an alias.
fn check_requirement(requirement: &NodeRequirement, errors: &mut Vec<String>) {
    let NodeRequirement {
        key,
        operator,
        values,
        min_values,
    } = requirement;
    let key = labels::normalize(key);
    if let Some(error) = labels::restriction(key) {
        errors.push(error);
    }
    if let Some(error) = qualified_name_error(key) {
        errors.push(format!("key {key} is not a qualified name, {error}"));
    }
    for value in values {
        if let Some(error) = label_value_error(value) {
            errors.push(format!("invalid value {value:?} for key {key}, {error}"));
        }
    }
    let min_values = min_values
        .and_then(|min| usize::try_from(min).ok())
        .unwrap_or_default();
    match operator {
        Operator::In if values.is_empty() => {
            errors.push(format!("key {key} with operator In must have a value defined"));
        }
        Operator::In if values.len() < min_values => errors.push(format!(
            "key {key} with operator In must have at least minValues ({min_values}) values, it has {}",
            values.len()
        )),
        Operator::Gt | Operator::Lt | Operator::Gte | Operator::Lte
            if !matches!(values.as_slice(), [value] if value.parse::<u64>().is_ok()) =>
        {
            errors.push(format!(
                "key {key} with operator {operator} must have a single positive integer value"
            ));
        }
        Operator::In => check_known_values(key, values, min_values, errors),
        _ => {}
    }
}

/// Values of which at least one must be among the known ones; unknown ones beside it are let through,
/// for they may come from a newer controller.
fn check_known_values(key: &str, values: &[String], min_values: usize, errors: &mut Vec<String>) {
    let Some((_, known)) = KNOWN_VALUES.iter().find(|(known_key, _)| *known_key == key) else {
        return;
    };
    let n_known = values
        .iter()
        .filter(|value| known.contains(&value.as_str()))
        .count();
    if n_known < min_values.max(1) {
        let known = known.join(", ");
        errors.push(format!(
            "key {key} needs at least {} of the known values ({known}), got {values:?}",
            min_values.max(1)
        ));
    }
}

/// Labels whose values are a closed list.
const KNOWN_VALUES: &[(&str, &[&str])] = &[
    (labels::CAPACITY_TYPE, &["on-demand", "spot"]),
    (labels::SKU_NETWORKING_ACCELERATED, &["true", "false"]),
    (labels::SKU_STORAGE_PREMIUM_CAPABLE, &["true", "false"]),
    (labels::SKU_STORAGE_ULTRA_SSD, &["true", "false"]),
    (labels::SKU_GPU_MANUFACTURER, &["nvidia", "amd"]),
    (labels::PLACEMENT_SCOPE, &["zonal", "regional"]),
    (labels::AKS_MODE, &["system", "user"]),
    (labels::AKS_SCALE_SET_PRIORITY, &["regular", "spot"]),
    (labels::AKS_PRIORITY, &["regular", "spot"]),
    (labels::AKS_OS_SKU, &["Ubuntu", "AzureLinux"]),
    (labels::AKS_FIPS_ENABLED, &["true"]),
];

/// Why a text is not a qualified name (optional DNS subdomain, slash, name of at most 63); `None` when it is.
///
/// Source: kubernetes apimachinery `pkg/util/validation`.
pub fn qualified_name_error(text: &str) -> Option<String> {
    let (prefix, name) = match text.split_once('/') {
        None => (None, text),
        Some((prefix, name)) => (Some(prefix), name),
    };
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Some("prefix part must be non-empty".to_owned());
        }
        if !is_dns_subdomain(prefix) {
            return Some(
                "prefix part must be a DNS subdomain of at most 253 characters".to_owned(),
            );
        }
    }
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    if name.len() > 63 || !is_name(name) {
        return Some(
            "name part must be at most 63 letters, digits, '-', '_' or '.', with a letter or digit \
             at both ends"
                .to_owned(),
        );
    }
    None
}

/// Why a text is not a label value; `None` when it is.
pub fn label_value_error(text: &str) -> Option<String> {
    if text.is_empty() || (text.len() <= 63 && is_name(text)) {
        return None;
    }
    Some(
        "a label value must be at most 63 letters, digits, '-', '_' or '.', with a letter or digit \
         at both ends"
            .to_owned(),
    )
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    is_end(bytes.first())
        && is_end(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn is_dns_subdomain(text: &str) -> bool {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let is_inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        bytes.first().is_some_and(is_inner)
            && bytes.last().is_some_and(is_inner)
            && bytes.iter().all(|byte| is_inner(byte) || *byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(metadata: &serde_json::Value, spec: serde_json::Value) -> String {
        let mut spec = spec;
        spec["nodeClassRef"] = json!({"group": "g", "kind": "k", "name": "n"});
        if spec.get("requirements").is_none() {
            spec["requirements"] = json!([]);
        }
        let pool = json!({
            "metadata": {"name": "p"},
            "spec": {"template": {"metadata": metadata, "spec": spec}},
        });
        validate_node_pool(&serde_json::from_value(pool).expect("a NodePool")).join("; ")
    }

    #[test]
    fn accepts_what_upstream_accepts() {
        let spec = json!({
            "taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}],
            "requirements": [
                {"key": "beta.kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
                {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "new"]},
                {"key": "karpenter.azure.com/sku-cpu", "operator": "Gt", "values": ["0"]},
            ],
        });
        assert_eq!(
            errors(
                &json!({"labels": {"team": "a", "kubernetes.io/x": ""}}),
                spec
            ),
            ""
        );
    }

    #[test]
    fn refuses_what_upstream_refuses() {
        let spec = json!({
            "taints": [{"key": "a", "effect": "NoSchedule"}],
            "startupTaints": [{"key": "a", "effect": "NoSchedule"}],
            "requirements": [
                {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["reserved"]},
                {"key": "x", "operator": "Lt", "values": ["-1"]},
                {"key": "x", "operator": "In", "values": ["a"], "minValues": 2},
                {"key": "kubernetes.io/hostname", "operator": "Exists"},
            ],
        });
        let text = errors(
            &json!({"labels": {"karpenter.sh/nodepool": "a", "-x": "y"}}),
            spec,
        );
        insta::assert_snapshot!(text.replace("; ", "\n"), @r#"
        invalid key name "-x" in labels, name part must be at most 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends
        invalid key name "karpenter.sh/nodepool" in labels, restricted
        duplicate taint Key/Effect pair a=NoSchedule
        key karpenter.sh/capacity-type needs at least 1 of the known values (on-demand, spot), got ["reserved"]
        invalid value "-1" for key x, a label value must be at most 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends
        key x with operator Lt must have a single positive integer value
        key x with operator In must have at least minValues (2) values, it has 1
        label kubernetes.io/hostname is restricted, it names one machine
        "#);
    }
}
