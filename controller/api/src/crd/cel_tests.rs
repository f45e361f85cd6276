//! The CEL rules compile, let good objects through, and name what is wrong with bad ones.

use kube_cel::KubeCelExt;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Program, Value as Cel};
use serde_json::{Value, json};
use std::sync::Arc;

use super::*;
use crate::defaults::apply_defaults;

/// JSON as CEL sees it under a schema: numbers here are integers.
#[expect(clippy::disallowed_types, reason = "the type of the evaluator's maps")]
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => Cel::Int(number.as_i64().expect("an integer")),
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| (Key::String(Arc::new(key.clone())), to_cel(value)));
            let map: std::collections::HashMap<Key, Cel> = fields.collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

/// Messages of the rules an object breaks; with `old`, also of the rules about changes.
fn broken(schema: &Value, value: &Value, old: Option<&Value>, out: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let text = rule["rule"].as_str().expect("a rule");
        if text.contains("oldSelf") && old.is_none() {
            continue;
        }
        let mut context = Context::default().with_all();
        context.add_variable_from_value("self", to_cel(value));
        if let Some(old) = old {
            context.add_variable_from_value("oldSelf", to_cel(old));
        }
        let program = Program::compile(text).expect("rules compile");
        if program.execute(&context) != Ok(Cel::Bool(true)) {
            out.push(rule["message"].as_str().expect("a message").to_owned());
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(field) = value.get(name) {
            broken(property, field, old.and_then(|old| old.get(name)), out);
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for item in items {
            broken(schema, item, None, out);
        }
    }
}

fn messages(object: &Value, old: Option<&Value>) -> Vec<String> {
    let crds = crds();
    let crd = crds
        .iter()
        .find(|crd| object["kind"] == json!(crd.spec.names.kind));
    let version = crd
        .expect("a kind of ours")
        .spec
        .versions
        .first()
        .expect("a version");
    let schema = version
        .schema
        .as_ref()
        .and_then(|schema| schema.open_api_v3_schema.as_ref());
    let mut out = Vec::new();
    broken(
        &serde_json::to_value(schema).expect("JSON"),
        object,
        old,
        &mut out,
    );
    out
}

fn changed(object: &Value, pointer: &str, value: Value) -> Value {
    let mut object = object.clone();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    object.pointer_mut(parent).expect("the parent exists")[key] = value;
    object
}

fn pool() -> Value {
    let mut pool = json!({
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "general-purpose"},
        "spec": {
            "template": {
                "metadata": {"labels": {"team": "a", "kubernetes.azure.com/mode": "user"}},
                "spec": {
                    "nodeClassRef": {
                        "group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default",
                    },
                    "requirements": [
                        {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
                        {"key": "karpenter.sh/capacity-type", "operator": "In",
                            "values": ["spot", "on-demand"]},
                        {"key": "karpenter.azure.com/sku-cpu", "operator": "Lt", "values": ["17"]},
                        {"key": "node.kubernetes.io/instance-type", "operator": "In",
                            "values": ["Standard_D2s_v5", "Standard_D4s_v5"], "minValues": 2},
                    ],
                },
            },
            "limits": {"cpu": 100, "memory": "400Gi"},
            "weight": 10,
        },
    });
    apply_defaults(&mut pool);
    pool
}

#[test]
fn good_node_pools_pass() {
    let pool = pool();
    assert_eq!(messages(&pool, Some(&pool)), Vec::<String>::new());
    let renamed = changed(
        &pool,
        "/spec/template/spec/nodeClassRef/name",
        json!("other"),
    );
    assert_eq!(messages(&renamed, Some(&pool)), Vec::<String>::new());
}

const REQUIREMENTS: &str = "/spec/template/spec/requirements";

/// Each change of a good pool, and the message it must cause.
fn check(cases: Vec<(&str, Value, &str)>) {
    for (pointer, value, expected) in cases {
        let found = messages(&changed(&pool(), pointer, value.clone()), None);
        assert!(
            found.iter().any(|message| message == expected),
            "{value}: {found:?}"
        );
    }
}

#[test]
fn bad_keys_are_told_why() {
    let key = |key: &str| json!([{"key": key, "operator": "Exists"}]);
    let domain = "label domain \"karpenter.sh\" is restricted";
    let azure = "label domain \"karpenter.azure.com\" is restricted";
    check(vec![
        (REQUIREMENTS, key("karpenter.sh/custom"), domain),
        (REQUIREMENTS, key("mykarpenter.sh/x"), domain),
        (
            REQUIREMENTS,
            key("karpenter.azure.com/sku-hyperv-generation"),
            azure,
        ),
        (
            REQUIREMENTS,
            key("karpenter.sh/nodepool"),
            "label \"karpenter.sh/nodepool\" is restricted",
        ),
        (
            REQUIREMENTS,
            key("agentpool"),
            "label \"agentpool\" is restricted",
        ),
        (
            "/spec/template/metadata/labels",
            json!({"kubernetes.io/hostname": "a"}),
            "label \"kubernetes.io/hostname\" is restricted",
        ),
    ]);
}

#[test]
fn bad_values_are_told_why() {
    let team = |operator: &str, values: &[&str]| json!([{"key": "team", "operator": operator, "values": values}]);
    let numeric = "requirements operator 'Gt', 'Lt', 'Gte', or 'Lte' must have a single positive integer value";
    check(vec![
        (
            REQUIREMENTS,
            team("In", &[]),
            "requirements with operator 'In' must have a value defined",
        ),
        (REQUIREMENTS, team("Gt", &["1", "2"]), numeric),
        (REQUIREMENTS, team("Gte", &["-1"]), numeric),
        (
            REQUIREMENTS,
            json!([{"key": "team", "operator": "In", "values": ["a"], "minValues": 2}]),
            "requirements with 'minValues' must have at least that many values specified in the 'values' field",
        ),
        (
            "/spec/replicas",
            json!(1),
            "only 'limits.nodes' is supported on static NodePools",
        ),
        (
            "/spec/disruption/budgets",
            json!([{"nodes": "1", "schedule": "@daily"}]),
            "'schedule' must be set with 'duration'",
        ),
        (
            "/spec/template/spec/nodeClassRef/name",
            json!(""),
            "name may not be empty",
        ),
    ]);
}

#[test]
fn what_must_not_change_does_not() {
    let old = pool();
    let other = changed(
        &old,
        "/spec/template/spec/nodeClassRef/kind",
        json!("Other"),
    );
    assert_eq!(
        messages(&other, Some(&old)),
        ["nodeClassRef.kind is immutable"]
    );
    let claim = json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {"name": "a"},
        "spec": {
            "nodeClassRef": {"group": "g", "kind": "k", "name": "n"},
            "requirements": [{"key": "karpenter.sh/nodepool", "operator": "In", "values": ["a"]}],
        },
    });
    assert_eq!(messages(&claim, Some(&claim)), Vec::<String>::new());
    let changed_claim = changed(&claim, "/spec/expireAfter", json!("1h"));
    assert_eq!(
        messages(&changed_claim, Some(&claim)),
        ["spec is immutable"]
    );
}

