//! Several scenarios: in parallel, reported in the order in which they were named.

mod junit;
mod summary;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::format::{FormatError, Scenario};
use crate::world::Outcome;
use crate::world::discrete::{RunError, RunOptions, run};
use crate::world::setup::SetupError;

pub use junit::junit;
pub use summary::{SCHEMA_VERSION, render_human, render_json};

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
    /// What became of it.
    pub result: Result,
}

/// Runs one scenario that has been read.
pub fn run_scenario(scenario: &Scenario, options: &RunOptions) -> Result {
    match run(scenario, options) {
        Ok(outcome) => Result::Ran(Box::new(outcome)),
        Err(RunError::Setup(SetupError::Scenario(error))) => Result::Invalid(error),
        Err(other) => Result::Broken(other.to_string()),
    }
}

/// Runs files on `jobs` threads and hands each case over in the order of `files`, as soon as it and
/// all before it are done.
pub fn run_files(
    files: &[PathBuf],
    jobs: usize,
    options: &RunOptions,
    mut done: impl FnMut(&Case),
) -> Vec<Case> {
    let next = AtomicUsize::new(0);
    let mut slots: Vec<Option<Case>> = Vec::new();
    slots.resize_with(files.len(), || None);
    let slots = Mutex::new(slots);
    let ready = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, files.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(index) else { return };
                    let result = match Scenario::load(file) {
                        Ok(scenario) => run_scenario(&scenario, options),
                        Err(error) => Result::Invalid(Box::new(error)),
                    };
                    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
                    slots[index] = Some(Case {
                        file: file.clone(),
                        result,
                    });
                    ready.notify_all();
                }
            });
        }
        let mut cases = Vec::with_capacity(files.len());
        for index in 0..files.len() {
            let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
            let case = loop {
                match slots[index].take() {
                    Some(case) => break case,
                    None => slots = ready.wait(slots).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(slots);
            done(&case);
            cases.push(case);
        }
        cases
    })
}
