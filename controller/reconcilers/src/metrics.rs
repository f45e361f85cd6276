//! What the reconcilers count, under upstream's names.

use std::time::Duration;

use controller_api::karpenter::v1::{ConsolidationPolicy, NodeClaim};
use controller_api::labels;
use controller_core::disruption::{Command, DisruptionReason};
use controller_core::model::NodePoolName;
use controller_core::mutants::{self, Mutant};
use controller_operator::{Metrics as Registry, Name};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::Resource;

use crate::context::Context;
use crate::objects::label;

/// Counts into the operator's registry.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Registry);

/// A disruption that began.
#[derive(Clone, Debug)]
pub(crate) struct Disrupted {
    reason: &'static str,
    nodepool: String,
    capacity_type: String,
    policy: &'static str,
    mode: &'static str,
    pods: usize,
}

impl Disrupted {
    /// One that no budget and no policy decides: expiration, garbage, a failed launch.
    pub(crate) fn forceful(claim: &NodeClaim, reason: &'static str) -> Self {
        Self {
            reason,
            nodepool: label(claim, labels::NODEPOOL)
                .unwrap_or_default()
                .to_owned(),
            capacity_type: label(claim, labels::CAPACITY_TYPE)
                .unwrap_or_default()
                .to_owned(),
            policy: "",
            mode: match &claim.spec.termination_grace_period {
                None => "graceful",
                Some(grace) if grace.value().is_zero() => "forceful",
                Some(_) => "eventual",
            },
            pods: 0,
        }
    }

    /// One that disruption decided.
    pub(crate) fn voluntary(ctx: &Context, claim: &NodeClaim, reason: DisruptionReason) -> Self {
        let mut disrupted = Self::forceful(claim, reason_label(reason));
        let node = claim
            .status
            .as_ref()
            .and_then(|status| status.node_name.as_deref());
        if let Some(node) = node {
            disrupted.pods = ctx
                .cluster()
                .pods_on(&node.into())
                .iter()
                .filter(|pod| !pod.terminal && !pod.mirror && !pod.shape.daemon)
                .count();
        }
        if reason != DisruptionReason::Drifted
            && let Some(pool) = ctx.pool(&disrupted.nodepool)
        {
            disrupted.policy = match pool.spec.disruption.consolidation_policy {
                ConsolidationPolicy::WhenEmpty => "when_empty",
                ConsolidationPolicy::WhenEmptyOrUnderutilized => "when_empty_or_underutilized",
                ConsolidationPolicy::Balanced => "balanced",
            };
        }
        disrupted
    }
}

/// A reason as metrics spell it.
pub(crate) const fn reason_label(reason: DisruptionReason) -> &'static str {
    match reason {
        DisruptionReason::Empty => "empty",
        DisruptionReason::Drifted => "drifted",
        DisruptionReason::Underutilized => "underutilized",
    }
}

fn consolidation_type(command: &Command) -> &'static str {
    match (command.reason, command.candidates.len()) {
        (DisruptionReason::Empty, _) => "empty",
        (DisruptionReason::Drifted, _) => "",
        (DisruptionReason::Underutilized, 1) => "single",
        (DisruptionReason::Underutilized, _) => "multi",
    }
}

fn decision(command: &Command) -> &'static str {
    if command.replacements.is_empty() {
        "delete"
    } else {
        "replace"
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of objects stay far below 2^53"
)]
fn number(count: usize) -> f64 {
    count as f64
}

/// Seconds since the object's deletion began, and since it was created.
fn ages<K: Resource>(object: &K, now: Timestamp) -> (Option<f64>, f64) {
    let since = |time: Timestamp| now.duration_since(time).as_secs_f64();
    let meta = object.meta();
    (
        meta.deletion_timestamp.as_ref().map(|time| since(time.0)),
        meta.creation_timestamp
            .as_ref()
            .map_or(0.0, |time| since(time.0)),
    )
}

impl Metrics {
    pub(crate) fn new(registry: Registry) -> Self {
        Self(registry)
    }

    pub(crate) fn claim_created(&self, pool: &NodePoolName, reason: &str) {
        self.0
            .inc(Name::NodeClaimsCreated, &[reason, pool.as_str(), "false"]);
        if mutants::is(Mutant::CountsTwice) {
            self.0
                .inc(Name::NodeClaimsCreated, &[reason, pool.as_str(), "false"]);
        }
    }

    pub(crate) fn claim_disrupted(&self, disrupted: &Disrupted) {
        let labels = [
            disrupted.reason,
            &disrupted.nodepool,
            &disrupted.capacity_type,
            disrupted.policy,
            disrupted.mode,
        ];
        self.0.inc(Name::NodeClaimsDisrupted, &labels);
        if disrupted.pods > 0 {
            self.0.add(
                Name::PodsDisruptionInitiated,
                &labels,
                number(disrupted.pods),
            );
        }
    }

