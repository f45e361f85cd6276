//! Crash points: the controller is killed before and after each of its writes, one run for each.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::format::Scenario;
use crate::text::append;
use crate::world::Outcome;
use crate::world::discrete::{RunError, RunOptions, run};
use crate::world::ports::{CrashPoint, Moment};

/// Scenarios with more writes than this are too large to be swept exhaustively.
pub const WRITES_MAX: u64 = 300;

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Writes of the fault-free run.
    pub writes: u64,
    /// Runs, the fault-free one included.
    pub runs: usize,
    /// Crash points that were reached.
    pub reached: usize,
    /// What failed, with its crash point.
    pub failures: Vec<Failure>,
}

/// A run of a sweep that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where the controller was killed; `None`: nowhere.
    pub point: Option<CrashPoint>,
    /// What went wrong.
    pub messages: Vec<String>,
}

impl Sweep {
    /// The sweep that consists of one run.
    pub fn single(outcome: &Outcome) -> Self {
        let mut sweep = Self {
            writes: outcome.writes,
            runs: 1,
            ..Self::default()
        };
        sweep.fail(None, outcome.failures());
        sweep
    }

    fn fail(&mut self, point: Option<CrashPoint>, messages: Vec<String>) {
        if !messages.is_empty() {
            self.failures.push(Failure { point, messages });
        }
    }

    /// As text, one line per failure.
    pub fn render(&self, scenario: &str, seed: u64) -> String {
        let mut out = format!(
            "{scenario} seed {seed}: {} writes, {} runs, {} crash points reached, {} failed\n",
            self.writes,
            self.runs,
            self.reached,
            self.failures.len()
        );
        for failure in &self.failures {
            let first = failure.messages.first().map_or("", String::as_str);
            append(
                &mut out,
                format_args!("  ✗ {}: {first}\n", describe(failure.point)),
            );
        }
        out
    }

    /// As JSON.
    pub fn json(&self, scenario: &str, seed: u64) -> Value {
        let failures: Vec<Value> = self
            .failures
            .iter()
            .map(|failure| json!({"point": describe(failure.point), "messages": failure.messages}))
            .collect();
        json!({
            "scenario": scenario,
            "seed": seed,
            "writes": self.writes,
            "runs": self.runs,
            "reached": self.reached,
            "failures": failures,
        })
    }
}

fn describe(point: Option<CrashPoint>) -> String {
    match point {
        None => "without a crash".to_owned(),
        Some(point) => {
            let moment = match point.moment {
                Moment::Before => "before",
                Moment::After => "after",
            };
            format!("killed {moment} write {}", point.write)
        }
    }
}

/// Runs a scenario once without a crash, then once for each side of each write, on `jobs` threads.
///
/// # Errors
///
/// When a run yields no outcome at all.
pub fn crash_points(
    scenario: &Scenario,
    options: &RunOptions,
    jobs: usize,
) -> Result<Sweep, RunError> {
    let reference = run(
        scenario,
        &RunOptions {
            crash: None,
            ..options.clone()
        },
    )?;
    let mut sweep = Sweep::single(&reference);
    let points: Vec<CrashPoint> = (1..=reference.writes.min(WRITES_MAX))
        .flat_map(|write| {
            [Moment::Before, Moment::After].map(|moment| CrashPoint { write, moment })
        })
        .collect();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(points.len()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(point) = points.get(index) else {
                        return;
                    };
                    let options = RunOptions {
                        crash: Some(*point),
                        ..options.clone()
                    };
                    let result = run(scenario, &options);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    for (index, result) in results {
        sweep.runs += 1;
        let point = points[index];
        match result {
            Ok(outcome) => {
                sweep.reached += usize::from(outcome.writes >= point.write);
                sweep.fail(Some(point), outcome.failures());
            }
            Err(error) => sweep.fail(Some(point), vec![error.to_string()]),
        }
    }
    Ok(sweep)
}
