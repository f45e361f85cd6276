//! When a Node has joined for its claim (Karpenter
//! `pkg/controllers/nodeclaim/lifecycle/registration.go`).

use crate::model::Taint;
use crate::taints;

/// Why a claim is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRegistered {
    /// No Node has the claim's provider id. The condition stays unknown.
    #[error("Node not registered with cluster")]
    NodeNotFound,
    /// Several Nodes have it. The condition becomes false.
    #[error("Invariant violated, matched multiple nodes")]
    MultipleNodesFound,
}

impl NotRegistered {
    /// The condition's reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NodeNotFound => "NodeNotFound",
            Self::MultipleNodesFound => "MultipleNodesFound",
        }
    }
}

/// What to do with the one Node that has the claim's provider id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The Node came up without the taint `karpenter.sh/unregistered`: pods may have been placed
    /// on it too early. Worth an event; registration goes on.
    pub unregistered_taint_missing: bool,
}

/// Whether the claim's node can be registered. `nodes` are the taints and the label
/// `karpenter.sh/registered` of every Node with the claim's provider id.
///
/// # Errors
///
/// When there is not exactly one Node.
pub fn registration(nodes: &[(&[Taint], bool)]) -> Result<Registration, NotRegistered> {
    match nodes {
        [] => Err(NotRegistered::NodeNotFound),
        [(node_taints, labelled)] => {
            let unregistered = taints::unregistered();
            let tainted = node_taints
                .iter()
                .any(|taint| taints::matches(taint, &unregistered));
            Ok(Registration {
                unregistered_taint_missing: !labelled && !tainted,
            })
        }
        _ => Err(NotRegistered::MultipleNodesFound),
    }
}

/// Which taints of the claim the Node takes over at registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintSync {
    /// All of them.
    All,
    /// None: the Node has the label `karpenter.sh/do-not-sync-taints: "true"`.
    Skip,
}

/// The Node's taints after registration: its own without `karpenter.sh/unregistered`, and those
/// of the claim that it does not have yet (by key and effect).
pub fn synced_taints(
    node: &[Taint],
    claim_taints: &[Taint],
    claim_startup_taints: &[Taint],
    sync: TaintSync,
) -> Vec<Taint> {
    let unregistered = taints::unregistered();
    let mut result: Vec<Taint> = node
        .iter()
        .filter(|taint| !taints::matches(taint, &unregistered))
        .cloned()
        .collect();
    if sync == TaintSync::All {
        for taint in claim_taints.iter().chain(claim_startup_taints) {
            if !result.iter().any(|own| taints::matches(own, taint)) {
                result.push(taint.clone());
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Effect;

    #[test]
    fn exactly_one_node_registers() {
        let tainted = [taints::unregistered()];
        assert_eq!(registration(&[]), Err(NotRegistered::NodeNotFound));
        let fine = Registration {
            unregistered_taint_missing: false,
        };
        assert_eq!(registration(&[(&tainted, false)]), Ok(fine));
        assert_eq!(registration(&[(&[], true)]), Ok(fine));
        let early = Registration {
            unregistered_taint_missing: true,
        };
        assert_eq!(registration(&[(&[], false)]), Ok(early));
        let two: [(&[Taint], bool); 2] = [(&[], true), (&[], true)];
        assert_eq!(registration(&two), Err(NotRegistered::MultipleNodesFound));
    }

    #[test]
    fn the_claims_taints_are_added_once() {
        let own = Taint {
            key: "a".into(),
            value: "1".into(),
            effect: Effect::NoSchedule,
        };
        let other = Taint {
            value: "2".into(),
            ..own.clone()
        };
        let node = [taints::unregistered(), own.clone()];
        let claim = [other];
        assert_eq!(synced_taints(&node, &claim, &[], TaintSync::All), [own]);
    }
}
