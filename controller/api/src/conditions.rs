//! Condition types, their reasons, and how a set of them behaves.
//!
//! Sources: awslabs/operatorpkg `status/condition_set.go`; kubernetes-sigs/karpenter
//! `pkg/apis/v1/*_status.go`; Azure/karpenter-provider-azure `pkg/apis/v1beta1/aksnodeclass_status.go`.

use std::cmp::Reverse;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_core::Resource;

use crate::{AKSNodeClass, NodeClaim, NodePool};

/// The condition every kind derives from the ones it depends on.
pub const READY: &str = "Ready";

/// Declares an enum of names: the variants, their texts, and the list of all.
macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All of them, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name as objects spell it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }
        }

        impl From<$name> for &'static str {
            fn from(name: $name) -> &'static str {
                name.as_str()
            }
        }
    };
}

names! {
    /// Condition types of a NodePool beside `Ready`.
    NodePoolCondition {
        /// The run-time validation found nothing.
        ValidationSucceeded,
        /// The NodeClass exists and is ready.
        NodeClassReady,
        /// Whether recently launched nodes registered; never gates provisioning by itself.
        NodeRegistrationHealthy,
    }
}

names! {
    /// Condition types of a NodeClaim beside `Ready`.
    NodeClaimCondition {
        /// The instance was created.
        Launched,
        /// The Node appeared and was matched.
        Registered,
        /// The Node is ready, has its resources, and lost its start-up taints.
        Initialized,
        /// Quiet for long enough to be consolidated; absent otherwise.
        Consolidatable,
        /// No longer what was asked for; absent otherwise.
        Drifted,
        /// A disruption command is under way.
        DisruptionReason,
        /// The Node offers what the claim promised.
        ConsistentStateFound,
        /// No pods are left that had to go.
        Drained,
        /// No volumes are attached any longer.
        VolumesDetached,
        /// The cloud accepted the deletion of the instance.
        InstanceTerminating,
    }
}

names! {
    /// Condition types of an AKSNodeClass beside `Ready`.
    NodeClassCondition {
        /// Images were resolved.
        ImagesReady,
        /// The Kubernetes version was resolved.
        KubernetesVersionReady,
        /// The subnet exists and may be used.
        SubnetsReady,
        /// The run-time validation found nothing.
        ValidationSucceeded,
        /// The state of the DNS cache was resolved.
        LocalDNSReady,
    }
}

names! {
    /// Reasons of conditions that are not the condition's own type.
    Reason {
        /// Nothing has looked at the object yet.
        AwaitingReconciliation,
        /// A condition `Ready` depends on is False.
        UnhealthyDependents,
        /// A condition `Ready` depends on is Unknown or out of date.
        ReconcilingDependents,
        /// NodePool: the run-time validation failed; the message lists the errors.
        NodePoolValidationFailed,
        /// NodePool: no such NodeClass.
        NodeClassNotFound,
        /// NodePool: the NodeClass is being deleted.
        NodeClassTerminating,
        /// NodePool: its last nodes did not register.
        RegistrationFailed,
        /// NodePool: the NodeClass has not said whether it is ready.
        NodeClassReadinessUnknown,
        /// NodeClaim: the NodeClass is not ready.
        NodeClassNotReady,
        /// NodeClaim: the instance could not be created.
        LaunchFailed,
        /// NodeClaim: the cloud has no capacity for any of the instance types.
        InsufficientCapacity,
        /// NodeClaim: no Node with the claim's provider id.
        NodeNotFound,
        /// NodeClaim: several Nodes with the claim's provider id.
        MultipleNodesFound,
        /// NodeClaim: something registered with the provider has to happen first.
        RegistrationHookPending,
        /// NodeClaim: the Node is not ready.
        NodeNotReady,
        /// NodeClaim: the Node still has start-up taints.
        StartupTaintsExist,
        /// NodeClaim: the Node still has taints that pass by themselves.
        KnownEphemeralTaintsExist,
        /// NodeClaim: a requested resource is missing on the Node.
        ResourceNotRegistered,
        /// NodeClaim: a DRA driver has not published its pools.
        DRADriverPoolsNotPublished,
        /// NodeClaim: the Node does not offer what the claim promised.
        ConsistencyCheckFailed,
        /// NodeClaim: pods are being evicted.
        Draining,
        /// NodeClaim: volumes are still attached.
        AwaitingVolumeDetachment,
        /// NodeClaim: its termination grace period is over.
        TerminationGracePeriodElapsed,
        /// AKSNodeClass: FIPS images need the shared image gallery.
        SIGRequiredForFIPS,
        /// AKSNodeClass: no image fits.
        ImagesNotFound,
        /// AKSNodeClass: images are looked up again after a change of the Kubernetes version.
        KubernetesUpgrade,
        /// AKSNodeClass: no such subnet.
        SubnetNotFound,
        /// AKSNodeClass: the subnet's id is malformed or of another network.
        SubnetIDInvalid,
        /// AKSNodeClass: the subnet could not be read.
        SubnetUnknownError,
        /// AKSNodeClass: the cluster may not read its disk encryption set.
        DiskEncryptionSetRBACMissing,
        /// AKSNodeClass: what the DNS cache needs could not be read.
        CheckingClusterRequirementsFailed,
    }
}