    pub(crate) fn claim_terminated(&self, claim: &NodeClaim, now: Timestamp) {
        let pool = label(claim, labels::NODEPOOL).unwrap_or_default();
        let capacity_type = label(claim, labels::CAPACITY_TYPE).unwrap_or_default();
        let zone = label(claim, labels::ZONE).unwrap_or_default();
        self.0
            .inc(Name::NodeClaimsTerminated, &[pool, capacity_type, zone]);
        if let Some(seconds) = ages(claim, now).0 {
            self.0
                .observe(Name::NodeClaimsTerminationDuration, &[pool], seconds);
        }
        let conditions = claim
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.conditions);
        let terminating = conditions.iter().find(|c| c.type_ == "InstanceTerminating");
        if let Some(condition) = terminating {
            let seconds = now
                .duration_since(condition.last_transition_time.0)
                .as_secs_f64();
            self.0.observe(
                Name::NodeClaimsInstanceTerminationDuration,
                &[pool],
                seconds,
            );
        }
    }

    /// A claim was given up for a condition of its node.
    pub(crate) fn claim_unhealthy(&self, claim: &NodeClaim, condition: &str) {
        let image = claim
            .status
            .as_ref()
            .and_then(|status| status.image_id.as_deref());
        let labels = [
            condition,
            label(claim, labels::NODEPOOL).unwrap_or_default(),
            label(claim, labels::CAPACITY_TYPE).unwrap_or_default(),
            image.unwrap_or_default(),
        ];
        self.0.inc(Name::NodeClaimsUnhealthyDisrupted, &labels);
    }

    pub(crate) fn node_created(&self, claim: &NodeClaim) {
        let pool = label(claim, labels::NODEPOOL).unwrap_or_default();
        let zone = label(claim, labels::ZONE).unwrap_or_default();
        self.0.inc(Name::NodesCreated, &[pool, zone]);
    }

    pub(crate) fn node_terminated(&self, node: &Node, now: Timestamp) {
        let pool = label(node, labels::NODEPOOL).unwrap_or_default();
        let zone = label(node, labels::ZONE).unwrap_or_default();
        self.0.inc(Name::NodesTerminated, &[pool, zone]);
        let (deleting, age) = ages(node, now);
        if let Some(seconds) = deleting {
            self.0
                .observe(Name::NodesTerminationDuration, &[pool], seconds);
        }
        self.0.observe(Name::NodesLifetimeDuration, &[pool], age);
    }

    pub(crate) fn node_drained(&self, node: &Node) {
        self.0.inc(
            Name::NodesDrained,
            &[label(node, labels::NODEPOOL).unwrap_or_default()],
        );
    }

    pub(crate) fn eviction(&self, code: u16) {
        self.0.inc(Name::PodsEvictionRequests, &[&code.to_string()]);
    }

    pub(crate) fn pod_drained(&self, reason: &str) {
        self.0.inc(Name::PodsDrained, &[reason]);
    }

    pub(crate) fn scheduled(&self, took: Duration) {
        self.0.observe(
            Name::SchedulerSchedulingDuration,
            &["provisioner"],
            took.as_secs_f64(),
        );
    }

    pub(crate) fn unschedulable_pods(&self, count: usize) {
        self.0.set(
            Name::SchedulerUnschedulablePods,
            &["provisioner"],
            number(count),
        );
    }

    pub(crate) fn disruption_evaluated(&self, took: Duration) {
        self.0.observe(
            Name::DisruptionEvaluationDuration,
            &["", ""],
            took.as_secs_f64(),
        );
    }

    pub(crate) fn disruption_decided(&self, command: &Command) {
        let labels = [
            decision(command),
            reason_label(command.reason),
            consolidation_type(command),
        ];
        self.0.inc(Name::DisruptionDecisions, &labels);
    }

    pub(crate) fn validation_failed(&self, command: &Command) {
        let count = number(command.candidates.len());
        self.0.add(
            Name::DisruptionFailedValidations,
            &[consolidation_type(command)],
            count,
        );
    }

    pub(crate) fn disruption_failed(&self, command: &Command) {
        let labels = [
            decision(command),
            reason_label(command.reason),
            consolidation_type(command),
        ];
        self.0.inc(Name::DisruptionQueueFailures, &labels);
    }

    pub(crate) fn mirror(&self, nodes: usize, synced: bool) {
        self.0.set(Name::ClusterStateNodeCount, &[], number(nodes));
        self.0.set(
            Name::ClusterStateSynced,
            &[],
            if synced { 1.0 } else { 0.0 },
        );
    }

    /// Usage and limit of a pool, by resource in whole units (cores for CPU). Resources that are
    /// no longer used or limited are no longer reported.
    pub(crate) fn pool(&self, pool: &str, usage: &[(String, f64)], limits: &[(String, f64)]) {
        for (name, amounts) in [
            (Name::NodePoolsUsage, usage),
            (Name::NodePoolsLimit, limits),
        ] {
            let labels: Vec<([&str; 2], f64)> = amounts
                .iter()
                .map(|(resource, amount)| ([resource.as_str(), pool], *amount))
                .collect();
            let series: Vec<(&[&str], f64)> = labels
                .iter()
                .map(|(labels, amount)| (&labels[..], *amount))
                .collect();
            self.0.replace(name, ("nodepool", pool), &series);
        }
    }

    pub(crate) fn forget_pool(&self, pool: &str) {
        self.0.remove(Name::NodePoolsUsage, "nodepool", pool);
        self.0.remove(Name::NodePoolsLimit, "nodepool", pool);
    }
}
