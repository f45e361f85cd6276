//! Validation of custom resources against their structural schema, with the texts of
//! `k8s.io/kube-openapi/pkg/validation` as the API server passes them on.

use std::collections::BTreeSet;

use serde_json::{Number, Value};

use super::{Limits, ListType, Node, Schema, Type, formats, join};
use crate::status::{Fault, FieldError};

/// Every violation, in field order. Values equal to the stored ones are not judged again
/// (ratcheting: an object stays editable when its CRD becomes stricter).
pub(crate) fn check(schema: &Schema, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut walk = Walk {
        schema,
        errors: Vec::new(),
    };
    walk.fields(schema.root(), new, old, "", true);
    walk.limits(schema.root(), new, "");
    walk.errors
}

/// The violations of one value against one node, with paths relative to it.
pub(crate) fn check_node(schema: &Schema, node: &Node, value: &Value) -> Vec<FieldError> {
    let mut walk = Walk {
        schema,
        errors: Vec::new(),
    };
    walk.node(node, value, None, "");
    walk.errors
}

struct Walk<'a> {
    schema: &'a Schema,
    errors: Vec<FieldError>,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, new: &Value, old: Option<&Value>, path: &str) {
        if old == Some(new) {
            return;
        }
        if new.is_null() {
            if !node.nullable && node.kind != Type::Any {
                self.type_error(node, new, path);
            }
            return;
        }
        if !fits(node, new) {
            self.type_error(node, new, path);
            return;
        }
        self.limits(node, new, path);
        match new {
            Value::Object(_) => self.fields(node, new, old, path, node.embedded),
            Value::Array(items) => {
                if let Some(child) = self.schema.item(node) {
                    for (index, item) in items.iter().enumerate() {
                        let old = old.and_then(|old| old.get(index));
                        self.node(child, item, old, &format!("{path}[{index}]"));
                    }
                }
                self.list_type(node, items, path);
            }
            _ => {}
        }
    }

    fn fields(&mut self, node: &Node, new: &Value, old: Option<&Value>, path: &str, object: bool) {
        let Some(map) = new.as_object() else { return };
        for name in &node.required {
            if !map.contains_key(name) {
                self.errors.push(FieldError::required(join(path, name), ""));
            }
        }
        for (name, value) in map {
            if object && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                continue;
            }
            if let Some(child) = self.schema.field(node, name) {
                let old = old.and_then(|old| old.get(name));
                self.node(child, value, old, &join(path, name));
            }
        }
    }

    fn type_error(&mut self, node: &Node, value: &Value, path: &str) {
        let wanted = type_name(node.kind);
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let detail = format!("{path} in body must be of type {wanted}: \"{found}\"");
        self.errors.push(FieldError::shown(
            path,
            Fault::TypeInvalid,
            &format!("\"{found}\""),
            &detail,
        ));
    }

    fn invalid(&mut self, path: &str, value: &Value, detail: &str) {
        let detail = format!("{path} in body {detail}");
        self.errors.push(FieldError::invalid(path, value, &detail));
    }

    fn limits(&mut self, node: &Node, value: &Value, path: &str) {
        if let (Some(format), Value::String(text)) = (&node.format, value)
            && node.kind == Type::String
            && !formats::matches(format, text)
        {
            self.invalid(path, value, &format!("must be of type {format}: {value}"));
        }
        let Some(limits) = &node.limits else { return };
        match value {
            Value::Number(number) => self.number(limits, number, value, path),
            Value::String(text) => self.string(limits, text, value, path),
            Value::Array(items) => self.array(limits, items, value, path),
            Value::Object(map) => self.object(limits, map.len(), value, path),
            _ => {}
        }
        if let Some(choices) = &limits.choices
            && !choices.contains(value)
        {
            let texts: Vec<String> = choices
                .iter()
                .map(|choice| {
                    choice
                        .as_str()
                        .map_or_else(|| choice.to_string(), str::to_owned)
                })
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            self.errors
                .push(FieldError::not_supported(path, value, &texts));
        }
        self.combinations(limits, value, path);
    }

    fn number(&mut self, limits: &Limits, number: &Number, value: &Value, path: &str) {
        if let Some(minimum) = &limits.minimum {
            let order = compare(number, minimum);
            if limits.exclusive_minimum && order.is_le() {
                self.invalid(path, value, &format!("should be greater than {minimum}"));
            } else if order.is_lt() {
                self.invalid(
                    path,
                    value,
                    &format!("should be greater than or equal to {minimum}"),
                );
            }
        }
        if let Some(maximum) = &limits.maximum {
            let order = compare(number, maximum);
            if limits.exclusive_maximum && order.is_ge() {
                self.invalid(path, value, &format!("should be less than {maximum}"));
            } else if order.is_gt() {
                self.invalid(
                    path,
                    value,
                    &format!("should be less than or equal to {maximum}"),
                );
            }
        }
        if let (Some(step), Some(number)) = (limits.multiple_of, number.as_f64())
            && (number / step).fract().abs() > f64::EPSILON
        {
            self.invalid(path, value, &format!("should be a multiple of {step}"));
        }
    }

    fn string(&mut self, limits: &Limits, text: &str, value: &Value, path: &str) {
        let length = text.chars().count() as u64;
        if let Some(minimum) = limits.min_length
            && length < minimum
        {
            self.invalid(
                path,
                value,
                &format!("should be at least {minimum} chars long"),
            );
        }
        if let Some(maximum) = limits.max_length
            && length > maximum
        {
            let detail = format!("may not be more than {maximum} bytes");
            self.errors
                .push(FieldError::bare(path, Fault::TooLong, &detail));
        }
        if let Some(pattern) = &limits.pattern
            && !pattern.is_match(text)
        {
            self.invalid(path, value, &format!("should match '{pattern}'"));
        }
    }

    fn array(&mut self, limits: &Limits, items: &[Value], value: &Value, path: &str) {
        let count = items.len() as u64;
        if let Some(minimum) = limits.min_items
            && count < minimum
        {
            self.invalid(
                path,
                value,
                &format!("should have at least {minimum} items"),
            );
        }
        if let Some(maximum) = limits.max_items
            && count > maximum
        {
            self.too_many(path, count, maximum);
        }
        if limits.unique_items
            && items
                .iter()
                .enumerate()
                .any(|(index, item)| items.iter().take(index).any(|earlier| earlier == item))
        {
            self.invalid(path, value, "shouldn't contain duplicates");
        }
    }

    fn object(&mut self, limits: &Limits, count: usize, value: &Value, path: &str) {
        let count = count as u64;
        if let Some(minimum) = limits.min_properties
            && count < minimum
        {
            self.invalid(
                path,
                value,
                &format!("should have at least {minimum} properties"),
            );
        }
        if let Some(maximum) = limits.max_properties
            && count > maximum
        {
            self.too_many(path, count, maximum);
        }
    }

    fn too_many(&mut self, path: &str, count: u64, maximum: u64) {
        let items = if maximum == 1 { "item" } else { "items" };
        let detail = format!("must have at most {maximum} {items}");
        self.errors.push(FieldError::shown(
            path,
            Fault::TooMany,
            &count.to_string(),
            &detail,
        ));
    }

    fn combinations(&mut self, limits: &Limits, value: &Value, path: &str) {
        let passes = |id: &u32| self.passes(*id, value, path);
        let any = limits.any_of.is_empty() || limits.any_of.iter().any(passes);
        let one =
            limits.one_of.is_empty() || limits.one_of.iter().filter(|id| passes(id)).count() == 1;
        let all = limits.all_of.iter().all(passes);
        let not = limits.not.is_none_or(|id| !passes(&id));
        for (holds, text) in [
            (any, "must validate at least one schema (anyOf)"),
            (one, "must validate one and only one schema (oneOf)"),
            (all, "must validate all the schemas (allOf)"),
            (not, "must not validate the schema (not)"),
        ] {
            if !holds {
                let shown = if value.is_object() {
                    Value::from("")
                } else {
                    value.clone()
                };
                self.errors.push(FieldError::invalid(
                    path,
                    &shown,
                    &format!("\"{path}\" {text}"),
                ));
            }
        }
    }

    fn passes(&self, id: u32, value: &Value, path: &str) -> bool {
        let mut walk = Walk {
            schema: self.schema,
            errors: Vec::new(),
        };
        walk.node(self.schema.node(id), value, None, path);
        walk.errors.is_empty()
    }

    fn list_type(&mut self, node: &Node, items: &[Value], path: &str) {
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let identity = match &node.list {
                ListType::Atomic => return,
                ListType::Set => item.clone(),
                ListType::Map(keys) => keys
                    .iter()
                    .filter_map(|key| Some((key.clone(), item.get(key)?.clone())))
                    .collect(),
            };
            if !seen.insert(identity.to_string()) {
                let path = format!("{path}[{index}]");
                self.errors
                    .push(FieldError::value(path, Fault::Duplicate, &identity, ""));
            }
        }
    }
}

fn fits(node: &Node, value: &Value) -> bool {
    match (node.kind, value) {
        (Type::Any, _)
        | (Type::Object, Value::Object(_))
        | (Type::Array, Value::Array(_))
        | (Type::String, Value::String(_))
        | (Type::Boolean, Value::Bool(_))
        | (Type::Number, Value::Number(_))
        | (Type::Quantity, Value::String(_) | Value::Number(_)) => true,
        (Type::IntOrString, Value::String(_)) => true,
        (Type::Integer | Type::IntOrString, Value::Number(number)) => {
            !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        _ => false,
    }
}

fn type_name(kind: Type) -> &'static str {
    match kind {
        Type::Object => "object",
        Type::Array => "array",
        Type::String => "string",
        Type::Integer => "integer",
        Type::Number => "number",
        Type::Boolean => "boolean",
        Type::IntOrString | Type::Quantity => "integer or string",
        Type::Any => "any",
    }
}

fn compare(left: &Number, right: &Number) -> std::cmp::Ordering {
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        return left.cmp(&right);
    }
    let (left, right) = (
        left.as_f64().unwrap_or(f64::NAN),
        right.as_f64().unwrap_or(f64::NAN),
    );
    left.total_cmp(&right)
}
