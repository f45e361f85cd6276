//! The keys of `timeline`.

use std::collections::BTreeMap;

use fake_arm_cloud::CapacityOverride;
use serde::Deserialize;
use serde_json::Value;

#[cfg(feature = "schema")]
use crate::format::raw::cloud;
use crate::format::raw::{RawCondition, Span};

/// One thing that happens: a time and exactly one verb.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawStep {
    /// Time since the start, or `+30s` after the step before.
    pub(crate) at: Span,
    /// Create or change objects: inline, a path, or a list of these.
    pub(crate) apply: Option<Value>,
    /// Delete an object.
    pub(crate) delete: Option<RawObjectRef>,
    /// Set the number of replicas.
    pub(crate) scale: Option<RawScale>,
    /// Merge-patch an object.
    pub(crate) patch: Option<RawPatch>,
    /// Evict pods through the eviction API, oldest first.
    pub(crate) evict: Option<RawPods>,
    /// Mark nodes unschedulable, oldest first.
    pub(crate) cordon: Option<RawNodes>,
    /// Mark nodes schedulable again, oldest first.
    pub(crate) uncordon: Option<RawNodes>,
    /// Change the capacity of a size.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(schema_with = "cloud::optional_capacity"))]
    pub(crate) set_capacity: Option<CapacityOverride>,
    /// Sell out a size: no more machines of it can be placed.
    pub(crate) drain_capacity: Option<RawPool>,
    /// End what set-capacity or drain-capacity did to the same size, zone and capacity type.
    pub(crate) restore_capacity: Option<RawPool>,
    /// Change a limit on vCPUs.
    pub(crate) set_quota: Option<RawQuota>,
    /// A zone fails: its machines stop and nothing can be placed there, until it comes back.
    pub(crate) zone_outage: Option<RawOutage>,
    /// Evict spot machines, with notice.
    pub(crate) evict_vm: Option<RawVms>,
    /// Delete machines behind the controller's back.
    pub(crate) delete_vm: Option<RawVms>,
    /// Kill the leading controller; it starts again after `restartAfter`.
    pub(crate) crash_controller: Option<RawCrash>,
    /// Stop every replica of the controller at once; they start again after `restartAfter`.
    pub(crate) restart_controller: Option<RawCrash>,
    /// The leading controller stands still for a while.
    pub(crate) pause_controller: Option<RawPause>,
    /// Nothing passes between the controller and servers, until it heals. Worlds pipes and turmoil.
    pub(crate) partition: Option<RawPartition>,
    /// Corrupt the bootstrap data of machines created from now on.
    pub(crate) corrupt_bootstrap: Option<RawBootstrapFault>,
    /// Hold the timeline until this is true.
    pub(crate) wait_until: Option<RawWait>,
}

/// The verbs of a step, for messages.
pub(crate) const VERBS: [&str; 20] = [
    "apply",
    "delete",
    "scale",
    "patch",
    "evict",
    "cordon",
    "uncordon",
    "set-capacity",
    "drain-capacity",
    "restore-capacity",
    "set-quota",
    "zone-outage",
    "evict-vm",
    "delete-vm",
    "crash-controller",
    "restart-controller",
    "pause-controller",
    "partition",
    "corrupt-bootstrap",
    "wait-until",
];

#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawObjectRef {
    /// Known for the usual kinds.
    pub(crate) api_version: Option<String>,
    /// For example Deployment.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
    /// Absent: default.
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawScale {
    /// Absent: Deployment.
    pub(crate) kind: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// Absent: default.
    pub(crate) namespace: Option<String>,
    /// To how many.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub(crate) replicas: u32,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawPatch {
    /// Known for the usual kinds.
    pub(crate) api_version: Option<String>,
    /// For example NodePool.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
    /// Absent: default.
    pub(crate) namespace: Option<String>,
    /// JSON merge patch (RFC 7386).
    pub(crate) merge: Value,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawPods {
    /// Absent: default.
    pub(crate) namespace: Option<String>,
    /// Labels that all must match.
    pub(crate) labels: BTreeMap<String, String>,
    /// How many, oldest first; absent: one.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub(crate) count: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawNodes {
    /// Of this NodePool; absent: of any.
    pub(crate) pool: Option<String>,
    /// For example `Standard_D4s_v5`.
    pub(crate) size: Option<String>,
    /// For example westeurope-1.
    pub(crate) zone: Option<String>,
    /// on-demand or spot.
    pub(crate) capacity_type: Option<String>,
    /// How many, oldest first; absent: one.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub(crate) count: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawPool {
    /// For example `Standard_D4as_v5`, or * for every size.
    pub(crate) size: String,
    /// Absent: all zones.
    pub(crate) zone: Option<String>,
    /// on-demand or spot; absent: both.
    pub(crate) capacity_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawQuota {
    /// A family such as `standardDSv5Family`, `regional` or `lowPriority`.
    pub(crate) scope: String,
    /// vCPUs.
    pub(crate) limit: u32,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawOutage {
    /// For example westeurope-1.
    pub(crate) zone: String,
    /// Until machines can be placed there again and those that were stopped start.
    pub(crate) lasts: Span,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawVms {
    /// For example `Standard_D4s_v5`.
    pub(crate) size: Option<String>,
    /// For example westeurope-1.
    pub(crate) zone: Option<String>,
    /// on-demand or spot.
    pub(crate) capacity_type: Option<String>,
    /// How many, oldest first; absent: one.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub(crate) count: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawCrash {
    /// Absent: 10s.
    pub(crate) restart_after: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawPause {
    /// For how long.
    pub(crate) lasts: Span,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawPartition {
    /// The server that cannot be reached; absent: both.
    pub(crate) from: Option<RawServer>,
    /// Until it heals.
    pub(crate) lasts: Span,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawServer {
    Kube,
    Arm,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawBootstrapFault {
    Ca,
    Token,
    Label,
    Taint,
    MaxPods,
    None,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawWait {
    /// What must become true.
    pub(crate) condition: RawCondition,
    /// It is a failure when it takes longer.
    pub(crate) within: Span,
}
