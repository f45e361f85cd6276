//! The keys of a scenario file, as serde reads them.

use std::collections::BTreeMap;

use fake_arm_cloud::{CapacityOverride, CloudConfig, SystemPool};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::format::expression::OBSERVABLES;
use crate::format::scenario::RawFaults;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawScenario {
    /// Short name; the report's folder is called so.
    pub(crate) name: String,
    /// Azure region.
    pub(crate) region: Option<String>,
    /// Root of all randomness; `--seed` overrides it.
    pub(crate) seed: Option<u64>,
    /// Wall time at the start, RFC 3339.
    pub(crate) epoch: Option<String>,
    /// How long the run lasts.
    pub(crate) horizon: Option<String>,
    /// Whether crash points are swept exhaustively.
    #[serde(default)]
    pub(crate) sweep: bool,
    /// Worlds the scenario may run in.
    pub(crate) worlds: Option<Vec<RawWorld>>,
    /// Physics of the cloud: capacity, quota, spot, latency, clusters.
    #[schemars(with = "Option<Value>")]
    pub(crate) azure: Option<CloudConfig>,
    /// The Kubernetes cluster.
    #[serde(default)]
    pub(crate) cluster: RawCluster,
    /// What goes wrong on purpose.
    #[serde(default)]
    pub(crate) faults: RawFaults,
    /// The controller.
    #[serde(default)]
    pub(crate) controller: RawController,
    /// Kubernetes objects applied at the start: inline, or paths of YAML files relative to this
    /// file.
    #[serde(default)]
    pub(crate) manifests: Vec<Value>,
    /// What happens when.
    #[serde(default)]
    pub(crate) timeline: Vec<RawStep>,
    /// What must come true.
    #[serde(default)]
    pub(crate) expect: Vec<RawExpectation>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawWorld {
    Discrete,
    Pipes,
    Turmoil,
    Live,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawTimings {
    #[default]
    Fast,
    Realistic,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawCluster {
    /// Kubernetes version, for example `1.34.2`.
    pub(crate) version: Option<String>,
    /// The system agent pool.
    #[schemars(with = "Option<Value>")]
    pub(crate) system_pool: Option<SystemPool>,
    /// Whether the add-on's default NodePools and AKSNodeClass are installed.
    pub(crate) default_node_pools: bool,
    /// How long machines boot and containers start.
    pub(crate) timings: RawTimings,
    /// Nodes send heartbeats this often; absent: only when something changes.
    pub(crate) heartbeat: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawController {
    /// Whether it runs at all.
    pub(crate) enabled: Option<bool>,
    /// Settings by the names of its environment variables, for example `BATCH_IDLE_DURATION: 2s`.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub(crate) settings: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawStep {
    /// Time since the start.
    pub(crate) at: String,
    /// Create or change objects: inline, a path, or a list of these.
    pub(crate) apply: Option<Value>,
    /// Delete an object.
    pub(crate) delete: Option<RawObjectRef>,
    /// Set the number of replicas.
    pub(crate) scale: Option<RawScale>,
    /// Merge-patch an object.
    pub(crate) patch: Option<RawPatch>,
    /// Change the capacity of a size.
    #[schemars(with = "Option<Value>")]
    pub(crate) set_capacity: Option<CapacityOverride>,
    /// Change a limit on vCPUs.
    pub(crate) set_quota: Option<RawQuota>,
    /// Evict spot machines.
    pub(crate) evict_vm: Option<RawVms>,
    /// Delete machines behind the controller's back.
    pub(crate) delete_vm: Option<RawVms>,
    /// Kill the controller; it starts again after `restartAfter`.
    pub(crate) crash_controller: Option<RawCrash>,
    /// Corrupt the bootstrap data of machines created from now on.
    pub(crate) corrupt_bootstrap: Option<RawBootstrapFault>,
}

/// The verbs of a step, for messages.
pub(crate) const VERBS: [&str; 10] = [
    "apply",
    "delete",
    "scale",
    "patch",
    "set-capacity",
    "set-quota",
    "evict-vm",
    "delete-vm",
    "crash-controller",
    "corrupt-bootstrap",
];

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawObjectRef {
    pub(crate) api_version: Option<String>,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawScale {
    pub(crate) kind: Option<String>,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) replicas: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawPatch {
    pub(crate) api_version: Option<String>,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    /// JSON merge patch (RFC 7386).
    pub(crate) merge: Value,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawQuota {
    /// A family such as `standardDSv5Family`, `regional` or `lowPriority`.
    pub(crate) scope: String,
    /// vCPUs.
    pub(crate) limit: u32,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawVms {
    pub(crate) size: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) capacity_type: Option<String>,
    /// How many, oldest first; absent: one.
    pub(crate) count: Option<u32>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawCrash {
    pub(crate) restart_after: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawBootstrapFault {
    Ca,
    Token,
    Label,
    Taint,
    MaxPods,
    None,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawExpectation {
    /// Becomes true within `within` after `after`.
    pub(crate) eventually: Option<String>,
    /// Is true from `after` until `until`.
    pub(crate) always: Option<String>,
    /// Is false from `after` until `until`.
    pub(crate) never: Option<String>,
    /// For `eventually`.
    pub(crate) within: Option<String>,
    /// Start of the window; absent: the start of the run.
    pub(crate) after: Option<String>,
    /// End of the window of `always` and `never`; absent: the end of the run.
    pub(crate) until: Option<String>,
}

/// The JSON Schema of scenario files.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(RawScenario).to_value();
    let observables: BTreeMap<&str, Value> = OBSERVABLES
        .iter()
        .map(|(name, _, filters, meaning)| {
            ((*name), json!({"description": meaning, "filters": filters}))
        })
        .collect();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("nap scenario"));
        root.insert("x-observables".to_owned(), json!(observables));
    }
    schema
}