/// A kind with conditions.
pub trait Conditioned: Resource {
    /// The conditions `Ready` is derived from.
    const DEPENDENTS: &'static [&'static str];

    /// The conditions as they are.
    fn conditions(&self) -> &[Condition];

    /// The conditions, to be changed; makes an empty status when there is none.
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;

    /// The condition of that type.
    fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions()
            .iter()
            .find(|condition| condition.type_ == type_)
    }

    /// Whether the condition is True; an absent one is not.
    fn is_condition_true(&self, type_: &str) -> bool {
        self.condition(type_)
            .is_some_and(|condition| condition.status == "True")
    }

    /// Whether the condition is False; an absent one is not.
    fn is_condition_false(&self, type_: &str) -> bool {
        self.condition(type_)
            .is_some_and(|condition| condition.status == "False")
    }

    /// The set, to be changed at that time. Puts in `Ready` and the dependents where they are missing.
    fn condition_set(&mut self, now: Timestamp) -> ConditionSet<'_> {
        let meta = self.meta();
        let generation = meta.generation.unwrap_or_default();
        let created = meta.creation_timestamp.as_ref().map_or(now, |time| time.0);
        let is_deleting = meta.deletion_timestamp.is_some();
        let mut set = ConditionSet {
            conditions: self.conditions_mut(),
            dependents: Self::DEPENDENTS,
            generation,
            created: whole_seconds(created),
            is_deleting,
            now: whole_seconds(now),
        };
        for type_ in Self::DEPENDENTS.iter().chain([&READY]) {
            if set.get(type_).is_none() {
                set.set_unknown(type_);
            }
        }
        set
    }
}

impl Conditioned for NodePool {
    const DEPENDENTS: &'static [&'static str] = &[
        NodePoolCondition::ValidationSucceeded.as_str(),
        NodePoolCondition::NodeClassReady.as_str(),
    ];
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default()
    }
    fn conditions_mut(&mut self) -> &mut Vec<Condition> {
        &mut self.status.get_or_insert_default().conditions
    }
}

impl Conditioned for NodeClaim {
    const DEPENDENTS: &'static [&'static str] = &[
        NodeClaimCondition::Launched.as_str(),
        NodeClaimCondition::Registered.as_str(),
        NodeClaimCondition::Initialized.as_str(),
    ];
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default()
    }
    fn conditions_mut(&mut self) -> &mut Vec<Condition> {
        &mut self.status.get_or_insert_default().conditions
    }
}

impl Conditioned for AKSNodeClass {
    const DEPENDENTS: &'static [&'static str] = &[
        NodeClassCondition::ImagesReady.as_str(),
        NodeClassCondition::KubernetesVersionReady.as_str(),
        NodeClassCondition::SubnetsReady.as_str(),
        NodeClassCondition::ValidationSucceeded.as_str(),
        NodeClassCondition::LocalDNSReady.as_str(),
    ];
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default()
    }
    fn conditions_mut(&mut self) -> &mut Vec<Condition> {
        &mut self.status.get_or_insert_default().conditions
    }
}

/// Objects carry whole seconds; anything finer would differ after one trip through the API server.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The conditions of one object, changed at one point in time.
#[derive(Debug)]
pub struct ConditionSet<'a> {
    conditions: &'a mut Vec<Condition>,
    dependents: &'static [&'static str],
    generation: i64,
    created: Timestamp,
    is_deleting: bool,
    now: Timestamp,
}

