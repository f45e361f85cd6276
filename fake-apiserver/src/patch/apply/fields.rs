//! Sets of fields, as `FieldsV1` writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::schema::{ListType, Node, Schema, Type};

/// A set of paths. Steps are spelled as in `FieldsV1`: `f:name`, `k:{"key":…}`, `v:value`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// The node itself belongs to the set.
    pub own: bool,
    pub children: BTreeMap<String, Self>,
}

impl Fields {
    fn leaf() -> Self {
        Self {
            own: true,
            children: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.own && self.children.is_empty()
    }

    pub(super) fn from_json(value: &Value) -> Self {
        let mut fields = Self::default();
        let Some(map) = value.as_object() else {
            return fields;
        };
        if map.is_empty() {
            fields.own = true;
        }
        for (step, value) in map {
            if step == "." {
                fields.own = true;
            } else {
                fields.children.insert(step.clone(), Self::from_json(value));
            }
        }
        fields
    }

    pub(super) fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.own && !self.children.is_empty() {
            map.insert(".".into(), Value::Object(Map::new()));
        }
        for (step, child) in &self.children {
            map.insert(step.clone(), child.to_json());
        }
        Value::Object(map)
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let mut result = self.clone();
        result.own |= other.own;
        for (step, child) in &other.children {
            let merged = match result.children.get(step) {
                Some(own) => own.union(child),
                None => child.clone(),
            };
            result.children.insert(step.clone(), merged);
        }
        result
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut result = Self {
            own: self.own && !other.own,
            children: BTreeMap::new(),
        };
        for (step, child) in &self.children {
            let rest = match other.children.get(step) {
                Some(other) => child.minus(other),
                None => child.clone(),
            };
            if !rest.is_empty() {
                result.children.insert(step.clone(), rest);
            }
        }
        result
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut result = Self {
            own: self.own && other.own,
            children: BTreeMap::new(),
        };
        for (step, child) in &self.children {
            if let Some(other) = other.children.get(step) {
                let both = child.intersection(other);
                if !both.is_empty() {
                    result.children.insert(step.clone(), both);
                }
            }
        }
        result
    }

    /// Everything below a removed leaf is removed as well: `other`'s leaves cover subtrees.
    pub(super) fn minus_covered(&self, other: &Self) -> Self {
        if other.own && other.children.is_empty() {
            return Self::default();
        }
        let mut result = Self {
            own: self.own && !other.own,
            children: BTreeMap::new(),
        };
        for (step, child) in &self.children {
            let rest = match other.children.get(step) {
                Some(other) => child.minus_covered(other),
                None => child.clone(),
            };
            if !rest.is_empty() {
                result.children.insert(step.clone(), rest);
            }
        }
        result
    }

    /// The subset of members whose path passes.
    pub(super) fn filter_leaves(&self, keep: &mut impl FnMut(&[String]) -> bool) -> Self {
        let mut path = Vec::new();
        self.filter(&mut path, keep)
    }

    fn filter(&self, path: &mut Vec<String>, keep: &mut impl FnMut(&[String]) -> bool) -> Self {
        // containers differ when something inside does; only leaves are compared
        let own = self.own && self.children.is_empty() && keep(path);
        let mut result = Self {
            own,
            children: BTreeMap::new(),
        };
        for (step, child) in &self.children {
            path.push(step.clone());
            let kept = child.filter(path, keep);
            path.pop();
            if !kept.is_empty() {
                result.children.insert(step.clone(), kept);
            }
        }
        result
    }

    /// Members as people read them: `.spec.containers[name="c"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(&mut String::new(), &mut paths);
        paths
    }

    fn collect(&self, path: &mut String, paths: &mut Vec<String>) {
        if self.own {
            paths.push(path.clone());
        }
        for (step, child) in &self.children {
            let length = path.len();
            path.push_str(&shown(step));
            child.collect(path, paths);
            path.truncate(length);
        }
    }

    pub(super) fn child(&self, step: &str) -> Option<&Self> {
        self.children.get(step)
    }
}

fn shown(step: &str) -> String {
    if let Some(name) = step.strip_prefix("f:") {
        return format!(".{name}");
    }
    if let Some(value) = step.strip_prefix("v:") {
        return format!("[={value}]");
    }
    let keys: Value = step
        .strip_prefix("k:")
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let mut text = String::from("[");
    for (index, (key, value)) in keys.as_object().into_iter().flatten().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(text, "{comma}{key}={value}").expect("writing to a String cannot fail");
    }
    text.push(']');
    text
}

/// How a list is owned.
pub(super) enum ListForm<'a> {
    Atomic,
    Set,
    Map(&'a [String]),
}

pub(super) fn list_form(node: Option<&Node>) -> ListForm<'_> {
    match node.map(|node| &node.list) {
        Some(ListType::Set) => ListForm::Set,
        Some(ListType::Map(keys)) => ListForm::Map(keys),
        _ => ListForm::Atomic,
    }
}

pub(super) fn is_atomic_map(node: Option<&Node>) -> bool {
    node.is_some_and(|node| node.atomic_map || !matches!(node.kind, Type::Object | Type::Any))
}

/// The step of an item of an associative list.
pub(super) fn key_step(item: &Value, keys: &[String]) -> String {
    let keys: Map<String, Value> = keys
        .iter()
        .filter_map(|key| {
            // `protocol` is a key of ports and has a default
            let value = item
                .get(key)
                .cloned()
                .or_else(|| (key == "protocol").then(|| "TCP".into()))?;
            Some((key.clone(), value))
        })
        .collect();
    format!("k:{}", Value::Object(keys))
}

pub(super) fn child_node<'a>(
    node: Option<&'a Node>,
    schema: Option<&'a Schema>,
    name: &str,
) -> Option<&'a Node> {
    schema?.field(node?, name)
}