#[test]
fn node_class_rules() {
    let mut class = json!({
        "apiVersion": "karpenter.azure.com/v1beta1", "kind": "AKSNodeClass",
        "metadata": {"name": "default"},
        "spec": {"tags": {"a": "b"}, "kubelet": {}, "linuxOSConfig": {"sysctls": {}}},
    });
    apply_defaults(&mut class);
    assert_eq!(class["spec"]["osDiskSizeGB"], json!(128));
    assert_eq!(messages(&class, None), Vec::<String>::new());
    for (pointer, value, expected) in [
        (
            "/spec/tags",
            json!({"a<b": "c"}),
            "tags keys must not contain '<', '>', '%', '&', or '?'",
        ),
        (
            "/spec/tags",
            json!({"a\\b": "c"}),
            "tags keys must not contain '\\'",
        ),
        (
            "/spec/kubelet",
            json!({"imageGCHighThresholdPercent": 50, "imageGCLowThresholdPercent": 60}),
            "imageGCHighThresholdPercent must be greater than imageGCLowThresholdPercent",
        ),
        (
            "/spec/linuxOSConfig/swapFileSize",
            json!("1Gi"),
            "linuxOSConfig.swapFileSize requires kubelet.failSwapOn to be false",
        ),
        (
            "/spec/linuxOSConfig/sysctls",
            json!({"netCoreRmemDefault": 300_000, "netCoreRmemMax": 212_992}),
            "netCoreRmemDefault must be less than or equal to netCoreRmemMax",
        ),
        (
            "/spec/linuxOSConfig/sysctls",
            json!({"netIPv4IPLocalPortRange": "1000 40000"}),
            "netIPv4IPLocalPortRange must be '<first> <last>', first in 1024-60999, last in 32768-65535, first not above last",
        ),
    ] {
        assert_eq!(
            messages(&changed(&class, pointer, value.clone()), None),
            [expected],
            "{value}"
        );
    }
    let fips = changed(&class, "/spec/fipsMode", json!("FIPS"));
    assert_eq!(messages(&fips, None), Vec::<String>::new());
    let fips = changed(&fips, "/spec/imageFamily", json!("Ubuntu2204"));
    assert_eq!(
        messages(&fips, None),
        ["FIPS with Ubuntu2204 requires trusted launch (vtpm or secureBoot)"]
    );
    let trusted = changed(
        &fips,
        "/spec/security",
        json!({"trustedLaunch": {"vtpm": true}}),
    );
    assert_eq!(messages(&trusted, None), Vec::<String>::new());
    let azure_linux = changed(&trusted, "/spec/imageFamily", json!("AzureLinux"));
    assert_eq!(
        messages(&azure_linux, None),
        ["FIPS with trusted launch is only supported for Ubuntu and Ubuntu2204"]
    );
}
