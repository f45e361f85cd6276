//! Verdicts as text and as JSON.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::story::{render_timeline, stamp};
use crate::suite::{Case, Result};
use crate::world::Outcome;

/// Version of the JSON that [`render_json`] writes.
pub const SCHEMA_VERSION: u32 = 1;

/// Timeline and verdict of one case; `report` is where its report went.
pub fn render_human(case: &Case, report: Option<&Path>) -> String {
    match &case.result {
        Result::Ran(outcome) => ran(case, outcome, report),
        Result::Invalid(error) => error.render(),
        Result::Broken(message) => format!("{}: no verdict: {message}\n", case.file.display()),
    }
}

fn ran(case: &Case, outcome: &Outcome, report: Option<&Path>) -> String {
    let mut out = format!(
        "{} · {} · {} · seed {}\n{}\n\n",
        outcome.scenario, outcome.region, outcome.world, outcome.seed, outcome.proves
    );
    out.push_str(&render_timeline(&outcome.chronicle));
    out.push('\n');
    for failure in outcome.failures() {
        line(&mut out, &format!("✗ {failure}"));
    }
    let met = outcome.verdicts.iter().filter(|verdict| verdict.ok).count();
    let held = outcome.premises.len() - outcome.violations.len();
    let verdict = if outcome.passed() { "PASSED" } else { "FAILED" };
    line(
        &mut out,
        &format!(
            "{verdict}  {met} of {} expectations met, {held} of {} invariants held",
            outcome.verdicts.len(),
            outcome.premises.len()
        ),
    );
    line(
        &mut out,
        &format!(
            "        {} virtual in {} ms · {} requests, {} writes · {} machines · cost {}",
            stamp(outcome.horizon),
            outcome.took.as_millis(),
            outcome.requests,
            outcome.writes,
            outcome.chronicle.lanes().len(),
            dollars(outcome.chronicle.total_cost(outcome.horizon))
        ),
    );
    line(
        &mut out,
        &format!(
            "        trace {} ({} records)",
            outcome.hash, outcome.records
        ),
    );
    if let Some(report) = report {
        line(&mut out, &format!("        report {}", report.display()));
    }
    if let Some(calls) = outcome.ambient_calls.filter(|calls| *calls > 0) {
        line(
            &mut out,
            &format!("        {calls} ambient calls for entropy or wall time caught"),
        );
    }
    if !outcome.passed() {
        line(
            &mut out,
            &format!("reproduce: {}", reproduce(case, outcome)),
        );
    }
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn dollars(micro: u64) -> String {
    format!("${}.{:04}", micro / 1_000_000, micro % 1_000_000 / 100)
}

/// The program that runs, so that a command works in a shell that does not know `nap`.
fn program() -> std::path::PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "nap".into())
}

/// The command that repeats a run from any directory.
pub fn reproduce(case: &Case, outcome: &Outcome) -> String {
    let file = std::path::absolute(&case.file).unwrap_or_else(|_| case.file.clone());
    format!(
        "'{}' sim '{}' --seed {} --world {}{}",
        program().display(),
        file.display(),
        outcome.seed,
        outcome.world,
        case.variation.arguments()
    )
}

/// All cases as one document.
pub fn render_json(cases: &[Case]) -> Value {
    let results: Vec<Value> = cases.iter().map(case_json).collect();
    json!({
        "schema_version": SCHEMA_VERSION,
        "passed": cases.iter().all(|case| case.result.exit_code() == 0),
        "scenarios": results,
    })
}

fn case_json(case: &Case) -> Value {
    let file = case.file.display().to_string();
    match &case.result {
        Result::Ran(outcome) => {
            let mut value = outcome_json(outcome);
            value["file"] = json!(file);
            value["verdict"] = json!(if outcome.passed() { "passed" } else { "failed" });
            value
        }
        Result::Invalid(error) => json!({
            "file": file,
            "verdict": "invalid",
            "error": {
                "message": error.message,
                "file": error.file,
                "line": error.place.line,
                "column": error.place.column,
                "help": error.help,
            },
        }),
        Result::Broken(message) => {
            json!({"file": file, "verdict": "none", "error": {"message": message}})
        }
    }
}

fn outcome_json(outcome: &Outcome) -> Value {
    let expectations: Vec<Value> = outcome
        .verdicts
        .iter()
        .map(|verdict| {
            json!({
                "what": verdict.what,
                "path": verdict.path,
                "ok": verdict.ok,
                "at_millis": millis(verdict.at),
                "seen": verdict.seen,
            })
        })
        .collect();
    let invariants: Vec<Value> = outcome
        .premises
        .iter()
        .map(|(id, doc, premises)| {
            let violation = outcome
                .violations
                .iter()
                .find(|violation| violation.id == *id);
            json!({
                "id": id,
                "doc": doc,
                "premises": premises,
                "ok": violation.is_none(),
                "message": violation.map(|violation| violation.message.clone()),
            })
        })
        .collect();
    let findings: Vec<String> = outcome.findings.iter().map(ToString::to_string).collect();
    json!({
        "name": outcome.scenario,
        "proves": outcome.proves,
        "region": outcome.region,
        "world": outcome.world,
        "seed": outcome.seed,
        "virtual_millis": millis(outcome.horizon),
        "real_millis": millis(outcome.took),
        "startup_millis": millis(outcome.startup),
        "trace_hash": outcome.hash,
        "trace_records": outcome.records,
        "writes": outcome.writes,
        "requests": outcome.requests,
        "ambient_calls": outcome.ambient_calls,
        "machines": outcome.chronicle.lanes().len(),
        "cost_micro_dollars": outcome.chronicle.total_cost(outcome.horizon),
        "expectations": expectations,
        "invariants": invariants,
        "findings": findings,
    })
}
