//! The keys of a scenario file, as serde reads them, and the JSON Schema made from them.

#[cfg(feature = "schema")]
mod cloud;
mod load;
mod schema;
mod steps;

use std::collections::BTreeMap;

use fake_arm_cloud::{CloudConfig, SystemPool};
#[cfg(feature = "schema")]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

#[cfg(feature = "schema")]
use crate::format::check::DURATION;
use crate::format::scenario::RawFaults;

pub(crate) use load::{MODELS, RawBatch, RawDiurnal, RawFlash, RawLoad, RawPoisson, RawQuantity};
#[cfg(feature = "schema")]
pub use schema::derived;
pub(crate) use schema::strict;
pub use schema::{observables, schema};
pub(crate) use steps::{
    RawBootstrapFault, RawNodes, RawObjectRef, RawPool, RawServer, RawStep, RawVms, VERBS,
};

/// A duration as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Span(pub(crate) String);

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\+?(0|([0-9]+(ms|s|m|h|d))+)$",
            "examples": ["90s", "10m", "1h30m", "30d", "250ms"],
            DURATION: true,
        })
    }
}

/// The same, or nothing.
#[cfg(feature = "schema")]
fn optional(schema: &Schema) -> Schema {
    json_schema!({"anyOf": [schema, {"type": "null"}]})
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    pub(crate) horizon: Option<Span>,
    /// Whether crash points are swept exhaustively.
    #[serde(default)]
    pub(crate) sweep: bool,
    /// Worlds the scenario may run in.
    pub(crate) worlds: Option<Vec<RawWorld>>,
    /// Physics of the cloud: capacity, quota, spot, latency, clusters.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(schema_with = "cloud::azure"))]
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
    /// Parameters with their defaults; `${name}` stands for them, `--set name=value` overrides.
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "taken out before the rest is read; here for the schema"
    )]
    pub(crate) params: BTreeMap<String, RawParam>,
    /// Parameters with several values: the scenario runs once for each combination.
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "taken out before the rest is read; here for the schema"
    )]
    pub(crate) matrix: BTreeMap<String, Vec<RawParam>>,
    /// Kubernetes objects applied at the start: inline; paths of YAML files relative to this file;
    /// or `{file: PATH, with: {parameter: value}}`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<RawManifest>"))]
    pub(crate) manifests: Vec<Value>,
    /// What users want, over time.
    #[serde(default)]
    pub(crate) load: Vec<RawLoad>,
    /// What happens when.
    #[serde(default)]
    pub(crate) timeline: Vec<RawStep>,
    /// What must come true.
    #[serde(default)]
    pub(crate) expect: Vec<RawExpectation>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawWorld {
    Discrete,
    Pipes,
    Turmoil,
    Live,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawTimings {
    #[default]
    Fast,
    Realistic,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawCluster {
    /// Kubernetes version, for example `1.34.2`.
    pub(crate) version: Option<String>,
    /// The system agent pool.
    #[cfg_attr(feature = "schema", schemars(schema_with = "cloud::system_pool"))]
    pub(crate) system_pool: Option<SystemPool>,
    /// Whether the add-on's default NodePools and AKSNodeClass are installed.
    pub(crate) default_node_pools: bool,
    /// How long machines boot and containers start.
    pub(crate) timings: RawTimings,
    /// Nodes send heartbeats this often; absent: only when something changes.
    pub(crate) heartbeat: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawController {
    /// Whether it runs at all.
    pub(crate) enabled: Option<bool>,
    /// Settings by the names of its environment variables, for example `BATCH_IDLE_DURATION: 2s`.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, Value>"))]
    pub(crate) settings: BTreeMap<String, Value>,
}

/// The value of a parameter.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(crate) enum RawParam {
    /// `true` or `false`.
    Switch(#[expect(dead_code, reason = "here for the schema")] bool),
    /// A whole number.
    Number(#[expect(dead_code, reason = "here for the schema")] i64),
    /// Any text.
    Text(#[expect(dead_code, reason = "here for the schema")] String),
}

/// One entry of `manifests`, for the schema.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "the reader tells them apart, with better sentences"
)]
enum RawManifest {
    /// Path of a YAML file.
    Path(String),
    /// An object, or a file with parameters of its own.
    Object(BTreeMap<String, Value>),
}

/// A condition: comparisons of observables joined by `&&`, or CEL.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(crate) enum RawCondition {
    /// For example `pods(app=web).running == 10 && cost < 0.5`.
    Text(String),
    /// A free expression.
    Cel(RawCel),
}

#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawCel {
    /// CEL over nodes, claims, pools, pods, vms, nics, disks, cost and time, for example
    /// `nodes.all(n, n.ready)`.
    pub(crate) cel: String,
}

/// Something that must come true: exactly one of eventually, always, never, atMost and stays.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawExpectation {
    /// Becomes true within `within` after `after`.
    pub(crate) eventually: Option<RawCondition>,
    /// Is true from `after` until `until`.
    pub(crate) always: Option<RawCondition>,
    /// Is false from `after` until `until`.
    pub(crate) never: Option<RawCondition>,
    /// The counter `of` grows by at most this much in any `per`.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    pub(crate) at_most: Option<u32>,
    /// This observable stays between `min` and `max` from `after` until `until`.
    pub(crate) stays: Option<String>,
    /// For `atMost`: a counter such as `launches(pool=web)`.
    pub(crate) of: Option<String>,
    /// For `atMost`: the length of the window.
    pub(crate) per: Option<Span>,
    /// For `stays`.
    pub(crate) min: Option<RawAmount>,
    /// For `stays`.
    pub(crate) max: Option<RawAmount>,
    /// For `eventually`.
    pub(crate) within: Option<Span>,
    /// Start of the window; absent: the start of the run.
    pub(crate) after: Option<Span>,
    /// End of the window; absent: the end of the run.
    pub(crate) until: Option<Span>,
}

/// A count, or dollars per hour for cost.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(crate) enum RawAmount {
    /// A count, or whole dollars.
    Whole(i64),
    /// Dollars.
    Fraction(f64),
    /// The same in quotes.
    Text(String),
}
