//! Schemas of kinds, built in and custom, in one form.
//!
//! One arena per kind; decoding, pruning, defaulting, validation, CEL, strategic merge and
//! server-side apply all walk the same nodes.

pub(crate) mod builtin;
pub(crate) mod cel;
pub(crate) mod decode;
pub(crate) mod defaults;
mod fields;
pub(crate) mod formats;
pub(crate) mod structural;
pub(crate) mod validate;

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::schema::cel::Rule;

/// Index of a node in its [`Schema`].
pub(crate) type NodeId = u32;

/// The schema of one kind.
#[derive(Debug)]
pub(crate) struct Schema {
    nodes: Vec<Node>,
    root: NodeId,
    /// Whether any node has CEL rules.
    pub has_rules: bool,
}

/// What JSON a node admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
    /// A resource quantity of a built-in kind: string or number.
    Quantity,
}

/// How server-side apply and strategic merge treat a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListType {
    Atomic,
    Set,
    Map(Vec<String>),
}

/// `patchStrategy` and `patchMergeKey` of a built-in field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PatchStrategy {
    pub merge: bool,
    pub retain_keys: bool,
    pub key: Option<String>,
}

/// One node.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent keywords of a schema"
)]
pub(crate) struct Node {
    pub kind: Type,
    pub properties: BTreeMap<String, NodeId>,
    /// Schema of the values of a free map.
    pub additional: Option<NodeId>,
    pub items: Option<NodeId>,
    pub preserve_unknown: bool,
    pub embedded: bool,
    pub nullable: bool,
    pub list: ListType,
    pub atomic_map: bool,
    pub patch: Option<Box<PatchStrategy>>,
    pub default: Option<Value>,
    pub required: Vec<String>,
    pub limits: Option<Box<Limits>>,
    pub rules: Vec<Rule>,
    /// The Go type of a built-in struct, for decoding errors.
    pub go_type: Option<Box<str>>,
    /// A type upstream decodes from `null` or a string of its own (times).
    pub format: Option<String>,
}

/// The value validations of a node.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub minimum: Option<serde_json::Number>,
    pub maximum: Option<serde_json::Number>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub pattern: Option<Regex>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub unique_items: bool,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub choices: Option<Vec<Value>>,
    pub all_of: Vec<NodeId>,
    pub any_of: Vec<NodeId>,
    pub one_of: Vec<NodeId>,
    pub not: Option<NodeId>,
}

impl Node {
    pub(crate) fn new(kind: Type) -> Self {
        Self {
            kind,
            properties: BTreeMap::new(),
            additional: None,
            items: None,
            preserve_unknown: false,
            embedded: false,
            nullable: false,
            list: ListType::Atomic,
            atomic_map: false,
            patch: None,
            default: None,
            required: Vec::new(),
            limits: None,
            rules: Vec::new(),
            go_type: None,
            format: None,
        }
    }
}

impl Schema {
    pub(crate) fn new(nodes: Vec<Node>, root: NodeId) -> Self {
        let has_rules = nodes.iter().any(|node| !node.rules.is_empty());
        Self {
            nodes,
            root,
            has_rules,
        }
    }

    pub(crate) fn root(&self) -> &Node {
        self.node(self.root)
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        self.nodes
            .get(id as usize)
            .expect("ids come from this arena")
    }

    /// The schema of a field of an object node: a property, or the values of a free map.
    pub(crate) fn field(&self, node: &Node, name: &str) -> Option<&Node> {
        node.properties
            .get(name)
            .copied()
            .or(node.additional)
            .map(|id| self.node(id))
    }

    pub(crate) fn item(&self, node: &Node) -> Option<&Node> {
        node.items.map(|id| self.node(id))
    }
}

/// `parent.child`, or `child` at the root.
pub(crate) fn join(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}
