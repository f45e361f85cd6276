//! The figures of a report, as they are embedded in it.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
#[cfg(feature = "schema")]
use serde_json::json;

use crate::story::{CostStep, Happening, Kind, Lane};
use crate::sweep::{Symptom, symptoms};
use crate::world::Outcome;

/// Version of the embedded JSON.
pub const SCHEMA_VERSION: u32 = 2;

/// Faults that a report shows one by one; a run under many faults has thousands of delays.
const FAULTS_MAX: usize = 2_000;

/// Everything the page shows. Times are virtual milliseconds since the start, money is millionths
/// of a dollar.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// Version of this document.
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// What it proves.
    pub proves: String,
    /// Azure region.
    pub region: String,
    /// World.
    pub world: String,
    /// Root of its randomness.
    pub seed: u64,
    /// Wall time at the start, RFC 3339.
    pub epoch: String,
    /// The verdict.
    pub passed: bool,
    /// What broke first; absent when nothing did.
    pub failure: Option<Broken>,
    /// Everything that broke, as sentences.
    pub failures: Vec<String>,
    /// How long the run was.
    pub virtual_millis: u64,
    /// What all machines cost.
    pub cost_micro_dollars: u64,
    /// Most machines that cost something at once.
    pub peak_machines: u32,
    /// Pods that were bound to machines of NodePools.
    pub pods_placed: u64,
    /// Hash of the trace.
    pub trace_hash: String,
    /// Its records.
    pub trace_records: u64,
    /// Requests of the controller.
    pub requests: u64,
    /// Its writes that count as crash points.
    pub writes: u64,
    /// What was to go wrong, in words; empty: nothing.
    pub fault_plan: String,
    /// How often each kind of fault struck.
    pub fault_counts: Vec<FaultCount>,
    /// Faults, one by one, the first two thousand.
    pub faults: Vec<Fault>,
    /// Machines with their pods, the oldest first.
    pub machines: Vec<Lane>,
    /// Cost over time.
    pub cost: Vec<CostStep>,
    /// What happened, decisions with their reasons included.
    pub timeline: Vec<Happening>,
    /// Expectations.
    pub expectations: Vec<Expected>,
    /// Invariants.
    pub invariants: Vec<Held>,
}

/// What broke first.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Broken {
    /// Which expectation, invariant or finding.
    pub what: String,
    /// What was seen.
    pub seen: String,
    /// When; absent where it is not known.
    pub at: Option<u64>,
    /// What had just happened.
    pub event: Option<String>,
    /// The command that repeats the run.
    pub reproduce: String,
}

/// How often a kind of fault struck.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FaultCount {
    /// The kind.
    pub kind: String,
    /// How often.
    pub times: u64,
}

/// Something that was broken on purpose.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fault {
    /// When.
    pub at: u64,
    /// What.
    pub kind: String,
    /// To which request or process.
    pub about: String,
}

/// An expectation and how it ended.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Expected {
    /// As a sentence.
    pub what: String,
    /// Whether it was met.
    pub ok: bool,
    /// When that was certain.
    pub at: u64,
    /// For a failure, what was seen instead.
    pub seen: String,
}

/// An invariant and how it ended.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Held {
    /// Its id.
    pub id: String,
    /// What must hold.
    pub doc: String,
    /// How often its premise held.
    pub premises: u64,
    /// Whether it held.
    pub ok: bool,
    /// When it was violated.
    pub at: Option<u64>,
    /// What was seen then.
    pub seen: Option<String>,
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

/// The JSON Schema of the embedded data.
pub fn schema() -> Value {
    serde_json::from_str(include_str!("../../schema/report.json"))
        .expect("a test compares the file")
}

/// The same, from the types.
#[cfg(feature = "schema")]
pub fn derived() -> Value {
    let mut schema = schemars::schema_for!(Data).to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("data of a nap report"));
    }
    schema
}

impl Data {
    /// Everything that the page of a run shows; `reproduce` is the command that repeats the run.
    pub fn of(outcome: &Outcome, reproduce: &str) -> Self {
        let chronicle = &outcome.chronicle;
        let machines: Vec<Lane> = chronicle.lanes().into_iter().cloned().collect();
        let first = symptoms(outcome).into_iter().next();
        let peak = chronicle.costs().iter().map(|step| step.machines).max();
        let placed: usize = machines.iter().map(|lane| lane.pods.len()).sum();
        let plan = &outcome.plan;
        let faults = outcome.injected.iter().take(FAULTS_MAX);
        Self {
            schema_version: SCHEMA_VERSION,
            scenario: outcome.scenario.clone(),
            proves: outcome.proves.clone(),
            region: outcome.region.clone(),
            world: outcome.world.to_owned(),
            seed: outcome.seed,
            epoch: chronicle.epoch().to_string(),
            passed: outcome.passed(),
            failure: first.map(|first| broken(outcome, first, reproduce)),
            failures: outcome.failures(),
            virtual_millis: millis(outcome.horizon),
            cost_micro_dollars: chronicle.total_cost(outcome.horizon),
            peak_machines: peak.unwrap_or(0),
            pods_placed: u64::try_from(placed).unwrap_or(u64::MAX),
            trace_hash: outcome.hash.clone(),
            trace_records: outcome.records,
            requests: outcome.requests,
            writes: outcome.writes,
            fault_plan: if plan.is_empty() {
                String::new()
            } else {
                plan.describe()
            },
            fault_counts: counts(outcome),
            faults: faults
                .map(|fault| Fault {
                    at: millis(fault.at),
                    kind: fault.kind.as_str().to_owned(),
                    about: fault.identity.clone(),
                })
                .collect(),
            cost: chronicle.costs().to_vec(),
            timeline: chronicle.happenings().to_vec(),
            expectations: expectations(outcome),
            invariants: invariants(outcome),
            machines,
        }
    }
}

fn broken(outcome: &Outcome, first: Symptom, reproduce: &str) -> Broken {
    let mut happenings = outcome.chronicle.happenings().iter();
    let event = first.at.and_then(|at| {
        happenings
            .rfind(|it| millis(it.at) <= at && it.kind != Kind::Verdict)
            .map(|it| format!("{} {}", it.kind.as_str(), it.text))
    });
    Broken {
        what: first.id,
        seen: first.message,
        at: first.at,
        event,
        reproduce: reproduce.to_owned(),
    }
}

fn counts(outcome: &Outcome) -> Vec<FaultCount> {
    let counts = outcome.faults.iter();
    counts
        .map(|(kind, times)| FaultCount {
            kind: kind.as_str().to_owned(),
            times: *times,
        })
        .collect()
}

fn expectations(outcome: &Outcome) -> Vec<Expected> {
    let verdicts = outcome.verdicts.iter();
    verdicts
        .map(|verdict| Expected {
            what: verdict.what.clone(),
            ok: verdict.ok,
            at: millis(verdict.at),
            seen: verdict.seen.clone(),
        })
        .collect()
}

fn invariants(outcome: &Outcome) -> Vec<Held> {
    let premises = outcome.premises.iter();
    premises
        .map(|(id, doc, premises)| {
            let violation = outcome.violations.iter().find(|it| it.id == *id);
            Held {
                id: (*id).to_owned(),
                doc: (*doc).to_owned(),
                premises: *premises,
                ok: violation.is_none(),
                at: violation.map(|violation| millis(violation.at)),
                seen: violation.map(|violation| violation.message.clone()),
            }
        })
        .collect()
}
