//! Which taints keep which pods away.

use std::sync::Arc;

use crate::model::{Effect, Taint, Toleration, TolerationOperator};

/// Key of the taint on a node that has been chosen for disruption (effect `NoSchedule`).
pub const DISRUPTED_KEY: &str = "karpenter.sh/disrupted";
/// Key of the taint on a node that has not been registered yet (effect `NoExecute`).
pub const UNREGISTERED_KEY: &str = "karpenter.sh/unregistered";

/// Key prefix of readiness gates on nodes.
const READINESS_PREFIX: &str = "readiness.k8s.io/";

/// Taints that a node carries only while it starts (Karpenter `pkg/scheduling/taints.go`).
const EPHEMERAL: [(&str, Effect); 5] = [
    ("node.kubernetes.io/not-ready", Effect::NoSchedule),
    ("node.kubernetes.io/not-ready", Effect::NoExecute),
    ("node.kubernetes.io/unreachable", Effect::NoSchedule),
    (
        "node.cloudprovider.kubernetes.io/uninitialized",
        Effect::NoSchedule,
    ),
    (UNREGISTERED_KEY, Effect::NoExecute),
];

/// Whether a toleration matches a taint (`k8s.io/api` `Toleration.ToleratesTaint`).
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    if toleration
        .effect
        .is_some_and(|effect| effect != taint.effect)
    {
        return false;
    }
    if !toleration.key.is_empty() && toleration.key != taint.key {
        return false;
    }
    match toleration.operator {
        TolerationOperator::Exists => true,
        // An empty key is only valid with `Exists`.
        TolerationOperator::Equal => !toleration.key.is_empty() && toleration.value == taint.value,
    }
}

/// The first taint, in the given order, that no toleration matches. Every effect counts, also
/// `PreferNoSchedule`.
pub fn first_untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration]) -> Option<&'a Taint> {
    taints
        .iter()
        .find(|taint| !tolerations.iter().any(|t| tolerates(t, taint)))
}

/// Whether two taints are the same as far as adding and removing goes: key and effect.
pub fn matches(a: &Taint, b: &Taint) -> bool {
    a.key == b.key && a.effect == b.effect
}

/// Whether the taint goes away by itself while a node starts.
pub fn is_ephemeral(taint: &Taint) -> bool {
    taint.key.starts_with(READINESS_PREFIX)
        || EPHEMERAL
            .iter()
            .any(|(key, effect)| *key == &*taint.key && *effect == taint.effect)
}

/// The taint that marks a node chosen for disruption.
pub fn disrupted() -> Taint {
    Taint {
        key: DISRUPTED_KEY.into(),
        value: Arc::from(""),
        effect: Effect::NoSchedule,
    }
}

/// The taint that a node starts with until it is registered.
pub fn unregistered() -> Taint {
    Taint {
        key: UNREGISTERED_KEY.into(),
        value: Arc::from(""),
        effect: Effect::NoExecute,
    }
}

/// `key=value:Effect`, or `key:Effect` without a value.
pub fn display(taint: &Taint) -> Arc<str> {
    let effect = match taint.effect {
        Effect::NoSchedule => "NoSchedule",
        Effect::PreferNoSchedule => "PreferNoSchedule",
        Effect::NoExecute => "NoExecute",
    };
    if taint.value.is_empty() {
        format!("{}:{effect}", taint.key).into()
    } else {
        format!("{}={}:{effect}", taint.key, taint.value).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, value: &str, effect: Effect) -> Taint {
        Taint {
            key: key.into(),
            value: value.into(),
            effect,
        }
    }

    fn toleration(
        key: &str,
        operator: TolerationOperator,
        value: &str,
        effect: Option<Effect>,
    ) -> Toleration {
        Toleration {
            key: key.into(),
            operator,
            value: value.into(),
            effect,
        }
    }

    #[test]
    fn tolerations_match_as_the_scheduler_matches_them() {
        use TolerationOperator::{Equal, Exists};
        let gpu = taint("sku", "gpu", Effect::NoSchedule);
        let rows = [
            (toleration("sku", Equal, "gpu", None), true),
            (
                toleration("sku", Equal, "gpu", Some(Effect::NoSchedule)),
                true,
            ),
            (
                toleration("sku", Equal, "gpu", Some(Effect::NoExecute)),
                false,
            ),
            (toleration("sku", Equal, "cpu", None), false),
            (toleration("sku", Exists, "", None), true),
            (toleration("other", Exists, "", None), false),
            (toleration("", Exists, "", None), true),
            (toleration("", Equal, "gpu", None), false),
        ];
        for (toleration, expected) in rows {
            assert_eq!(tolerates(&toleration, &gpu), expected, "{toleration:?}");
        }
    }

    #[test]
    fn ephemeral_taints_are_known_by_key_and_effect() {
        assert!(is_ephemeral(&unregistered()));
        assert!(is_ephemeral(&taint(
            "readiness.k8s.io/network",
            "",
            Effect::NoSchedule
        )));
        assert!(!is_ephemeral(&taint(
            UNREGISTERED_KEY,
            "",
            Effect::NoSchedule
        )));
        assert!(!is_ephemeral(&taint(
            "node.kubernetes.io/disk-pressure",
            "",
            Effect::NoSchedule
        )));
    }
}