pub(super) fn item_node<'a>(
    node: Option<&'a Node>,
    schema: Option<&'a Schema>,
) -> Option<&'a Node> {
    schema?.item(node?)
}

/// The fields an applied configuration sets.
pub(super) fn fields_of(value: &Value, node: Option<&Node>, schema: Option<&Schema>) -> Fields {
    match value {
        Value::Object(map) if !map.is_empty() && !is_atomic_map(node) => {
            let children = map.iter().map(|(name, value)| {
                let child = child_node(node, schema, name);
                (format!("f:{name}"), fields_of(value, child, schema))
            });
            Fields {
                own: false,
                children: children.collect(),
            }
        }
        Value::Array(items) if !items.is_empty() => match list_form(node) {
            ListForm::Atomic => Fields::leaf(),
            ListForm::Set => Fields {
                own: false,
                children: items
                    .iter()
                    .map(|item| (format!("v:{item}"), Fields::leaf()))
                    .collect(),
            },
            ListForm::Map(keys) => {
                let child = item_node(node, schema);
                let items = items.iter().map(|item| {
                    let mut fields = fields_of(item, child, schema);
                    fields.own = true;
                    (key_step(item, keys), fields)
                });
                Fields {
                    own: false,
                    children: items.collect(),
                }
            }
        },
        _ => Fields::leaf(),
    }
}

/// Containers every object of their kind has: their appearance is nobody's doing.
const ALWAYS_THERE: &[&str] = &[
    "f:metadata",
    "f:spec",
    "f:status",
    "f:template",
    "f:strategy",
];

/// What a write added or changed, and what it removed.
pub(super) fn compare(
    (old, new): (Option<&Value>, Option<&Value>),
    node: Option<&Node>,
    schema: Option<&Schema>,
) -> (Fields, Fields) {
    let (mut changed, mut removed) = (Fields::default(), Fields::default());
    if old == new {
        return (changed, removed);
    }
    let empty = Value::Object(Map::new());
    let no_items = Value::Array(Vec::new());
    let (left, right) = match (old, new) {
        (Some(old), None) => {
            removed = fields_of(old, node, schema);
            removed.own = true;
            return (changed, removed);
        }
        (None, Some(new @ Value::Object(_))) => (&empty, new),
        (None, Some(new @ Value::Array(_))) => (&no_items, new),
        (Some(old), Some(new)) => (old, new),
        (_, _) => {
            changed.own = true;
            return (changed, removed);
        }
    };
    match (left, right) {
        (Value::Object(left), Value::Object(right))
            if !is_atomic_map(node) && !right.is_empty() =>
        {
            let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let step = format!("f:{name}");
                let child = child_node(node, schema, name);
                let (added, gone) = compare((left.get(name), right.get(name)), child, schema);
                insert(&mut changed, &step, added);
                insert(&mut removed, &step, gone);
            }
            for step in ALWAYS_THERE {
                if let Some(child) = changed.children.get_mut(*step) {
                    child.own = child.children.is_empty();
                }
            }
            changed.own = old.is_none();
        }
        (Value::Array(left), Value::Array(right)) if !right.is_empty() => {
            compare_lists((left, right), (node, schema), &mut changed, &mut removed);
            changed.own |= old.is_none() && !matches!(list_form(node), ListForm::Atomic);
        }
        _ => changed.own = true,
    }
    (changed, removed)
}

fn compare_lists(
    (left, right): (&[Value], &[Value]),
    (node, schema): (Option<&Node>, Option<&Schema>),
    changed: &mut Fields,
    removed: &mut Fields,
) {
    match list_form(node) {
        ListForm::Atomic => changed.own = true,
        ListForm::Set => {
            for item in right.iter().filter(|item| !left.contains(item)) {
                changed.children.insert(format!("v:{item}"), Fields::leaf());
            }
            for item in left.iter().filter(|item| !right.contains(item)) {
                removed.children.insert(format!("v:{item}"), Fields::leaf());
            }
        }
        ListForm::Map(keys) => {
            let child = item_node(node, schema);
            let find = |items: &'_ [Value], step: &str| -> Option<Value> {
                items
                    .iter()
                    .find(|item| key_step(item, keys) == step)
                    .cloned()
            };
            for item in right {
                let step = key_step(item, keys);
                let before = find(left, &step);
                let (added, gone) = compare((before.as_ref(), Some(item)), child, schema);
                insert(changed, &step, added);
                insert(removed, &step, gone);
            }
            for item in left {
                let step = key_step(item, keys);
                if find(right, &step).is_none() {
                    let mut fields = fields_of(item, child, schema);
                    fields.own = true;
                    removed.children.insert(step, fields);
                }
            }
        }
    }
}

fn insert(fields: &mut Fields, step: &str, child: Fields) {
    if !child.is_empty() {
        fields.children.insert(step.to_owned(), child);
    }
}

/// The value at a path of a set.
pub(super) fn get<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| {
        if let Some(name) = step.strip_prefix("f:") {
            return value.get(name);
        }
        let items = value.as_array()?;
        items.get(position(items, step)?)
    })
}

/// The index of the item a `k:` or `v:` step means.
pub(super) fn position(items: &[Value], step: &str) -> Option<usize> {
    if let Some(text) = step.strip_prefix("v:") {
        let wanted: Value = serde_json::from_str(text).ok()?;
        return items.iter().position(|item| *item == wanted);
    }
    let keys: Map<String, Value> = serde_json::from_str(step.strip_prefix("k:")?).ok()?;
    items.iter().position(|item| {
        keys.iter().all(|(key, value)| match item.get(key) {
            Some(own) => own == value,
            None => key == "protocol" && value == "TCP",
        })
    })
}