impl ConditionSet<'_> {
    /// The condition of that type.
    pub fn get(&self, type_: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == type_)
    }

    /// Sets True; the reason is the type. Returns whether anything changed.
    pub fn set_true(&mut self, type_: &str) -> bool {
        self.set(type_, "True", type_, "")
    }

    /// Sets True with a reason and a message. Returns whether anything changed.
    pub fn set_true_with(&mut self, type_: &str, reason: &str, message: &str) -> bool {
        self.set(type_, "True", reason, message)
    }

    /// Sets False. Returns whether anything changed.
    pub fn set_false(&mut self, type_: &str, reason: &str, message: &str) -> bool {
        self.set(type_, "False", reason, message)
    }

    /// Sets Unknown because nothing has looked yet. Returns whether anything changed.
    pub fn set_unknown(&mut self, type_: &str) -> bool {
        let reason = Reason::AwaitingReconciliation.as_str();
        self.set(
            type_,
            "Unknown",
            reason,
            "object is awaiting reconciliation",
        )
    }

    /// Sets Unknown with a reason and a message. Returns whether anything changed.
    pub fn set_unknown_with(&mut self, type_: &str, reason: &str, message: &str) -> bool {
        self.set(type_, "Unknown", reason, message)
    }

    /// Removes a condition nothing depends on. Returns whether it was there; conditions `Ready`
    /// depends on, and `Ready` itself, stay.
    pub fn clear(&mut self, type_: &str) -> bool {
        if type_ == READY || self.dependents.contains(&type_) {
            return false;
        }
        let before = self.conditions.len();
        self.conditions.retain(|condition| condition.type_ != type_);
        let is_removed = self.conditions.len() < before;
        if is_removed {
            self.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        }
        is_removed
    }

    fn set(&mut self, type_: &str, status: &str, reason: &str, message: &str) -> bool {
        let old = self.get(type_);
        let since = match old {
            Some(old) if old.status == status => old.last_transition_time.0,
            Some(_) => self.now,
            // A dependent's first transition was the object's creation, so that timeouts start there.
            None if self.dependents.contains(&type_) => self.created,
            None => self.now,
        };
        let condition = Condition {
            last_transition_time: Time(since),
            message: message.to_owned(),
            observed_generation: Some(self.generation),
            reason: reason.to_owned(),
            status: status.to_owned(),
            type_: type_.to_owned(),
        };
        if old == Some(&condition) {
            return false;
        }
        self.conditions.retain(|other| other.type_ != type_);
        if self.is_deleting {
            // Deletion raises the generation; without this, `Ready` would turn Unknown by itself.
            for other in self.conditions.iter_mut() {
                other.observed_generation = Some(self.generation);
            }
        }
        self.conditions.push(condition);
        self.conditions.sort_by(|a, b| {
            let key = |c: &Condition| (c.type_ == READY, c.last_transition_time.0);
            if a.type_ == READY || b.type_ == READY {
                (a.type_ == READY).cmp(&(b.type_ == READY))
            } else {
                key(a).cmp(&key(b))
            }
        });
        if type_ != READY {
            self.derive_ready();
        }
        true
    }

    /// Derives `Ready` from the dependents.
    fn derive_ready(&mut self) {
        let generation = Some(self.generation);
        let mut offending: Vec<&Condition> = self
            .conditions
            .iter()
            .filter(|condition| self.dependents.contains(&condition.type_.as_str()))
            .filter(|condition| {
                condition.status != "True" || condition.observed_generation != generation
            })
            .collect();
        if offending.is_empty() {
            self.set_true(READY);
            return;
        }
        offending.sort_by_key(|condition| Reverse(condition.last_transition_time.0));
        let is_false = offending.iter().any(|condition| {
            condition.status == "False" && condition.observed_generation == generation
        });
        let list: Vec<String> = offending
            .iter()
            .map(|condition| format!("{}={}", condition.type_, condition.status))
            .collect();
        let message = list.join(", ");
        if is_false {
            self.set_false(READY, Reason::UnhealthyDependents.as_str(), &message);
        } else {
            self.set_unknown_with(READY, Reason::ReconcilingDependents.as_str(), &message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> NodeClaim {
        let mut claim = NodeClaim::default();
        claim.metadata.generation = Some(1);
        claim.metadata.creation_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        claim
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millisecond(seconds * 1000 + 250).expect("in range")
    }

    fn show(claim: &NodeClaim) -> String {
        let lines: Vec<String> = claim
            .conditions()
            .iter()
            .map(|c| {
                let second = c.last_transition_time.0.as_second();
                format!(
                    "{}={} {} @{second} {}",
                    c.type_, c.status, c.reason, c.message
                )
                .trim_end()
                .to_owned()
            })
            .collect();
        lines.join("\n")
    }

    #[test]
    fn ready_follows_its_dependents() {
        let mut claim = claim();
        assert!(claim.condition_set(at(5)).set_true("Launched"));
        assert!(!claim.condition_set(at(6)).set_true("Launched"));
        claim
            .condition_set(at(7))
            .set_false("Registered", "MultipleNodesFound", "two");
        insta::assert_snapshot!(show(&claim), @r"
        Initialized=Unknown AwaitingReconciliation @0 object is awaiting reconciliation
        Launched=True Launched @5
        Registered=False MultipleNodesFound @7 two
        Ready=False UnhealthyDependents @7 Registered=False, Initialized=Unknown
        ");
        claim.condition_set(at(9)).set_true("Registered");
        claim.condition_set(at(10)).set_true("Initialized");
        assert!(claim.is_condition_true(READY));
    }

    #[test]
    fn a_new_generation_makes_ready_unknown_unless_deleting() {
        let mut claim = claim();
        for type_ in NodeClaim::DEPENDENTS {
            claim.condition_set(at(1)).set_true(type_);
        }
        claim.metadata.generation = Some(2);
        let mut deleted = claim.clone();
        claim.condition_set(at(2)).set_true("Launched");
        assert_eq!(claim.condition(READY).expect("is set").status, "Unknown");
        deleted.metadata.deletion_timestamp = Some(Time(at(2)));
        deleted.condition_set(at(2)).set_true("Launched");
        assert!(deleted.is_condition_true(READY));
    }

    #[test]
    fn only_independent_conditions_are_cleared() {
        let mut claim = claim();
        claim
            .condition_set(at(1))
            .set_true_with("Drifted", "NodePoolDrifted", "NodePoolDrifted");
        assert!(!claim.condition_set(at(2)).clear("Launched"));
        assert!(claim.condition_set(at(2)).clear("Drifted"));
        assert!(!claim.condition_set(at(2)).clear("Drifted"));
    }
}
