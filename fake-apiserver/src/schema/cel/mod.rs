//! `x-kubernetes-validations`: rules in CEL, with the API server's scoping and messages.
//!
//! `kube-cel` brings the language and the Kubernetes libraries; conversion of values, escaping of
//! field names, correlation with the old object and ratcheting are here
//! (`kubernetes/kubernetes staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel`).

mod patterns;

use std::sync::Arc;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::objects::{Key, Map as CelMap, OptionalValue};
use kube_cel::cel::{Context, Program, Value as Cel};
use serde_json::Value;

use super::fields::{self, Scope};
use super::{ListType, Node, Schema, Type, join};
use crate::status::{Fault, FieldError};

/// One compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    source: String,
    program: Program,
    message: Option<String>,
    message_program: Option<Program>,
    fault: Fault,
    field_path: String,
    optional_old: bool,
    transition: bool,
}

impl Rule {
    /// Compiles one entry of `x-kubernetes-validations`; the error is the compiler's text.
    pub(super) fn compile(entry: &Value, scope: &Scope<'_>) -> Result<Self, String> {
        let text = |field: &str| entry[field].as_str().filter(|text| !text.is_empty());
        let source = text("rule").unwrap_or_default();
        let program = compile(source)?;
        if let Some(error) = fields::undefined(program.expression(), source, scope) {
            return Err(error);
        }
        let message_program = text("messageExpression").map(compile).transpose()?;
        let transition = program.references().has_variable("oldSelf");
        let fault = match text("reason") {
            Some("FieldValueForbidden") => Fault::Forbidden,
            Some("FieldValueRequired") => Fault::Required,
            Some("FieldValueDuplicate") => Fault::Duplicate,
            _ => Fault::Invalid,
        };
        Ok(Self {
            source: source.to_owned(),
            program,
            message: text("message").map(|text| text.trim().to_owned()),
            message_program,
            fault,
            field_path: text("fieldPath").unwrap_or_default().to_owned(),
            optional_old: entry["optionalOldSelf"] == true,
            transition,
        })
    }

    /// The value is not shown, whatever the reason (upstream's `OmitValueType`).
    fn failure(&self, path: &str, message: &str) -> FieldError {
        let path = format!("{path}{}", self.field_path);
        let path = path.strip_prefix('.').unwrap_or(&path);
        FieldError::bare(path, self.fault, message)
    }
}

fn compile(source: &str) -> Result<Program, String> {
    Program::compile(source).map_err(|error| format!("compilation failed: ERROR: {error}"))
}

/// The evaluation environment: all libraries registered once.
pub(crate) struct Environment {
    base: Context<'static>,
    timestamp: Program,
    duration: Program,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl Environment {
    pub(crate) fn new() -> Self {
        let compile = |source| Program::compile(source).expect("a constant expression");
        let mut base = Context::default().with_all();
        patterns::register(&mut base);
        Self {
            base,
            timestamp: compile("timestamp(text)"),
            duration: compile("duration(text)"),
        }
    }

    /// Evaluates every rule of the schema; `old` is the stored object on update.
    pub(crate) fn check(
        &self,
        schema: &Schema,
        new: &Value,
        old: Option<&Value>,
    ) -> Vec<FieldError> {
        let mut walk = Walk {
            environment: self,
            schema,
            errors: Vec::new(),
        };
        walk.node(schema.root(), new, old, "", true);
        walk.errors
    }

    fn converted(&self, program: &Program, text: &str) -> Option<Cel> {
        let mut scope = self.base.new_inner_scope();
        scope.add_variable_from_value("text", text.to_owned());
        program.execute(&scope).ok()
    }
}

struct Walk<'a> {
    environment: &'a Environment,
    schema: &'a Schema,
    errors: Vec<FieldError>,
}

