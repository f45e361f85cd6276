//! Reading a body as a kind: what the Go decoder accepts, drops and reports.

use serde_json::{Map, Value};

use super::{Node, Schema, Type};

/// What decoding found besides the object.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Paths of fields the kind does not have.
    pub unknown: Vec<String>,
    /// The first value of a wrong type, as the Go decoder words it.
    pub type_error: Option<String>,
}

/// Drops unknown fields (and, for built-in kinds, nulls) in place.
///
/// `builtin` also checks JSON types, which custom resources do in validation.
pub(crate) fn prune(value: &mut Value, schema: &Schema, kind: &str, builtin: bool) -> Report {
    let mut walk = Walk {
        schema,
        kind,
        builtin,
        report: Report::default(),
    };
    walk.object_root(value);
    walk.report
}

/// Where the walk is; spelled out only when there is something to report.
enum Path<'a> {
    Root,
    Field(&'a Self, &'a str),
    /// A key of a free map, which the Go decoder does not name.
    Key(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl Path<'_> {
    /// The field as the Go decoder names it: without list indices and map keys.
    fn go_field(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Key(parent, _) | Self::Item(parent, _) => parent.go_field(),
            Self::Field(parent, name) => {
                let parent = parent.go_field();
                super::join(&parent, name)
            }
        }
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) | Self::Key(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

struct Walk<'a> {
    schema: &'a Schema,
    /// The Go struct whose fields are being read.
    kind: &'a str,
    builtin: bool,
    report: Report,
}

impl<'a> Walk<'a> {
    fn object_root(&mut self, value: &mut Value) {
        let schema = self.schema;
        if self.builtin {
            self.value(value, schema.root(), &Path::Root);
            return;
        }
        let Some(map) = value.as_object_mut() else {
            return;
        };
        self.fields(map, schema.root(), &Path::Root, true);
    }

    fn value(&mut self, value: &mut Value, node: &'a Node, path: &Path<'_>) {
        if self.builtin {
            self.check(value, node, path);
            if node.kind == Type::Quantity {
                canonicalize(value);
            }
        }
        match value {
            Value::Object(map) if matches!(node.kind, Type::Object | Type::Any) => {
                if node.kind == Type::Any && node.properties.is_empty() {
                    return;
                }
                let outer = self.kind;
                self.kind = node.go_type.as_deref().unwrap_or(outer);
                self.fields(map, node, path, node.embedded);
                self.kind = outer;
            }
            Value::Array(items) => {
                let Some(node) = self.schema.item(node) else {
                    return;
                };
                if is_leaf(node) && !self.builtin {
                    return;
                }
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, node, &Path::Item(path, index));
                }
            }
            _ => {}
        }
    }

    fn fields(
        &mut self,
        map: &mut Map<String, Value>,
        node: &'a Node,
        path: &Path<'_>,
        object: bool,
    ) {
        let schema = self.schema;
        let free = node.preserve_unknown || node.additional.is_some();
        let mut unknown = Vec::new();
        map.retain(|name, value| {
            if self.builtin && value.is_null() {
                return false;
            }
            if object
                && matches!(name.as_str(), "apiVersion" | "kind" | "metadata")
                && !self.builtin
            {
                return true;
            }
            match schema.field(node, name) {
                Some(child) => {
                    if self.builtin && !node.properties.contains_key(name) {
                        self.value(value, child, &Path::Key(path, name));
                    } else if !is_leaf(child) || self.builtin {
                        self.value(value, child, &Path::Field(path, name));
                    }
                    true
                }
                None if free => true,
                None => {
                    unknown.push(Path::Field(path, name).to_string());
                    false
                }
            }
        });
        self.report.unknown.append(&mut unknown);
    }

    fn check(&mut self, value: &Value, node: &Node, path: &Path<'_>) {
        if self.report.type_error.is_some() || value.is_null() {
            return;
        }
        let wanted = match (node.kind, value) {
            (Type::Any, _)
            | (Type::Object, Value::Object(_))
            | (Type::Array, Value::Array(_))
            | (Type::String | Type::IntOrString, Value::String(_))
            | (Type::Boolean, Value::Bool(_))
            | (Type::Number | Type::IntOrString | Type::Quantity, Value::Number(_)) => return,
            (Type::Integer, Value::Number(number)) if number.is_i64() || number.is_u64() => return,
            (Type::Quantity, Value::String(text)) => {
                if crate::quantity::parse(text).is_none() {
                    // upstream's text ends with the expression: the decoder keeps no path for
                    // errors of a type's own reader, which leaves people searching
                    let why = crate::quantity::ERROR;
                    self.report.type_error = Some(format!("{why}: {path}: {value}"));
                }
                return;
            }
            (Type::Object, _) => "map[string]interface {}",
            (Type::Array, _) => "[]string",
            (Type::String, _) => "string",
            (Type::Boolean, _) => "bool",
            (Type::Integer, _) => "int64",
            (Type::Number, _) => "float64",
            (Type::IntOrString, _) => "intstr.IntOrString",
            (Type::Quantity, _) => "resource.Quantity",
        };
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let kind = self.kind;
        let field = path.go_field();
        self.report.type_error = Some(format!(
            "json: cannot unmarshal {found} into Go struct field {kind}.{field} of type {wanted}"
        ));
    }
}

/// Quantities are written back in canonical form.
fn canonicalize(value: &mut Value) {
    let text = match &*value {
        Value::String(text) => crate::quantity::canonical(text),
        Value::Number(number) => crate::quantity::canonical(&number.to_string()),
        _ => None,
    };
    if let Some(text) = text {
        *value = text.into();
    }
}

fn is_leaf(node: &Node) -> bool {
    !matches!(node.kind, Type::Object | Type::Array | Type::Any)
}
