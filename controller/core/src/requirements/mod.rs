//! The algebra of requirements: one key with an operator and values; a conjunction over keys.

use std::sync::Arc;

/// How a requirement reads its values (`k8s.io/api` `NodeSelectorOperator`, plus `Gte` and `Lte`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label's value is one of the values.
    In,
    /// The label is absent or its value is none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer greater than the only value.
    Gt,
    /// The label is an integer less than the only value.
    Lt,
    /// The label is an integer of at least the only value.
    Gte,
    /// The label is an integer of at most the only value.
    Lte,
}

/// One requirement as its author wrote it, validated but not yet interned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequirementSpec {
    /// Label key.
    pub key: Arc<str>,
    /// Operator.
    pub operator: Operator,
    /// Values, in the author's order.
    pub values: Vec<Arc<str>>,
    /// At least this many distinct values must stay possible (`minValues`).
    pub min_values: Option<u32>,
}
