//! A run that fails, made into the smallest scenario that fails for the same reason.
//!
//! The run is first written down as a scenario of its own, with every fault of its seed spelt out.
//! Then faults, steps, objects, fields, numbers and times are taken out or made smaller, one after
//! the other; a candidate counts only when the same expectation, invariant or finding fails, and
//! when it needs the faults for that, only if it passes without them.

mod document;
mod reduce;
mod yaml;

use std::path::Path;

use serde_json::{Map, Value};

use crate::format::Scenario;
use crate::sweep::{Symptom, Variation, symptoms};
use crate::world::discrete::{RunError, RunOptions};
use crate::world::run;
use reduce::Judge;
pub(crate) use yaml::document as yaml;

/// Runs after which the smallest scenario so far is taken: a few minutes of small ones.
pub const RUNS_MAX: usize = 2_000;

/// A small scenario that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The scenario's file.
    pub text: String,
    /// What fails.
    pub symptom: Symptom,
    /// What else was done in the run that this is made of.
    pub variation: Variation,
    /// Runs it took.
    pub runs: usize,
}

impl Shrunk {
    /// Lines of the file.
    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }
}

/// Why nothing was made smaller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShrinkError {
    /// There is nothing to make smaller.
    #[error("the run passes with seed {0}: give the seed, --swarm or --crash of a run that fails")]
    Passes(u64),
    /// The run cannot be written down as a file.
    #[error("the run fails, but does not when it is written as a scenario of its own: {0}")]
    Elsewhere(String),
}

/// Shrinks a run that fails.
///
/// # Errors
///
/// When it passes, or depends on what a scenario cannot say.
pub fn shrink(
    scenario: &Scenario,
    seed: u64,
    variation: Variation,
    options: &RunOptions,
) -> Result<Shrunk, ShrinkError> {
    let applied = variation.applied(scenario, seed, options.clone());
    let failed = first(run(scenario, &applied));
    let symptom = failed.ok_or(ShrinkError::Passes(seed))?;
    let mut root = document::document(scenario, seed, variation).map_err(ShrinkError::Elsewhere)?;
    let folder = Path::new(&scenario.source.file).parent();
    let mut asked = Asked {
        folder: folder.unwrap_or(Path::new(".")),
        proves: &scenario.proves,
        options: RunOptions {
            seed: None,
            crash: None,
            swarm: false,
            faults: None,
            ..options.clone()
        },
        id: symptom.id.clone(),
        needs_faults: false,
        runs: 0,
    };
    if !asked.fails(&root) {
        let seen = asked.symptoms(&root);
        let seen = seen.first().map_or("it passes", |it| it.id.as_str());
        return Err(ShrinkError::Elsewhere(seen.to_owned()));
    }
    asked.needs_faults = root.contains_key("faults") && asked.symptoms(&without(&root)).is_empty();
    reduce::reduce(&mut root, &mut asked);
    Ok(Shrunk {
        text: asked.text(&root),
        symptom,
        variation,
        runs: asked.runs,
    })
}

fn first(result: Result<crate::world::Outcome, RunError>) -> Option<Symptom> {
    match result {
        Ok(outcome) => symptoms(&outcome).into_iter().next(),
        Err(error) => Some(Symptom::of_error(&error)),
    }
}

fn without(root: &Map<String, Value>) -> Map<String, Value> {
    let mut root = root.clone();
    root.remove("faults");
    root
}

struct Asked<'a> {
    folder: &'a Path,
    proves: &'a str,
    options: RunOptions,
    id: String,
    /// Whether a candidate must pass without its faults.
    needs_faults: bool,
    runs: usize,
}

impl Asked<'_> {
    fn text(&self, root: &Map<String, Value>) -> String {
        format!("# {}\n# Fails: {}\n{}", self.proves, self.id, yaml(root))
    }

    /// What is wrong with a run of this document; what is no scenario has no symptoms.
    fn symptoms(&mut self, root: &Map<String, Value>) -> Vec<Symptom> {
        let text = self.text(root);
        let Ok(scenario) = Scenario::parse("shrunk.yaml", &text, self.folder) else {
            return Vec::new();
        };
        self.runs += 1;
        match run(&scenario, &self.options) {
            Ok(outcome) => symptoms(&outcome),
            Err(RunError::Setup(_)) => Vec::new(),
            Err(error) => vec![Symptom::of_error(&error)],
        }
    }
}

impl Judge for Asked<'_> {
    fn fails(&mut self, root: &Map<String, Value>) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        let found = self.symptoms(root);
        if found.iter().all(|symptom| symptom.id != self.id) {
            return false;
        }
        !self.needs_faults || {
            let undisturbed = without(root);
            undisturbed.len() < root.len() && self.symptoms(&undisturbed).is_empty()
        }
    }

    /// Nothing is expected of a scenario without work: where only an expectation fails and no
    /// fault is to blame, objects and steps stay.
    fn may_remove(&self, top: &str, depth: usize) -> bool {
        let about_work = matches!(top, "manifests" | "timeline" | "load");
        let blind = self.id.starts_with("expect ") && !self.needs_faults;
        !(about_work && blind && depth <= 2)
    }
}