impl Walk<'_> {
    /// `correlated`: the old value at this path is the same thing as the new one, so that
    /// transition rules make sense and unchanged values are not judged again (ratcheting).
    fn node(
        &mut self,
        node: &Node,
        new: &Value,
        old: Option<&Value>,
        path: &str,
        correlated: bool,
    ) {
        if new.is_null() {
            return;
        }
        let old = old.filter(|_| correlated);
        if !node.rules.is_empty() {
            self.rules(node, new, old, path);
        }
        let schema = self.schema;
        match new {
            Value::Object(map) => {
                for (name, value) in map {
                    let Some(child) = schema.field(node, name) else {
                        continue;
                    };
                    let path = if node.properties.contains_key(name) {
                        join(path, name)
                    } else {
                        format!("{path}[{name}]")
                    };
                    let old = old.and_then(|old| old.get(name));
                    self.node(child, value, old, &path, correlated && !node.atomic_map);
                }
            }
            Value::Array(items) => {
                let Some(child) = schema.item(node) else {
                    return;
                };
                for (index, value) in items.iter().enumerate() {
                    let old = old.and_then(|old| correlate(&node.list, value, old));
                    self.node(
                        child,
                        value,
                        old,
                        &format!("{path}[{index}]"),
                        old.is_some(),
                    );
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, node: &Node, new: &Value, old: Option<&Value>, path: &str) {
        let unchanged = old == Some(new);
        let wanted = |rule: &&Rule| {
            if rule.transition {
                old.is_some() || rule.optional_old
            } else {
                !unchanged
            }
        };
        let mut rules = node.rules.iter().filter(wanted).peekable();
        if rules.peek().is_none() {
            return;
        }
        let root = path.is_empty();
        let mut scope = self.environment.base.new_inner_scope();
        scope.add_variable_from_value("self", self.convert(new, Some(node), root));
        let old_value = old.map(|old| self.convert(old, Some(node), root));
        let mut found = Vec::new();
        for rule in rules {
            if rule.transition {
                let bound = if rule.optional_old {
                    let optional = old_value
                        .clone()
                        .map_or_else(OptionalValue::none, OptionalValue::of);
                    Cel::Opaque(Arc::new(optional))
                } else {
                    old_value.clone().unwrap_or(Cel::Null)
                };
                scope.add_variable_from_value("oldSelf", bound);
            }
            let message = match rule.program.execute(&scope) {
                Ok(Cel::Bool(true)) => continue,
                Ok(Cel::Bool(false)) => message(rule, &scope),
                Ok(_) => format!(
                    "rule evaluation error: rule did not return a boolean: {}",
                    rule.source
                ),
                Err(error) => format!("rule evaluation error: {error}"),
            };
            found.push(rule.failure(path, &message));
        }
        self.errors.append(&mut found);
    }

    fn convert(&self, value: &Value, node: Option<&Node>, root: bool) -> Cel {
        match value {
            Value::Null => Cel::Null,
            Value::Bool(value) => Cel::Bool(*value),
            Value::Number(number) => convert_number(number, node),
            Value::String(text) => self.convert_string(text, node),
            Value::Array(items) => {
                let child = node.and_then(|node| self.schema.item(node));
                let items = items
                    .iter()
                    .map(|item| self.convert(item, child, false))
                    .collect();
                Cel::List(Arc::new(items))
            }
            Value::Object(map) => {
                let is_map = node.is_some_and(|node| node.additional.is_some());
                let entries = map.iter().filter_map(|(name, value)| {
                    let child = node.and_then(|node| self.schema.field(node, name));
                    let value = if root && name == "metadata" {
                        visible_metadata(value)
                    } else {
                        self.convert(value, child, false)
                    };
                    let name = if is_map {
                        Some(name.clone())
                    } else {
                        escape(name)
                    };
                    Some((name?, value))
                });
                to_map(entries)
            }
        }
    }

    fn convert_string(&self, text: &str, node: Option<&Node>) -> Cel {
        let environment = self.environment;
        let converted = match node
            .filter(|node| node.kind == Type::String)
            .and_then(|node| node.format.as_deref())
        {
            Some("date-time" | "datetime" | "date") => {
                environment.converted(&environment.timestamp, text)
            }
            Some("duration") => environment.converted(&environment.duration, text),
            Some("byte") => {
                use base64::Engine as _;
                let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok();
                bytes.map(|bytes| Cel::Bytes(Arc::new(bytes)))
            }
            _ => None,
        };
        converted.unwrap_or_else(|| Cel::String(Arc::new(text.to_owned())))
    }
}

fn message(rule: &Rule, scope: &Context<'_>) -> String {
    if let Some(program) = &rule.message_program
        && let Ok(Cel::String(text)) = program.execute(scope)
        && !text.trim().is_empty()
    {
        return text.trim().to_owned();
    }
    rule.message
        .clone()
        .unwrap_or_else(|| format!("failed rule: {}", rule.source))
}

fn convert_number(number: &serde_json::Number, node: Option<&Node>) -> Cel {
    if node.is_some_and(|node| node.kind == Type::Number) {
        return Cel::Float(number.as_f64().unwrap_or(f64::NAN));
    }
    number
        .as_i64()
        .map_or_else(|| Cel::Float(number.as_f64().unwrap_or(f64::NAN)), Cel::Int)
}

#[expect(
    clippy::disallowed_types,
    reason = "the CEL interpreter's maps are hash maps; rules cannot see their order"
)]
fn to_map(entries: impl Iterator<Item = (String, Cel)>) -> Cel {
    let map = entries.map(|(name, value)| (Key::String(Arc::new(name)), value));
    Cel::Map(CelMap {
        map: Arc::new(map.collect::<std::collections::HashMap<_, _>>()),
    })
}

/// Rules at the root see only the name.
fn visible_metadata(metadata: &Value) -> Cel {
    let names = ["generateName", "name"].into_iter().filter_map(|field| {
        let text = metadata[field].as_str()?;
        Some((field.to_owned(), Cel::String(Arc::new(text.to_owned()))))
    });
    to_map(names)
}

/// The old item that is the same thing as a new one: only lists with keys can tell.
fn correlate<'a>(list: &ListType, item: &Value, old: &'a Value) -> Option<&'a Value> {
    let ListType::Map(keys) = list else {
        return None;
    };
    old.as_array()?
        .iter()
        .find(|old| keys.iter().all(|key| old.get(key) == item.get(key)))
}

const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// `kubernetes/kubernetes staging/src/k8s.io/apiserver/pkg/cel/escaping.go`; `None` when the field
/// cannot be named in CEL at all.
pub(super) fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Some(name.to_owned());
    }
    let mut escaped = String::with_capacity(name.len() + 16);
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '_' if rest.peek() == Some(&'_') => {
                rest.next();
                escaped.push_str("__underscores__");
            }
            '.' => escaped.push_str("__dot__"),
            '-' => escaped.push_str("__dash__"),
            '/' => escaped.push_str("__slash__"),
            c if c == '_' || c.is_ascii_alphanumeric() => escaped.push(c),
            _ => return None,
        }
    }
    Some(escaped)
}
