//! The schemas hold what upstream's hold.

use serde_json::{Value, json};

use super::*;

fn schema_of(crd: &CustomResourceDefinition, version: usize) -> Value {
    let schema = crd.spec.versions[version]
        .schema
        .as_ref()
        .expect("a schema");
    serde_json::to_value(&schema.open_api_v3_schema).expect("JSON")
}

#[test]
fn both_versions_of_aks_node_class_have_one_schema() {
    let class = &crds()[2];
    assert_eq!(schema_of(class, 0), schema_of(class, 1));
    let stored: Vec<bool> = class
        .spec
        .versions
        .iter()
        .map(|version| version.storage)
        .collect();
    assert_eq!(stored, [false, true]);
}

#[test]
fn schemas_are_structural() {
    fn check(path: &str, schema: &Value) {
        let is_free = schema.get("x-kubernetes-int-or-string").is_some();
        assert!(
            is_free || schema["type"].is_string(),
            "{path} has no type: {schema}"
        );
        for keyword in ["nullable", "$ref", "allOf", "oneOf"] {
            assert!(schema.get(keyword).is_none(), "{path} has {keyword}");
        }
        assert!(is_free || schema.get("anyOf").is_none(), "{path} has anyOf");
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            check(&format!("{path}.{name}"), property);
        }
        for keyword in ["items", "additionalProperties"] {
            if let Some(nested) = schema.get(keyword) {
                check(&format!("{path}[]"), nested);
            }
        }
    }
    for crd in crds() {
        check(&crd.spec.names.kind, &schema_of(crd, 0));
    }
}

#[test]
fn node_pool_requires_what_upstream_requires() {
    let schema = schema_of(&crds()[0], 0);
    let spec = &schema["properties"]["spec"];
    assert_eq!(schema["required"], json!(["spec"]));
    assert_eq!(spec["required"], json!(["template"]));
    let template = &spec["properties"]["template"]["properties"]["spec"];
    assert_eq!(
        template["required"],
        json!(["nodeClassRef", "requirements"])
    );
    let disruption = &spec["properties"]["disruption"];
    assert_eq!(disruption["default"], json!({"consolidateAfter": "0s"}));
    assert_eq!(
        disruption["properties"]["budgets"]["default"],
        json!([{"nodes": "10%"}])
    );
    let n_rules = |schema: &Value| schema["x-kubernetes-validations"].as_array().map(Vec::len);
    assert_eq!(n_rules(spec), Some(3));
    assert_eq!(n_rules(&template["properties"]["requirements"]), Some(3));
}
