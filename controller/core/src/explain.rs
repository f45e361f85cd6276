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
