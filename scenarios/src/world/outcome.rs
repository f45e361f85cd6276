//! What a run ends with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::faults::{FaultKind, FaultPlan, Injected};
use crate::invariants::Violation;
use crate::observe::Verdict;
use crate::story::Chronicle;
use crate::world::net::Traffic;
use crate::world::ports::{CrashPoint, Finding};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every expectation was met and nothing was found.
    Passed,
    /// Something that was expected did not come true, or something was found.
    Failed,
}

/// Everything a run yields.
#[derive(Debug)]
pub struct Outcome {
    /// Name of the scenario.
    pub scenario: String,
    /// What it proves.
    pub proves: String,
    /// Region.
    pub region: String,
    /// Name of the world.
    pub world: &'static str,
    /// Root of its randomness.
    pub seed: u64,
    /// Virtual time it covered.
    pub horizon: Duration,
    /// Real time it took.
    pub took: Duration,
    /// Real time until the controller was started.
    pub startup: Duration,
    /// Expectations.
    pub verdicts: Vec<Verdict>,
    /// Violated invariants.
    pub violations: Vec<Violation>,
    /// `(id, doc, premises)` of every invariant.
    pub premises: Vec<(&'static str, &'static str, u64)>,
    /// Panics, leaks, livelocks and the like.
    pub findings: Vec<Finding>,
    /// What happened.
    pub chronicle: Chronicle,
    /// Hash of the trace.
    pub hash: String,
    /// Number of records of the trace.
    pub records: u64,
    /// Lines of the trace, when they were kept.
    pub trace: Vec<String>,
    /// Writes of the controller that count as crash points.
    pub writes: u64,
    /// Requests of the controller.
    pub requests: u64,
    /// What passed between processes and servers, where bytes are carried.
    pub traffic: Traffic,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<FaultKind, u64>,
    /// The faults that struck requests and processes, in the order of time, the first ten thousand.
    pub injected: Vec<Injected>,
    /// What was to go wrong.
    pub plan: FaultPlan,
    /// Crash points that were reached.
    pub crash_points: BTreeSet<CrashPoint>,
    /// Calls for entropy or wall time that an interposer caught; `None` without one.
    pub ambient_calls: Option<u64>,
}

impl Outcome {
    /// The verdict.
    pub fn ending(&self) -> Ending {
        let met = self.verdicts.iter().all(|verdict| verdict.ok);
        if met && self.violations.is_empty() && self.findings.is_empty() {
            Ending::Passed
        } else {
            Ending::Failed
        }
    }

    /// Whether it passed.
    pub fn passed(&self) -> bool {
        self.ending() == Ending::Passed
    }

    /// Everything that went wrong, the earliest first.
    pub fn failures(&self) -> Vec<String> {
        let mut failures: Vec<(Duration, String)> = Vec::new();
        for verdict in self.verdicts.iter().filter(|verdict| !verdict.ok) {
            failures.push((
                verdict.at,
                format!("expected {}: {}", verdict.what, verdict.seen),
            ));
        }
        for violation in &self.violations {
            failures.push((
                violation.at,
                format!("{}: {}", violation.id, violation.message),
            ));
        }
        failures.sort_by_key(|(at, _)| *at);
        let found = self.findings.iter().map(ToString::to_string);
        found
            .chain(failures.into_iter().map(|(_, text)| text))
            .collect()
    }
}
