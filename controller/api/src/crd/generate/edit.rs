//! Editing a schema by path.

use serde_json::{Map, Value, json};

/// Label values, as Kubernetes checks them.
pub(super) const LABEL_VALUE: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
/// Label keys, as Kubernetes checks them.
pub(super) const QUALIFIED_NAME: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(\\/))?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$";
/// Quantities.
const QUANTITY: &str = "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$";
/// Durations of whole hours, minutes and seconds.
pub(super) const DURATION: &str = "^([0-9]+(s|m|h))+$";
/// The same, or `Never`.
pub(super) const DURATION_OR_NEVER: &str = "^(([0-9]+(s|m|h))+|Never)$";

/// The schema of a CRD's version, to be edited by path.
#[derive(Debug)]
pub(super) struct Schema(Value);

impl Schema {
    /// Starts from a derived CRD with one version. Takes out what derivation puts in and upstream's
    /// schemas do not have: `nullable`, defaults of the Rust types, examples of unsigned minima.
    pub(super) fn derived(crd: &impl serde::Serialize) -> Self {
        let mut crd = serde_json::to_value(crd).expect("a CRD is JSON");
        let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut schema = schema.take();
        strip(&mut schema);
        let properties = schema["properties"]
            .as_object_mut()
            .expect("a CRD has properties");
        properties.insert("metadata".to_owned(), json!({"type": "object"}));
        for (key, description) in [
            ("apiVersion", "Group and version of this object's schema."),
            ("kind", "Kind of this object."),
        ] {
            let text = json!({"type": "string", "description": description});
            properties.insert(key.to_owned(), text);
        }
        Self(schema)
    }

    pub(super) fn into_value(self) -> Value {
        self.0
    }

    /// The schema at `spec.items[].map{}.field`: `[]` enters a list, `{}` the values of a map.
    fn at(&mut self, path: &str) -> &mut Map<String, Value> {
        let mut schema = &mut self.0;
        for segment in path.split('.') {
            let name = segment.trim_end_matches(['[', ']', '{', '}']);
            schema = schema
                .get_mut("properties")
                .and_then(|properties| properties.get_mut(name))
                .expect("paths in this crate name fields of its types");
            for open in segment.chars().filter(|c| ['[', '{'].contains(c)) {
                let key = if open == '[' {
                    "items"
                } else {
                    "additionalProperties"
                };
                schema = schema.get_mut(key).expect("the field is a list or a map");
            }
        }
        schema.as_object_mut().expect("a schema is an object")
    }

    /// Sets keywords of the schema at the path; keywords it has already are replaced.
    pub(super) fn set(&mut self, path: &str, keywords: Value) {
        let Value::Object(keywords) = keywords else {
            unreachable!("keywords are given as an object");
        };
        self.at(path).extend(keywords);
    }

    /// Replaces the schema at the path, except for its description.
    pub(super) fn replace(&mut self, path: &str, keywords: Value) {
        let schema = self.at(path);
        schema.retain(|keyword, _| keyword == "description");
        self.set(path, keywords);
    }

    /// Makes the field a string out of a list.
    pub(super) fn choice(&mut self, path: &str, values: &[&str]) {
        self.replace(path, json!({"type": "string", "enum": values}));
    }

    /// Makes the field a string that matches.
    pub(super) fn pattern(&mut self, path: &str, pattern: &str) {
        self.replace(path, json!({"type": "string", "pattern": pattern}));
    }

    /// Bounds of a number.
    pub(super) fn range(&mut self, path: &str, minimum: i64, maximum: i64) {
        self.set(path, json!({"minimum": minimum, "maximum": maximum}));
    }

    /// Makes the field a map from resource names to quantities.
    pub(super) fn resource_list(&mut self, path: &str) {
        let quantity = json!({
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": QUANTITY,
            "x-kubernetes-int-or-string": true,
        });
        self.replace(
            path,
            json!({"type": "object", "additionalProperties": quantity}),
        );
    }

    /// Adds CEL rules, given as (rule, message).
    pub(super) fn rules(&mut self, path: &str, rules: &[(&str, &str)]) {
        let list = self
            .at(path)
            .entry("x-kubernetes-validations")
            .or_insert_with(|| Value::Array(Vec::new()));
        let list = list.as_array_mut().expect("rules are a list");
        list.extend(
            rules
                .iter()
                .map(|(rule, message)| json!({"rule": rule, "message": message})),
        );
    }

    /// Makes the field a list of conditions. NodeClaims accept conditions without a reason.
    pub(super) fn conditions(&mut self, path: &str, is_reason_required: bool) {
        let word = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?";
        let mut reason = json!({
            "type": "string",
            "maxLength": 1024,
            "description": "Why the condition has this status, as one word.",
        });
        let mut required = vec!["lastTransitionTime", "status", "type"];
        if is_reason_required {
            reason["minLength"] = json!(1);
            reason["pattern"] = json!(format!("^{word}$"));
            required.extend(["message", "reason"]);
        } else {
            reason["pattern"] = json!(format!("^({word}|)$"));
        }
        required.sort_unstable();
        let condition = json!({
            "type": "object",
            "description": "One aspect of the object's state.",
            "required": required,
            "properties": {
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the status last changed.",
                },
                "message": {
                    "type": "string",
                    "maxLength": 32768,
                    "description": "Why the condition has this status, for people.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "Generation of the object the condition is about.",
                },
                "reason": reason,
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                    "description": "Whether the condition holds.",
                },
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                    "description": "Name of the condition.",
                },
            },
        });
        self.replace(path, json!({"type": "array", "items": condition}));
    }
}

/// Takes out, at every level, what only derivation puts in.
fn strip(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    // Under `properties` the keys are field names, not keywords.
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(strip);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(nested) = map.get_mut(key) {
            strip(nested);
        }
    }
    for key in ["nullable", "default", "title"] {
        map.remove(key);
    }
}

/// A printer column: name, JSON path, type, priority (1 is shown with `-o wide` only).
pub(super) fn column(name: &str, json_path: &str, type_: &str, priority: i32) -> Value {
    let mut column = json!({"name": name, "jsonPath": json_path, "type": type_});
    if priority > 0 {
        column["priority"] = json!(priority);
    }
    column
}

/// JSON path of a condition's status.
pub(super) fn condition_path(type_: &str) -> String {
    format!(".status.conditions[?(@.type==\"{type_}\")].status")
}

/// JSON path of a label's value; dots in the key are escaped.
pub(super) fn label_path(key: &str) -> String {
    format!(".metadata.labels.{}", key.replace('.', "\\."))
}
