//! The algebra of requirements: one key with an operator and values; a conjunction over keys.
//!
//! Semantics of Karpenter's `pkg/scheduling/requirement.go` and `requirements.go`. This is the
//! form for building and comparing few requirements; `scheduling` compiles it to bit sets.

mod requirement;
mod set;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use requirement::Requirement;
pub use set::{Incompatible, Requirements, UndefinedKeys};

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

impl Operator {
    /// The API's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
            Self::Gt => "Gt",
            Self::Lt => "Lt",
            Self::Gte => "Gte",
            Self::Lte => "Lte",
        }
    }

    /// Reads the API's spelling.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::In,
            Self::NotIn,
            Self::Exists,
            Self::DoesNotExist,
            Self::Gt,
            Self::Lt,
            Self::Gte,
            Self::Lte,
        ]
        .into_iter()
        .find(|operator| operator.as_str() == name)
    }
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

impl RequirementSpec {
    /// A requirement without `minValues`.
    pub fn new(
        key: impl Into<Arc<str>>,
        operator: Operator,
        values: impl IntoIterator<Item = Arc<str>>,
    ) -> Self {
        Self {
            key: key.into(),
            operator,
            values: values.into_iter().collect(),
            min_values: None,
        }
    }
}
