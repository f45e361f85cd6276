//! Taints and tolerations.

use std::sync::Arc;

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// New pods are kept away.
    NoSchedule,
    /// New pods are kept away if possible.
    PreferNoSchedule,
    /// New pods are kept away and running ones are evicted.
    NoExecute,
}

/// A taint of a node or of a pool's template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// Key.
    pub key: Arc<str>,
    /// Value; empty when unset.
    pub value: Arc<str>,
    /// Effect.
    pub effect: Effect,
}

/// How a toleration matches a taint's value (`k8s.io/api` `TolerationOperator`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TolerationOperator {
    /// Keys are equal and values are equal.
    Equal,
    /// Keys are equal; with an empty key, every taint.
    Exists,
}

/// A pod's toleration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Toleration {
    /// Key; empty matches every key (only with `Exists`).
    pub key: Arc<str>,
    /// Operator.
    pub operator: TolerationOperator,
    /// Value.
    pub value: Arc<str>,
    /// Effect; `None` matches every effect.
    pub effect: Option<Effect>,
}
