//! Structural schemas: from the `openAPIV3Schema` of a CRD to nodes, with the API server's refusals
//! (`kubernetes/kubernetes staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/schema`).

use regex::Regex;
use serde_json::Value;

use super::cel::Rule;
use super::fields::Scope;
use super::{Limits, ListType, Node, NodeId, Schema, Type, defaults, validate};
use crate::status::{Fault, FieldError};

/// Deepest nesting accepted, to bound recursion; far beyond any published CRD.
const DEPTH_MAX: usize = 100;

/// Compiles a schema; `path` is where it stands in the CRD, for error paths.
pub(crate) fn compile(schema: &Value, path: &str) -> Result<Schema, Vec<FieldError>> {
    let mut compiler = Compiler {
        nodes: Vec::new(),
        errors: Vec::new(),
    };
    if schema["type"].as_str().unwrap_or_default().is_empty() {
        compiler.errors.push(FieldError::required(
            format!("{path}.type"),
            "must not be empty at the root",
        ));
    } else if schema["type"] != "object" {
        compiler.errors.push(FieldError::invalid(
            format!("{path}.type"),
            &schema["type"],
            "must be object at the root",
        ));
    }
    let root = compiler.node(schema, path, 0, Place::Root);
    let Compiler { nodes, mut errors } = compiler;
    let compiled = Schema::new(nodes, root);
    if errors.is_empty() {
        check_defaults(&compiled, schema, path, &mut errors);
    }
    if errors.is_empty() {
        Ok(compiled)
    } else {
        Err(errors)
    }
}

/// Where a schema stands: what it must and must not say depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Specified,
    /// Inside `anyOf`, `allOf`, `oneOf` or `not`: value validation only.
    Junctor,
}

struct Compiler {
    nodes: Vec<Node>,
    errors: Vec<FieldError>,
}

impl Compiler {
    fn node(&mut self, schema: &Value, path: &str, depth: usize, place: Place) -> NodeId {
        let mut node = Node::new(kind(schema, place));
        if depth > DEPTH_MAX {
            self.errors
                .push(FieldError::forbidden(path, "nested too deeply"));
        } else {
            self.check_shape(schema, path, place);
            self.children(&mut node, schema, path, depth, place);
        }
        node.preserve_unknown = schema["x-kubernetes-preserve-unknown-fields"] == true;
        node.embedded = schema["x-kubernetes-embedded-resource"] == true;
        node.nullable = schema["nullable"] == true;
        node.default = schema.get("default").cloned();
        node.required = strings(&schema["required"]);
        node.format = schema["format"].as_str().map(str::to_owned);
        node.atomic_map = schema["x-kubernetes-map-type"] == "atomic";
        node.list = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => ListType::Set,
            Some("map") => ListType::Map(strings(&schema["x-kubernetes-list-map-keys"])),
            _ => ListType::Atomic,
        };
        if depth <= DEPTH_MAX {
            self.rules(&mut node, schema, (path, place));
        }
        self.nodes.push(node);
        NodeId::try_from(self.nodes.len() - 1).expect("a schema has far fewer than 2^32 nodes")
    }

    fn check_shape(&mut self, schema: &Value, path: &str, place: Place) {
        let untyped = schema["x-kubernetes-int-or-string"] == true
            || schema["x-kubernetes-preserve-unknown-fields"] == true;
        if place == Place::Specified
            && !untyped
            && schema["type"].as_str().unwrap_or_default().is_empty()
        {
            self.errors.push(FieldError::required(
                format!("{path}.type"),
                "must not be empty for specified object fields",
            ));
        }
        if place == Place::Junctor {
            for field in [
                "type",
                "default",
                "description",
                "nullable",
                "additionalProperties",
                "x-kubernetes-validations",
            ] {
                let typed = field == "type" && untyped_choice(schema);
                if schema.get(field).is_some_and(|value| !value.is_null()) && !typed {
                    self.errors.push(FieldError::forbidden(
                        format!("{path}.{field}"),
                        "must be empty to be structural",
                    ));
                }
            }
        }
        if schema["properties"].is_object()
            && schema
                .get("additionalProperties")
                .is_some_and(|v| *v != Value::Bool(false))
        {
            self.errors.push(FieldError::forbidden(
                format!("{path}.additionalProperties"),
                "additionalProperties and properties are mutual exclusive",
            ));
        }
        if schema["$ref"].is_string() {
            self.errors.push(FieldError::forbidden(
                format!("{path}.$ref"),
                "$ref is not supported",
            ));
        }
    }

    fn children(
        &mut self,
        node: &mut Node,
        schema: &Value,
        path: &str,
        depth: usize,
        place: Place,
    ) {
        let inner = if place == Place::Junctor {
            Place::Junctor
        } else {
            Place::Specified
        };
        if let Some(properties) = schema["properties"].as_object() {
            for (name, child) in properties {
                let at = format!("{path}.properties[{name}]");
                let id = self.node(child, &at, depth + 1, inner);
                node.properties.insert(name.clone(), id);
            }
        }
        if schema["additionalProperties"].is_object() {
            let at = format!("{path}.additionalProperties");
            node.additional =
                Some(self.node(&schema["additionalProperties"], &at, depth + 1, inner));
        } else if schema["additionalProperties"] == true {
            node.preserve_unknown = true;
        }
        if schema["items"].is_object() {
            node.items =
                Some(self.node(&schema["items"], &format!("{path}.items"), depth + 1, inner));
        } else if schema["type"] == "array" && place != Place::Junctor {
            self.errors.push(FieldError::required(
                format!("{path}.items"),
                "must be specified",
            ));
        }
        let limits = self.limits(schema, path, depth);
        node.limits = limits.map(Box::new);
    }

    #[expect(clippy::too_many_lines, reason = "a table: one row per keyword")]
    fn limits(&mut self, schema: &Value, path: &str, depth: usize) -> Option<Limits> {
        const FIELDS: &[&str] = &[
            "minimum",
            "maximum",
            "multipleOf",
            "minLength",
            "maxLength",
            "pattern",
            "minItems",
            "maxItems",
            "uniqueItems",
            "minProperties",
            "maxProperties",
            "enum",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
        ];
        if !FIELDS.iter().any(|field| schema.get(field).is_some()) {
            return None;
        }
        let pattern = schema["pattern"]
            .as_str()
            .and_then(|text| match Regex::new(text) {
                Ok(pattern) => Some(pattern),
                Err(error) => {
                    let detail = format!("must be a valid regular expression, but isn't: {error}");
                    let value = Value::from(text);
                    self.errors.push(FieldError::invalid(
                        format!("{path}.pattern"),
                        &value,
                        &detail,
                    ));
                    None
                }
            });
        let int_or_string = schema["x-kubernetes-int-or-string"] == true;
        let mut junctor = |field: &str| -> Vec<NodeId> {
            // the idiomatic `anyOf: [{type: integer}, {type: string}]` says nothing new
            if int_or_string && matches!(field, "anyOf") {
                return Vec::new();
            }
            let branches = schema[field]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            branches
                .iter()
                .enumerate()
                .map(|(i, s)| {
                    self.node(
                        s,
                        &format!("{path}.{field}[{i}]"),
                        depth + 1,
                        Place::Junctor,
                    )
                })
                .collect()
        };
        let (all_of, any_of, one_of) = (junctor("allOf"), junctor("anyOf"), junctor("oneOf"));
        let not = schema["not"].is_object().then(|| {
            self.node(
                &schema["not"],
                &format!("{path}.not"),
                depth + 1,
                Place::Junctor,
            )
        });
        let number = |field: &str| match &schema[field] {
            Value::Number(number) => Some(number.clone()),
            _ => None,
        };
        Some(Limits {
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive_minimum: schema["exclusiveMinimum"] == true,
            exclusive_maximum: schema["exclusiveMaximum"] == true,
            multiple_of: schema["multipleOf"].as_f64(),
            min_length: schema["minLength"].as_u64(),
            max_length: schema["maxLength"].as_u64(),
            pattern,
            min_items: schema["minItems"].as_u64(),
            max_items: schema["maxItems"].as_u64(),
            unique_items: schema["uniqueItems"] == true,
            min_properties: schema["minProperties"].as_u64(),
            max_properties: schema["maxProperties"].as_u64(),
            choices: schema["enum"].as_array().cloned(),
            all_of,
            any_of,
            one_of,
            not,
        })
    }

    /// Compiles the rules of a node that is otherwise complete.
    fn rules(&mut self, node: &mut Node, schema: &Value, (path, place): (&str, Place)) {
        let object = place == Place::Root || node.embedded;
        let entries = schema["x-kubernetes-validations"]
            .as_array()
            .map(Vec::as_slice);
        for (index, entry) in entries.unwrap_or_default().iter().enumerate() {
            let scope = Scope {
                node,
                nodes: &self.nodes,
                object,
            };
            match Rule::compile(entry, &scope) {
                Ok(rule) => node.rules.push(rule),
                Err(error) => {
                    let at = format!("{path}.x-kubernetes-validations[{index}].rule");
                    let shown = shown_rule(entry);
                    self.errors
                        .push(FieldError::shown(at, Fault::Invalid, &shown, &error));
                }
            }
        }
    }
}

