//! Taints and tolerations.

use std::time::Duration;

use serde_json::Value;

use crate::object::{items, text};

/// A taint of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Taint {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) effect: String,
}

impl Taint {
    pub(crate) fn new(key: &str, value: &str, effect: &str) -> Self {
        Self {
            key: key.to_owned(),
            value: value.to_owned(),
            effect: effect.to_owned(),
        }
    }

    pub(crate) fn read(taint: &Value) -> Self {
        Self::new(
            text(&taint["key"]),
            text(&taint["value"]),
            text(&taint["effect"]),
        )
    }

    /// Reads `spec.taints` of a node.
    pub(crate) fn read_all(node: &Value) -> Vec<Self> {
        items(&node["spec"]["taints"])
            .iter()
            .map(Self::read)
            .collect()
    }

    /// Whether the scheduler keeps pods away from it.
    pub(crate) fn forbids(&self) -> bool {
        self.effect == "NoSchedule" || self.effect == "NoExecute"
    }
}

/// A toleration of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Toleration {
    key: String,
    exists: bool,
    value: String,
    effect: String,
    /// `tolerationSeconds`; `None` tolerates for ever.
    pub(crate) seconds: Option<i64>,
}

impl Toleration {
    /// Reads `spec.tolerations` of a pod.
    pub(crate) fn read_all(spec: &Value) -> Vec<Self> {
        items(&spec["tolerations"])
            .iter()
            .map(|toleration| Self {
                key: text(&toleration["key"]).to_owned(),
                exists: text(&toleration["operator"]) == "Exists",
                value: text(&toleration["value"]).to_owned(),
                effect: text(&toleration["effect"]).to_owned(),
                seconds: toleration["tolerationSeconds"].as_i64(),
            })
            .collect()
    }

    /// An empty key with `Exists` matches all keys; an empty effect all effects.
    pub(crate) fn tolerates(&self, taint: &Taint) -> bool {
        (self.effect.is_empty() || self.effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && (self.exists || self.value == taint.value)
    }
}

/// Whether every taint that keeps pods away is tolerated.
pub(crate) fn tolerates_all(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    taints
        .iter()
        .filter(|taint| taint.forbids())
        .all(|taint| tolerates(tolerations, taint))
}

/// Whether one taint is tolerated.
pub(crate) fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations
        .iter()
        .any(|toleration| toleration.tolerates(taint))
}

/// How long a pod may stay under `NoExecute` taints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    Forever,
    For(Duration),
    /// Some taint is not tolerated at all.
    Not,
}

/// The shortest of the tolerations used (`GetMatchingTolerations`, `getMinTolerationTime` of
/// `pkg/controller/tainteviction`).
pub(crate) fn stay(tolerations: &[Toleration], taints: &[Taint]) -> Stay {
    let mut shortest: Option<i64> = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let Some(used) = tolerations
            .iter()
            .find(|toleration| toleration.tolerates(taint))
        else {
            return Stay::Not;
        };
        if let Some(seconds) = used.seconds {
            shortest = Some(shortest.map_or(seconds, |least| least.min(seconds)));
        }
    }
    match shortest {
        None => Stay::Forever,
        // A negative time counts as zero: evict at once.
        Some(seconds) => Stay::For(Duration::from_secs(
            u64::try_from(seconds).unwrap_or_default(),
        )),
    }
}
