//! Several scenarios: in parallel, reported in the order in which they were named.

mod junit;
mod summary;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::format::{FormatError, Scenario};
use crate::sweep::Variation;
use crate::world::Outcome;
use crate::world::discrete::{RunError, RunOptions};
use crate::world::run;
use crate::world::setup::SetupError;

pub use junit::junit;
pub use summary::{SCHEMA_VERSION, render_human, render_json, reproduce};

/// What became of one file.
#[derive(Debug)]
pub enum Result {
    /// It ran.
    Ran(Box<Outcome>),
    /// The file is not a scenario, or asks for what cannot be.
    Invalid(Box<FormatError>),
    /// There is no verdict.
    Broken(String),
}

impl Result {
    /// The exit code this result asks for.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Ran(outcome) if outcome.passed() => 0,
            Self::Ran(_) => 1,
            Self::Invalid(_) => 2,
            Self::Broken(_) => 4,
        }
    }
}

/// One file and what became of it.
#[derive(Debug)]
pub struct Case {
    /// The file as named.
    pub file: PathBuf,
    /// What was done beside what the file says.
    pub variation: Variation,
    /// What became of it.
    pub result: Result,
}

/// Runs one scenario that has been read.
pub fn run_scenario(scenario: &Scenario, options: &RunOptions) -> Result {
    if !scenario.worlds.contains(&options.world) {
        let world = options.world.as_str();
        let message = format!("the scenario is not allowed in world {world}");
        let error = scenario.source.error("worlds", message);
        return Result::Invalid(Box::new(error.help(format!("add {world} to 'worlds'"))));
    }
    match run(scenario, options) {
        Ok(outcome) => Result::Ran(Box::new(outcome)),
        Err(RunError::Setup(SetupError::Scenario(error))) => Result::Invalid(error),
        Err(other) => Result::Broken(other.to_string()),
    }
}

/// Runs files on `jobs` threads and hands each case over in the order of `files`, as soon as it and
/// all before it are done.
///
/// A file with a matrix is several cases; `set` overrides parameters.
pub fn run_files(
    files: &[PathBuf],
    set: &BTreeMap<String, String>,
    jobs: usize,
    (options, variation): (&RunOptions, Variation),
    mut done: impl FnMut(&Case),
) -> Vec<Case> {
    let mut cases = Vec::new();
    for file in files {
        match Scenario::load_all(file, set) {
            Ok(scenarios) => cases.extend(scenarios.into_iter().map(|it| (file, Ok(it)))),
            Err(error) => cases.push((file, Err(error))),
        }
    }
    let next = AtomicUsize::new(0);
    let mut slots: Vec<Option<Case>> = Vec::new();
    slots.resize_with(cases.len(), || None);
    let slots = Mutex::new(slots);
    let ready = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, cases.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((file, case)) = cases.get(index) else {
                        return;
                    };
                    let result = match case {
                        Ok(scenario) => {
                            let seed = options.seed.unwrap_or(scenario.seed);
                            let options = variation.applied(scenario, seed, options.clone());
                            run_scenario(scenario, &options)
                        }
                        Err(error) => Result::Invalid(Box::new(error.clone())),
                    };
                    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
                    slots[index] = Some(Case {
                        file: PathBuf::clone(file),
                        variation,
                        result,
                    });
                    ready.notify_all();
                }
            });
        }
        let mut done_cases = Vec::with_capacity(cases.len());
        for index in 0..cases.len() {
            let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
            let case = loop {
                match slots[index].take() {
                    Some(case) => break case,
                    None => slots = ready.wait(slots).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(slots);
            done(&case);
            done_cases.push(case);
        }
        done_cases
    })
}
