//! The figures of a report, as they are embedded in it.

use serde_json::{Value, json};

use crate::world::Outcome;

/// Version of the embedded JSON.
const SCHEMA_VERSION: u32 = 1;

/// Everything the page shows.
pub fn data(outcome: &Outcome) -> Value {
    let chronicle = &outcome.chronicle;
    json!({
        "schemaVersion": SCHEMA_VERSION,
        "scenario": outcome.scenario,
        "proves": outcome.proves,
        "region": outcome.region,
        "world": outcome.world,
        "seed": outcome.seed,
        "passed": outcome.passed(),
        "failures": outcome.failures(),
        "virtualMillis": u64::try_from(outcome.horizon.as_millis()).unwrap_or(u64::MAX),
        "costMicroDollars": chronicle.total_cost(outcome.horizon),
        "traceHash": outcome.hash,
        "traceRecords": outcome.records,
        "requests": outcome.requests,
        "writes": outcome.writes,
        "machines": chronicle.lanes(),
        "cost": chronicle.costs(),
        "timeline": chronicle.happenings(),
        "expectations": outcome.verdicts.iter().map(|verdict| json!({
            "what": verdict.what, "ok": verdict.ok,
            "at": u64::try_from(verdict.at.as_millis()).unwrap_or(u64::MAX), "seen": verdict.seen,
        })).collect::<Vec<_>>(),
        "invariants": outcome.premises.iter().map(|(id, doc, premises)| json!({
            "id": id, "doc": doc, "premises": premises,
            "ok": outcome.violations.iter().all(|violation| violation.id != *id),
        })).collect::<Vec<_>>(),
    })
}
