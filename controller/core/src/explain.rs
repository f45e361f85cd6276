//! Why something was chosen, refused or left alone: one primary reason each, from a closed list.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::{InstanceTypeName, NodePoolName};

/// Why a candidate (a pool, an instance type, an offering) cannot serve a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The pool has a taint that the pod does not tolerate.
    PoolTaintNotTolerated {
        /// The taint as `key=value:Effect`.
        taint: Arc<str>,
    },
    /// The pod's and the pool's requirements exclude each other.
    PoolRequirementsIncompatible {
        /// Label key.
        key: Arc<str>,
    },
    /// A new node would exceed a limit of the pool.
    PoolLimitExceeded {
        /// Resource name.
        resource: Arc<str>,
    },
    /// The pool, or its NodeClass, is not ready.
    NodeClassNotReady,
    /// The instance type lacks a label that is required.
    SkuLabelMismatch {
        /// Label key.
        key: Arc<str>,
    },
    /// Not enough of a resource.
    TooSmall {
        /// Resource name.
        resource: Arc<str>,
        /// Missing amount in the resource's base unit.
        short_by: i64,
    },
    /// It would fit without the pods of `DaemonSets`.
    DaemonOverhead,
    /// Too many pods for the node.
    MaxPods,
    /// No offering in a zone and of a capacity type that is allowed.
    ZoneExcluded,
    /// A volume of the pod lives elsewhere.
    VolumeZone,
    /// A host port is taken.
    HostPort,
    /// A pod affinity or anti-affinity term.
    Affinity {
        /// Topology key of the term.
        topology_key: Arc<str>,
    },
    /// A topology spread constraint.
    Spread {
        /// Topology key.
        topology_key: Arc<str>,
    },
    /// Too few distinct values would stay possible.
    MinValues {
        /// Label key.
        key: Arc<str>,
        /// Values left.
        have: u32,
        /// Values needed.
        need: u32,
    },
    /// Offerings exist but none is available: refused recently, restricted or beyond known quota.
    RecentAllocationFailure,
    /// The pool's last nodes did not register: it waits before it launches again.
    RegistrationBackoff {
        /// Why they did not, as one word.
        cause: Arc<str>,
        /// When it launches again; `None` while one node is under way to see whether it registers.
        until: Option<Timestamp>,
    },
    /// It would do, but something cheaper was taken.
    Dominated,
    /// It was taken.
    Chosen,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoolTaintNotTolerated { taint } => write!(f, "did not tolerate taint {taint}"),
            Self::PoolRequirementsIncompatible { key } => {
                write!(f, "incompatible requirements, key {key}")
            }
            Self::PoolLimitExceeded { resource } => write!(f, "limit of {resource} exceeded"),
            Self::NodeClassNotReady => f.write_str("node class is not ready"),
            Self::SkuLabelMismatch { key } => write!(f, "no instance type has the label {key}"),
            Self::TooSmall { resource, short_by } => {
                write!(f, "too small, {resource} short by {short_by}")
            }
            Self::DaemonOverhead => f.write_str("too small beside the pods of daemon sets"),
            Self::MaxPods => f.write_str("too many pods"),
            Self::ZoneExcluded => f.write_str("no offering in an allowed zone and capacity type"),
            Self::VolumeZone => f.write_str("volume is in another zone"),
            Self::HostPort => f.write_str("host port is taken"),
            Self::Affinity { topology_key } => write!(f, "pod affinity over {topology_key}"),
            Self::Spread { topology_key } => write!(f, "topology spread over {topology_key}"),
            Self::MinValues { key, have, need } => {
                write!(f, "minValues of {key}: {have} left, {need} needed")
            }
            Self::RecentAllocationFailure => f.write_str("no offering is available"),
            Self::RegistrationBackoff {
                cause,
                until: Some(until),
            } => {
                write!(
                    f,
                    "its nodes do not register ({cause}), launching again at {until}"
                )
            }
            Self::RegistrationBackoff { cause, until: None } => {
                write!(
                    f,
                    "its nodes do not register ({cause}), one more is being tried"
                )
            }
            Self::Dominated => f.write_str("something cheaper was taken"),
            Self::Chosen => f.write_str("chosen"),
        }
    }
}

