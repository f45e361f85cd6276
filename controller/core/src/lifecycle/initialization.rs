//! When a registered node is ready for pods (Karpenter
//! `pkg/controllers/nodeclaim/lifecycle/initialization.go`).

use std::sync::Arc;

use crate::model::Taint;
use crate::quantity::Resources;
use crate::taints;

/// What is observed of the claim's one Node.
#[derive(Clone, Copy, Debug)]
pub struct NodeFacts<'a> {
    /// Condition `Ready` is true.
    pub ready: bool,
    /// `spec.taints`, all of them.
    pub taints: &'a [Taint],
    /// `status.allocatable`.
    pub allocatable: &'a Resources,
}

/// Why a node is not initialized yet: the first criterion that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInitialized {
    /// There is no Node, or more than one.
    #[error("Node not registered with cluster")]
    NodeNotFound,
    /// The Node's condition `Ready` is not true.
    #[error("Node status is NotReady")]
    NodeNotReady,
    /// A startup taint is still there.
    #[error("StartupTaint \"{taint}\" still exists")]
    StartupTaintsExist {
        /// The taint.
        taint: Arc<str>,
    },
    /// A taint that goes away by itself is still there.
    #[error("KnownEphemeralTaint \"{taint}\" still exists")]
    KnownEphemeralTaintsExist {
        /// The taint.
        taint: Arc<str>,
    },
    /// A requested resource is not offered yet (a device plugin has not registered).
    #[error("Resource \"{resource}\" was requested but not registered")]
    ResourceNotRegistered {
        /// Resource name.
        resource: Arc<str>,
    },
}

impl NotInitialized {
    /// The condition's reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NodeNotFound => "NodeNotFound",
            Self::NodeNotReady => "NodeNotReady",
            Self::StartupTaintsExist { .. } => "StartupTaintsExist",
            Self::KnownEphemeralTaintsExist { .. } => "KnownEphemeralTaintsExist",
            Self::ResourceNotRegistered { .. } => "ResourceNotRegistered",
        }
    }
}

/// Whether a registered claim's node is initialized. `requests` are the claim's
/// `spec.resources.requests`: each must be offered, in whatever amount.
///
/// # Errors
///
/// The first criterion that does not hold.
pub fn initialization(
    startup_taints: &[Taint],
    requests: &Resources,
    node: Option<NodeFacts<'_>>,
) -> Result<(), NotInitialized> {
    let node = node.ok_or(NotInitialized::NodeNotFound)?;
    if !node.ready {
        return Err(NotInitialized::NodeNotReady);
    }
    for startup in startup_taints {
        if let Some(taint) = node
            .taints
            .iter()
            .find(|taint| taints::matches(taint, startup))
        {
            return Err(NotInitialized::StartupTaintsExist {
                taint: taints::display(taint),
            });
        }
    }
    if let Some(taint) = node.taints.iter().find(|taint| taints::is_ephemeral(taint)) {
        return Err(NotInitialized::KnownEphemeralTaintsExist {
            taint: taints::display(taint),
        });
    }
    match requests
        .iter()
        .find(|(name, _)| node.allocatable.get(name) == 0)
    {
        Some((name, _)) => Err(NotInitialized::ResourceNotRegistered {
            resource: name.into(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Effect;

    #[test]
    fn the_first_criterion_that_fails_is_the_reason() {
        let startup = Taint {
            key: "example.com/agent".into(),
            value: "".into(),
            effect: Effect::NoExecute,
        };
        let requests = Resources::from_quantities([("cpu", "1"), ("nvidia.com/gpu", "1")])
            .expect("quantities");
        let cpu = Resources::from_quantities([("cpu", "2")]).expect("quantities");
        let reason = |ready, taints: &[Taint], allocatable: &Resources| {
            let facts = NodeFacts {
                ready,
                taints,
                allocatable,
            };
            initialization(std::slice::from_ref(&startup), &requests, Some(facts))
                .err()
                .map(|e| (e.reason(), e.to_string()))
        };
        let missing = initialization(&[], &requests, None).expect_err("no node");
        assert_eq!(missing.reason(), "NodeNotFound");
        let both = [taints::unregistered(), startup.clone()];
        assert_eq!(
            reason(false, &both, &cpu).expect("not ready").0,
            "NodeNotReady"
        );
        assert_eq!(
            reason(true, &both, &cpu).expect("startup taint"),
            (
                "StartupTaintsExist",
                "StartupTaint \"example.com/agent:NoExecute\" still exists".to_owned()
            )
        );
        let ephemeral = [taints::unregistered()];
        assert_eq!(
            reason(true, &ephemeral, &cpu).expect("taint").0,
            "KnownEphemeralTaintsExist"
        );
        assert_eq!(
            reason(true, &[], &cpu).expect("no device").1,
            "Resource \"nvidia.com/gpu\" was requested but not registered"
        );
        let mut with_gpu = cpu.clone();
        with_gpu.set("nvidia.com/gpu", 1);
        assert_eq!(reason(true, &[], &with_gpu), None);
    }
}
