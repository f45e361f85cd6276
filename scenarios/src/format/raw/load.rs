//! The keys of `load`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::format::raw::Span;

/// Users and their jobs: Deployments that are created, scaled and deleted through the API. Exactly
/// one of constant, diurnal, flash, poisson and batch.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawLoad {
    /// Name of the Deployments, and value of their pods' label `app`.
    pub(crate) name: String,
    /// Absent: default.
    pub(crate) namespace: Option<String>,
    /// Requested by each pod, for example 500m or 2; absent: 1.
    pub(crate) cpu: Option<RawQuantity>,
    /// Requested by each pod, for example 512Mi; absent: 1Gi.
    pub(crate) memory: Option<RawQuantity>,
    /// More labels of the pods.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Merged into the pods' spec: tolerations, nodeSelector, affinity and the like.
    #[cfg_attr(feature = "schema", schemars(with = "Option<BTreeMap<String, Value>>"))]
    pub(crate) pod: Option<Value>,
    /// When it begins; absent: at once.
    pub(crate) from: Option<Span>,
    /// When everything of it is deleted; absent: never.
    pub(crate) until: Option<Span>,
    /// This many pods all the time.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub(crate) constant: Option<u32>,
    /// A curve over each day.
    pub(crate) diurnal: Option<RawDiurnal>,
    /// One crowd that comes, stays and goes.
    pub(crate) flash: Option<RawFlash>,
    /// Independent arrivals, each with a lifetime of its own.
    pub(crate) poisson: Option<RawPoisson>,
    /// Batches at fixed times, each with a duration of its own.
    pub(crate) batch: Option<RawBatch>,
}

/// The models, for messages.
pub(crate) const MODELS: [&str; 5] = ["constant", "diurnal", "flash", "poisson", "batch"];

/// A text or a whole number.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(crate) enum RawQuantity {
    /// As Kubernetes writes quantities.
    Text(String),
    /// Whole units.
    Number(u32),
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawDiurnal {
    /// Pods at the quietest time.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub(crate) low: u32,
    /// Pods at the busiest time.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub(crate) high: u32,
    /// Time of day (UTC) of the peak, for example 14:00; absent: 14:00.
    pub(crate) peak_at: Option<String>,
    /// How often the number is set; absent: 30m.
    pub(crate) every: Option<Span>,
    /// Each number differs from the curve by up to this many per cent; absent: 0.
    #[cfg_attr(feature = "schema", schemars(range(max = 100)))]
    pub(crate) noise: Option<u32>,
    /// On Saturdays and Sundays, this many per cent of the distance from low; absent: 100.
    #[cfg_attr(feature = "schema", schemars(range(max = 100)))]
    pub(crate) weekend: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawFlash {
    /// Pods before and after; absent: 0.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub(crate) from: Option<u32>,
    /// Pods while the crowd is there.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub(crate) to: u32,
    /// When it begins to come.
    pub(crate) at: Span,
    /// How long it takes to be complete; absent: at once.
    pub(crate) rise: Option<Span>,
    /// How long it stays.
    pub(crate) hold: Span,
    /// How long it takes to go; absent: at once.
    pub(crate) fall: Option<Span>,
    /// In how many steps it comes and goes; absent: 10.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000)))]
    pub(crate) steps: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawPoisson {
    /// Arrivals per hour, on average.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100_000)))]
    pub(crate) per_hour: u32,
    /// How long each stays, on average (exponentially distributed).
    pub(crate) lifetime: Span,
    /// Arrivals that find this many present go away; absent: 1000.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100_000)))]
    pub(crate) at_most: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawBatch {
    /// From one batch to the next.
    pub(crate) every: Span,
    /// Pods of each.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100_000)))]
    pub(crate) pods: u32,
    /// How long each runs.
    pub(crate) lasts: Span,
    /// Both differ by up to this many per cent; absent: 0.
    #[cfg_attr(feature = "schema", schemars(range(max = 100)))]
    pub(crate) noise: Option<u32>,
}