/// The least that would have to change for a reason to go away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relaxation {
    /// The pod tolerates the taint.
    Tolerate {
        /// The taint as `key=value:Effect`.
        taint: Arc<str>,
    },
    /// The pod no longer asks for the label, or the pool offers what it asks for.
    DropRequirement {
        /// Label key.
        key: Arc<str>,
    },
    /// The pool's limit is raised.
    RaiseLimit {
        /// Resource name.
        resource: Arc<str>,
    },
    /// The pod asks for less.
    RequestLess {
        /// Resource name.
        resource: Arc<str>,
        /// By how much at least, in the resource's base unit.
        by: i64,
    },
    /// Pods of `DaemonSets` ask for less on such nodes.
    ShrinkDaemons,
    /// The pool and its NodeClass become ready.
    MakeReady,
    /// The pod or the pool allows another zone or capacity type.
    AllowOffering,
    /// The pod's volumes are in a zone that it and the pool allow.
    MoveVolume,
    /// The pod gives up its host port.
    DropHostPort,
    /// The pod's constraint over the domains becomes a preference.
    Prefer {
        /// Topology key of the constraint.
        topology_key: Arc<str>,
    },
    /// The pool's `minValues` is lowered.
    LowerMinValues {
        /// Label key.
        key: Arc<str>,
        /// To what is possible.
        to: u32,
    },
    /// Nothing: what was refused is asked for again after a while.
    Wait,
}

impl Reason {
    /// What would make the reason go away; `None` where nothing is wrong.
    pub fn relaxation(&self) -> Option<Relaxation> {
        Some(match self {
            Self::PoolTaintNotTolerated { taint } => Relaxation::Tolerate {
                taint: Arc::clone(taint),
            },
            Self::PoolRequirementsIncompatible { key } | Self::SkuLabelMismatch { key } => {
                Relaxation::DropRequirement {
                    key: Arc::clone(key),
                }
            }
            Self::PoolLimitExceeded { resource } => Relaxation::RaiseLimit {
                resource: Arc::clone(resource),
            },
            Self::NodeClassNotReady => Relaxation::MakeReady,
            Self::TooSmall { resource, short_by } => Relaxation::RequestLess {
                resource: Arc::clone(resource),
                by: *short_by,
            },
            Self::DaemonOverhead => Relaxation::ShrinkDaemons,
            Self::MaxPods => Relaxation::RequestLess {
                resource: crate::quantity::PODS.into(),
                by: 1,
            },
            Self::ZoneExcluded => Relaxation::AllowOffering,
            Self::VolumeZone => Relaxation::MoveVolume,
            Self::HostPort => Relaxation::DropHostPort,
            Self::Affinity { topology_key } | Self::Spread { topology_key } => Relaxation::Prefer {
                topology_key: Arc::clone(topology_key),
            },
            Self::MinValues { key, have, .. } => Relaxation::LowerMinValues {
                key: Arc::clone(key),
                to: *have,
            },
            Self::RecentAllocationFailure | Self::RegistrationBackoff { .. } => Relaxation::Wait,
            Self::Dominated | Self::Chosen => return None,
        })
    }
}

impl fmt::Display for Relaxation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tolerate { taint } => write!(f, "tolerate the taint {taint}"),
            Self::DropRequirement { key } => write!(f, "drop the requirement on {key}"),
            Self::RaiseLimit { resource } => write!(f, "raise the limit of {resource}"),
            Self::RequestLess { resource, by } => {
                let amount = crate::quantity::format(resource, *by);
                write!(f, "request {amount} less of {resource}")
            }
            Self::ShrinkDaemons => f.write_str("let daemon sets request less"),
            Self::MakeReady => f.write_str("make the pool and its node class ready"),
            Self::AllowOffering => f.write_str("allow another zone or capacity type"),
            Self::MoveVolume => f.write_str("move the volume to an allowed zone"),
            Self::DropHostPort => f.write_str("give up the host port"),
            Self::Prefer { topology_key } => {
                write!(f, "make the constraint over {topology_key} a preference")
            }
            Self::LowerMinValues { key, to } => write!(f, "lower minValues of {key} to {to}"),
            Self::Wait => f.write_str("wait until the offering is tried again"),
        }
    }
}

/// Why a pod (or every pod of its class) could not be placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Per pool, the reason that excludes it, or the nearest miss among its instance types.
    pub pools: BTreeMap<NodePoolName, Reason>,
    /// Per pool, how many instance types fell to which reason.
    pub types: BTreeMap<NodePoolName, BTreeMap<Reason, u32>>,
    /// Per pool, the instance type that came closest.
    pub nearest: BTreeMap<NodePoolName, InstanceTypeName>,
}

impl fmt::Display for Explanation {
    /// One line, pools in name order: what an Event on the pod says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pools.is_empty() {
            return f.write_str("no nodepool exists or is ready");
        }
        for (index, (pool, reason)) in self.pools.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(
                f,
                "{separator}incompatible with nodepool \"{pool}\", {reason}"
            )?;
            if let Some(nearest) = self.nearest.get(pool) {
                write!(f, " (nearest: {nearest})")?;
            }
        }
        Ok(())
    }
}