/// A rule as Go prints the struct in JSON.
fn shown_rule(entry: &Value) -> String {
    let text = |field: &str| Value::from(entry[field].as_str().unwrap_or_default());
    let or_null = |field: &str| entry.get(field).cloned().unwrap_or(Value::Null);
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        text("rule"),
        text("message"),
        text("messageExpression"),
        or_null("reason"),
        text("fieldPath"),
        or_null("optionalOldSelf"),
    )
}

fn untyped_choice(schema: &Value) -> bool {
    matches!(schema["type"].as_str(), Some("integer" | "string"))
}

fn kind(schema: &Value, place: Place) -> Type {
    if schema["x-kubernetes-int-or-string"] == true {
        return Type::IntOrString;
    }
    match schema["type"].as_str() {
        Some("object") => Type::Object,
        Some("array") => Type::Array,
        Some("string") => Type::String,
        Some("integer") => Type::Integer,
        Some("number") => Type::Number,
        Some("boolean") => Type::Boolean,
        _ if place == Place::Root => Type::Object,
        _ => Type::Any,
    }
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Defaults must validate.
fn check_defaults(compiled: &Schema, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    fn walk(node: &Node, compiled: &Schema, raw: &Value, path: &str, errors: &mut Vec<FieldError>) {
        if let Some(default) = &node.default {
            let mut value = default.clone();
            defaults::apply_node(&mut value, node, compiled);
            for mut error in validate::check_node(compiled, node, &value) {
                error.path = format!("{path}.default{}", error.path);
                errors.push(error);
            }
        }
        for (name, id) in &node.properties {
            let at = format!("{path}.properties[{name}]");
            walk(
                compiled.node(*id),
                compiled,
                &raw["properties"][name],
                &at,
                errors,
            );
        }
        if let Some(child) = compiled.item(node) {
            walk(
                child,
                compiled,
                &raw["items"],
                &format!("{path}.items"),
                errors,
            );
        }
        if let Some(id) = node.additional {
            let at = format!("{path}.additionalProperties");
            walk(
                compiled.node(id),
                compiled,
                &raw["additionalProperties"],
                &at,
                errors,
            );
        }
    }
    walk(compiled.root(), compiled, schema, path, errors);
}
