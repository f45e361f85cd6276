//! A run as a scenario file of its own: nothing outside it, its faults spelt out.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::faults::{FaultPlan, ProcessFault, Rule};
use crate::format::{Action, Modality, Scenario, format_duration};
use crate::sweep::Variation;
use crate::sweep::moment_name;
use crate::world::discrete::RunOptions;
use crate::world::{Phases, relaxed};

/// The entries of a scenario file that repeats a run without any options.
pub(super) fn document(
    scenario: &Scenario,
    seed: u64,
    variation: Variation,
) -> Result<Map<String, Value>, String> {
    let Value::Object(mut root) = scenario.source.filled() else {
        return Err("the scenario cannot be read again".to_owned());
    };
    root.insert("name".to_owned(), json!(scenario.name));
    root.insert("seed".to_owned(), json!(seed));
    root.remove("sweep");
    root.remove("worlds");
    let manifests = scenario.manifests.iter();
    let objects: Vec<Value> = manifests.map(|manifest| manifest.object.clone()).collect();
    root.insert("manifests".to_owned(), json!(objects));
    inline_steps(&mut root, scenario);
    let options = variation.applied(scenario, seed, RunOptions::default());
    let (mut plan, strange) = options.plan(scenario, seed);
    let phases = Phases::new(scenario, &plan, strange);
    root.insert("horizon".to_owned(), text(phases.end));
    if strange && !plan.is_empty() {
        relax(&mut root, scenario, &phases);
    }
    if let Some(point) = options.crash {
        plan.process.push(ProcessFault::CrashAtWrite {
            write: point.write,
            moment: point.moment,
            restart_after: options.restart_after,
        });
    }
    root.remove("faults");
    if !plan.is_empty() {
        root.insert("faults".to_owned(), faults(&plan, plan.stops_at(scenario)));
    }
    Ok(root)
}

fn text(duration: Duration) -> Value {
    json!(format_duration(duration))
}

/// Objects instead of the names of their files.
fn inline_steps(root: &mut Map<String, Value>, scenario: &Scenario) {
    let Some(steps) = root.get_mut("timeline").and_then(Value::as_array_mut) else {
        return;
    };
    for step in &scenario.timeline {
        let Action::Apply(manifests) = &step.action else {
            continue;
        };
        let objects: Vec<&Value> = manifests.iter().map(|manifest| &manifest.object).collect();
        if let Some(entry) = index(&step.path).and_then(|index| steps.get_mut(index)) {
            entry["apply"] = json!(objects);
        }
    }
}

/// The number in a path like `expect[3]` or `timeline[2].apply`.
fn index(path: &str) -> Option<usize> {
    let (_, rest) = path.split_once('[')?;
    rest.split(']').next()?.parse().ok()
}

/// Expectations as they are judged under faults that the scenario does not know of.
fn relax(root: &mut Map<String, Value>, scenario: &Scenario, phases: &Phases) {
    let all = root.get("expect").and_then(Value::as_array).cloned();
    let all = all.unwrap_or_default();
    let mut kept = Vec::new();
    for expectation in relaxed(scenario, phases) {
        let Some(mut entry) = index(&expectation.path).and_then(|index| all.get(index).cloned())
        else {
            continue;
        };
        if expectation.modality == Modality::Eventually {
            entry["within"] = text(expectation.to.saturating_sub(expectation.from));
        }
        kept.push(entry);
    }
    root.insert("expect".to_owned(), json!(kept));
}

fn faults(plan: &FaultPlan, until: Duration) -> Value {
    let mut section = Map::new();
    section.insert("until".to_owned(), text(until));
    section.insert("budget".to_owned(), text(plan.budget));
    if plan.standby {
        section.insert("standby".to_owned(), json!(true));
    }
    let rules: Vec<Value> = plan.rules.iter().map(rule).collect();
    section.insert("requests".to_owned(), json!(rules));
    let process: Vec<Value> = plan.process.iter().map(process).collect();
    section.insert("process".to_owned(), json!(process));
    Value::Object(section)
}

fn rule(rule: &Rule) -> Value {
    let mut entry = Map::new();
    entry.insert("kind".to_owned(), json!(rule.kind.as_str()));
    if rule.per_mille.is_multiple_of(10) {
        entry.insert("percent".to_owned(), json!(rule.per_mille / 10));
    } else {
        entry.insert("perMille".to_owned(), json!(rule.per_mille));
    }
    let mut add = |name: &str, value: Option<Value>| {
        entry.extend(value.map(|value| (name.to_owned(), value)));
    };
    add("at", rule.target.map(|target| json!(target.as_str())));
    add("resource", rule.resource.as_ref().map(|it| json!(it)));
    add("writes", rule.writes.map(|writes| json!(writes)));
    add("from", (!rule.from.is_zero()).then(|| text(rule.from)));
    add("until", rule.until.map(text));
    add("upTo", (!rule.amount.is_zero()).then(|| text(rule.amount)));
    Value::Object(entry)
}

fn process(fault: &ProcessFault) -> Value {
    match fault {
        ProcessFault::CrashAtWrite {
            write,
            moment,
            restart_after,
        } => json!({"crash-at-write": {
            "write": write, "moment": moment_name(*moment), "restartAfter": text(*restart_after),
        }}),
        ProcessFault::CrashAtAwait {
            task,
            poll,
            restart_after,
        } => json!({"crash-at-await": {
            "task": task, "poll": poll, "restartAfter": text(*restart_after),
        }}),
        ProcessFault::Pause { at, lasts } => {
            json!({"pause": {"at": text(*at), "lasts": text(*lasts)}})
        }
        ProcessFault::Failover { at } => json!({"failover": {"at": text(*at)}}),
    }
}
