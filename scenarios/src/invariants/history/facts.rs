//! What has happened since invariants were looked at last.

use jiff::Timestamp;

use crate::observe::Seen;

/// Something the controller asked for, as it crossed the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// It deleted a pod itself, not through the eviction API.
    DeletedPod {
        /// Where the pod was.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// It was told what quota there is.
    ReadUsages,
    /// A machine was refused because of a quota.
    QuotaRefused {
        /// Size of the machine.
        size: String,
        /// Whether it was to be a spot machine.
        spot: bool,
    },
}

/// A machine that was to be taken away is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// `azure:///…`.
    pub provider_id: String,
    /// When it was announced.
    pub noticed: Timestamp,
    /// When it went.
    pub at: Timestamp,
    /// Whether it was taken away; it was given up in time otherwise.
    pub evicted: bool,
}

/// A quota refusal, and whether the quota was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Size of the machine.
    pub size: String,
    /// Since when the controller had known that there was no room; `None`: it could not know.
    pub known_since: Option<Timestamp>,
}

/// A consolidation that replaced nodes, at the moment when the first of them goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replacement {
    /// Claims that go, with what their machines cost per hour in millionths of a dollar.
    pub from: Vec<Priced>,
    /// Claims that took their place.
    pub to: Vec<Priced>,
}

/// A claim and its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    /// Name of the claim.
    pub claim: String,
    /// Size, zone and capacity type.
    pub offering: String,
    /// Millionths of a dollar per hour.
    pub price: u64,
}

/// What has happened since the last look.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Changes of objects.
    pub changes: Vec<Seen>,
    /// Pods that the controller deleted directly.
    pub deleted_pods: Vec<DeletedPod>,
    /// Machines that were taken away.
    pub evictions: Vec<Eviction>,
    /// Machines that were refused for a quota.
    pub refusals: Vec<Refusal>,
    /// Nodes that were replaced.
    pub replacements: Vec<Replacement>,
}

/// A pod that the controller deleted directly, as it was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedPod {
    /// `namespace/name`.
    pub pod: String,
    /// Node it ran on.
    pub node: String,
    /// `spec.terminationGracePeriodSeconds`.
    pub grace_seconds: i64,
}

impl Facts {
    /// Whether nothing has happened.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.deleted_pods.is_empty()
            && self.evictions.is_empty()
            && self.refusals.is_empty()
            && self.replacements.is_empty()
    }
}
