//! How well rehearsals catch defects: a defect is planted in the controller, and scenarios run
//! until one of them notices.
//!
//! What fails without the defect as well does not count.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_core::mutants::Mutant;
use serde::Serialize;

use crate::format::Scenario;
use crate::sweep::{Symptom, Variation, each, symptoms};
use crate::world::discrete::RunOptions;
use crate::world::ports::{CrashPoint, Moment};
use crate::world::run;

/// What became of one defect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The defect.
    pub mutant: String,
    /// What noticed it; absent: nothing did.
    pub caught: Option<Caught>,
    /// Runs until then.
    pub runs: usize,
}

/// What noticed a defect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Caught {
    /// Which expectation, invariant or finding.
    pub by: String,
    /// What it saw.
    pub message: String,
    /// In which scenario.
    pub scenario: String,
    /// With which seed.
    pub seed: u64,
    /// And which variation.
    pub variation: String,
}

/// One run to try.
#[derive(Clone, Debug)]
struct Try {
    scenario: Arc<Scenario>,
    seed: u64,
    variation: Variation,
}

/// Crash points that are tried in each scenario that can be swept: every so many writes.
const STRIDE: u64 = 4;

/// Runs of one scenario in which crash points are tried at most.
const WRITES_TRIED: u64 = 80;

/// All runs, the cheapest first: scenarios as written, then with faults of some seeds, then crash
/// points of those that can be swept.
fn tries(scenarios: &[Arc<Scenario>], seeds: u64) -> Vec<Try> {
    let of = |scenario: &Arc<Scenario>, seed, variation| Try {
        scenario: Arc::clone(scenario),
        seed,
        variation,
    };
    let plain = scenarios.iter().map(|it| of(it, it.seed, Variation::PLAIN));
    let swarm = (1..=seeds).flat_map(|seed| {
        let each = scenarios.iter();
        each.map(move |it| of(it, seed, Variation::SWARM))
    });
    let swept = scenarios.iter().filter(|scenario| scenario.sweep);
    let points = swept.flat_map(|scenario| {
        let writes = (1..=WRITES_TRIED).step_by(usize::try_from(STRIDE).unwrap_or(1));
        writes.map(move |write| {
            let moment = Moment::After;
            of(
                scenario,
                scenario.seed,
                Variation::at(CrashPoint { write, moment }),
            )
        })
    });
    plain.chain(swarm).chain(points).collect()
}

fn symptoms_of(tried: &Try, mutant: Option<Mutant>) -> Vec<Symptom> {
    let mut scenario = (*tried.scenario).clone();
    if let Some(mutant) = mutant {
        let settings = &mut scenario.controller.settings;
        settings.insert("MUTANT".to_owned(), mutant.as_str().to_owned());
    }
    let options = RunOptions::default();
    match run(
        &scenario,
        &tried.variation.applied(&scenario, tried.seed, options),
    ) {
        Ok(outcome) => symptoms(&outcome),
        Err(error) => vec![Symptom::of_error(&error)],
    }
}

/// Tries each defect on `jobs` threads; rows come in the order of defects, each as soon as it is
/// known.
pub fn score(
    scenarios: &[Arc<Scenario>],
    wanted: &[Mutant],
    (seeds, jobs): (u64, usize),
    mut done: impl FnMut(&Row),
) -> Vec<Row> {
    let tries = tries(scenarios, seeds);
    let healthy = std::sync::Mutex::new(BTreeMap::<usize, Vec<String>>::new());
    let mut rows = Vec::new();
    each(
        wanted.len(),
        jobs,
        |index| row(wanted[index], &tries, &healthy),
        |_, row| {
            done(&row);
            rows.push(row);
        },
    );
    rows
}

fn row(
    mutant: Mutant,
    tries: &[Try],
    healthy: &std::sync::Mutex<BTreeMap<usize, Vec<String>>>,
) -> Row {
    let mut row = Row {
        mutant: mutant.as_str().to_owned(),
        caught: None,
        runs: 0,
    };
    for (index, tried) in tries.iter().enumerate() {
        row.runs += 1;
        let found = symptoms_of(tried, Some(mutant));
        if found.is_empty() {
            continue;
        }
        let known = healthy
            .lock()
            .ok()
            .and_then(|known| known.get(&index).cloned());
        let known = known.unwrap_or_else(|| {
            let ids = symptoms_of(tried, None).into_iter().map(|it| it.id);
            let ids: Vec<String> = ids.collect();
            if let Ok(mut healthy) = healthy.lock() {
                healthy.insert(index, ids.clone());
            }
            ids
        });
        if let Some(symptom) = found.into_iter().find(|it| !known.contains(&it.id)) {
            row.caught = Some(Caught {
                by: symptom.id,
                message: symptom.message,
                scenario: tried.scenario.name.clone(),
                seed: tried.seed,
                variation: tried.variation.to_string(),
            });
            break;
        }
    }
    row
}
