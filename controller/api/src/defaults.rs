//! Defaults of the CRDs, applied where no API server has done it: files given to a planner, tests.

use serde_json::Value;

use crate::crd::crds;

/// Puts in the defaults the CRD of the object's kind and version declares. An object of a kind this
/// crate does not know is left alone, and so is an object without `apiVersion` and `kind`.
pub fn apply_defaults(object: &mut Value) {
    let text = |key| object.get(key).and_then(Value::as_str).map(str::to_owned);
    let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        return;
    };
    let Some((group, version)) = api_version.split_once('/') else {
        return;
    };
    let schema = crds()
        .iter()
        .filter(|crd| crd.spec.group == group && crd.spec.names.kind == kind)
        .flat_map(|crd| &crd.spec.versions)
        .find(|served| served.name == version)
        .and_then(|served| served.schema.as_ref()?.open_api_v3_schema.as_ref());
    if let Some(schema) = schema {
        let schema = serde_json::to_value(schema).expect("a schema is JSON");
        apply(&schema, object);
    }
}

/// Structural defaulting: parents before children, so that a default object gets its own defaults.
fn apply(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                for (name, property) in properties {
                    if let (None, Some(default)) = (fields.get(name), property.get("default")) {
                        fields.insert(name.clone(), default.clone());
                    }
                    if let Some(field) = fields.get_mut(name) {
                        apply(property, field);
                    }
                }
            }
            if let Some(additional) = schema.get("additionalProperties") {
                fields
                    .values_mut()
                    .for_each(|field| apply(additional, field));
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    apply(schema, item);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_defaults_fill_the_rest() {
        let mut pool = json!({
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "spec": {"template": {"spec": {"requirements": []}}},
        });
        apply_defaults(&mut pool);
        assert_eq!(
            pool["spec"],
            json!({
                "disruption": {
                    "budgets": [{"nodes": "10%"}],
                    "consolidateAfter": "0s",
                    "consolidationPolicy": "WhenEmptyOrUnderutilized",
                },
                "template": {"spec": {"requirements": [], "expireAfter": "720h"}},
            })
        );
    }
}
