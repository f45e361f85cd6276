//! What a campaign found: JSON that adds up over shards, `JUnit`, and text.

use std::collections::{BTreeMap, BTreeSet};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::story::stamp;
use crate::sweep::campaign::Campaign;
use crate::sweep::coverage::Coverage;
use crate::sweep::symptom::Symptom;
use crate::sweep::variation::Variation;
use crate::text::append;

/// Version of the JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// Seeds after which every kind of fault has struck in some scenario, or something is wrong with
/// the draws.
const SEEDS_FOR_FAULTS: u64 = 50;

/// Everything a campaign found. It holds no real time: shards, jobs and machines leave it alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    /// Version of this document.
    pub schema_version: u32,
    /// Equal for all shards of one campaign: a hash over what it is about.
    pub campaign: String,
    /// Seeds of each scenario.
    pub seeds: u64,
    /// Whether crash points were swept.
    pub crash_points: bool,
    /// Whether the scenarios were the whole catalogue.
    pub catalogue: bool,
    /// The world of all runs.
    pub world: String,
    /// Of how many shards.
    pub shard_count: u64,
    /// Those that are in here.
    pub shards: BTreeSet<u64>,
    /// Runs.
    pub runs: u64,
    /// Sum over a hash of each run's trace: two campaigns that agree did the same.
    pub fingerprint: String,
    /// By name of the scenario.
    pub scenarios: BTreeMap<String, PerScenario>,
    /// What was exercised.
    pub coverage: Coverage,
    /// What failed, in the order of runs.
    pub failures: Vec<Failure>,
}

/// The runs of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PerScenario {
    /// Its file.
    pub file: String,
    /// Whether its crash points are swept exhaustively.
    pub swept: bool,
    /// Runs.
    pub runs: u64,
    /// That failed.
    pub failed: u64,
    /// Writes of the undisturbed run.
    pub writes: u64,
    /// Crash points.
    pub points: u64,
    /// That were reached.
    pub points_reached: u64,
    /// Virtual time of all runs.
    pub virtual_millis: u64,
}

/// A run that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Name of the scenario.
    pub scenario: String,
    /// Its file.
    pub file: String,
    /// The seed.
    pub seed: u64,
    /// What else was done: `plain`, `swarm`, `crash after:3`.
    pub variation: String,
    /// What went wrong, the first first.
    pub symptoms: Vec<Symptom>,
    /// What had just happened when the first showed.
    pub event: Option<String>,
    /// The command that repeats the run.
    pub reproduce: String,
    /// Folder with its report, trace and minimal scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// Why results do not add up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// There is nothing to merge.
    #[error("nothing to merge: name the folders that campaigns wrote with --report")]
    Nothing,
    /// They are of different campaigns.
    #[error("{0} and {1} are of different campaigns: scenarios, seeds or versions differ")]
    Different(String, String),
    /// A shard is there twice.
    #[error("shard {0} of {1} is there twice")]
    Twice(u64, u64),
    /// A shard is missing.
    #[error("shard {0} of {1} is missing: name its folder as well")]
    Missing(u64, u64),
}

/// A number for one run.
pub(super) fn fingerprint(name: &str, seed: u64, variation: Variation, hash: &str) -> u64 {
    let text = format!("{name} {seed} {variation} {hash}");
    first_word(&Sha256::digest(text.as_bytes()))
}

fn first_word(bytes: &[u8]) -> u64 {
    let word = bytes.first_chunk::<8>().copied().unwrap_or_default();
    u64::from_be_bytes(word)
}

impl Results {
    /// Nothing has run yet.
    pub(super) fn of(campaign: &Campaign) -> Self {
        let mut hash = Sha256::new();
        for (_, scenario) in &campaign.scenarios {
            hash.update(scenario.source.text.as_bytes());
            hash.update([0]);
        }
        let (seeds, count) = (campaign.seeds, campaign.shard.count);
        let world = campaign.options.world.as_str();
        let (points, version) = (campaign.crash_points, env!("CARGO_PKG_VERSION"));
        hash.update(format!("{seeds} {points} {count} {world} {version}"));
        Self {
            schema_version: SCHEMA_VERSION,
            campaign: format!("{:016x}", first_word(&hash.finalize())),
            seeds,
            crash_points: points,
            catalogue: campaign.catalogue,
            world: world.to_owned(),
            shard_count: count,
            shards: [campaign.shard.index].into(),
            runs: 0,
            fingerprint: format!("{:016x}", 0),
            scenarios: BTreeMap::new(),
            coverage: Coverage::default(),
            failures: Vec::new(),
        }
    }

    pub(super) fn add_fingerprint(&mut self, number: u64) {
        let sum = u64::from_str_radix(&self.fingerprint, 16).unwrap_or_default();
        self.fingerprint = format!("{:016x}", sum.wrapping_add(number));
    }

    /// Adds the shards of one campaign up; each comes with the name of its place.
    ///
    /// # Errors
    ///
    /// When they are of different campaigns, or one is missing or there twice.
    pub fn merge(parts: Vec<(String, Self)>) -> Result<Self, MergeError> {
        let mut parts = parts.into_iter();
        let (first, mut sum) = parts.next().ok_or(MergeError::Nothing)?;
        for (place, part) in parts {
            if part.campaign != sum.campaign {
                return Err(MergeError::Different(first, place));
            }
            sum.add(part)?;
        }
        let missing = (1..=sum.shard_count).find(|shard| !sum.shards.contains(shard));
        match missing {
            Some(shard) => Err(MergeError::Missing(shard, sum.shard_count)),
            None => Ok(sum),
        }
    }

    fn add(&mut self, part: Self) -> Result<(), MergeError> {
        for shard in part.shards {
            if !self.shards.insert(shard) {
                return Err(MergeError::Twice(shard, self.shard_count));
            }
        }
        self.runs += part.runs;
        self.add_fingerprint(u64::from_str_radix(&part.fingerprint, 16).unwrap_or_default());
        for (name, row) in part.scenarios {
            match self.scenarios.entry(name) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(row);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => {
                    entry.get_mut().add(&row);
                }
            }
        }
        self.coverage.add(&part.coverage);
        self.failures.extend(part.failures);
        Ok(())
    }

    /// What was not exercised although it should have been.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        let (reached, planned) = self.coverage.points();
        if reached < planned {
            gaps.push(format!(
                "{} of {planned} crash points were not reached: runs with equal seeds differ",
                planned - reached
            ));
        }
        let complete = u64::try_from(self.shards.len()).ok() == Some(self.shard_count);
        if !self.catalogue || !complete {
            return gaps;
        }
        for id in self.coverage.idle_invariants() {
            gaps.push(format!(
                "the premise of invariant {id} never held: no scenario exercises it"
            ));
        }
        if self.seeds >= SEEDS_FOR_FAULTS {
            for kind in self.coverage.silent_faults() {
                gaps.push(format!("fault {kind} never struck"));
            }
        }
        gaps
    }

    /// Whether nothing failed and nothing was left out.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.gaps().is_empty()
    }

    /// For people: what failed first, then counts.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for failure in &self.failures {
            out.push_str(&failure.render());
        }
        for gap in self.gaps() {
            append(&mut out, format_args!("✗ {gap}\n"));
        }
        for (name, row) in &self.scenarios {
            let points = if row.points > 0 {
                format!(", {} of {} crash points", row.points_reached, row.points)
            } else {
                String::new()
            };
            let mark = if row.failed > 0 { '✗' } else { '✓' };
            let (runs, failed) = (row.runs, row.failed);
            append(
                &mut out,
                format_args!("{mark} {name}: {runs} runs, {failed} failed{points}\n"),
            );
        }
        let faults = self.coverage.faults.values().filter(|it| it.times > 0);
        let held = self.coverage.invariants.values().filter(|it| it.times > 0);
        let (reached, planned) = self.coverage.points();
        append(
            &mut out,
            format_args!(
                "coverage: {} of {} fault kinds struck, {} of {} invariants' premises held, \
                 {reached} of {planned} crash points reached\n",
                faults.count(),
                self.coverage.faults.len(),
                held.count(),
                self.coverage.invariants.len(),
            ),
        );
        let verdict = if self.passed() { "PASSED" } else { "FAILED" };
        append(
            &mut out,
            format_args!(
                "{verdict}  {} runs, {} failed, fingerprint {}\n",
                self.runs,
                self.failures.len(),
                self.fingerprint
            ),
        );
        out
    }

    /// As `JUnit` XML: one case per scenario.
    ///
    /// # Errors
    ///
    /// When the document cannot be written.
    pub fn junit(&self) -> Result<String, quick_junit::SerializeError> {
        let mut report = Report::new("nap campaign");
        let mut suite = TestSuite::new("campaign");
        for (name, row) in &self.scenarios {
            let failures = self.failures.iter().filter(|it| it.scenario == *name);
            let text: Vec<String> = failures.map(Failure::render).collect();
            let status = if text.is_empty() {
                TestCaseStatus::success()
            } else {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(format!("{} of {} runs failed", row.failed, row.runs));
                status.set_description(text.concat());
                status
            };
            let mut case = TestCase::new(name.clone(), status);
            case.set_classname(row.file.clone());
            suite.add_test_case(case);
        }
        let gaps = self.gaps();
        let mut status = TestCaseStatus::success();
        if !gaps.is_empty() {
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(gaps.join("\n"));
        }
        suite.add_test_case(TestCase::new("coverage", status));
        report.add_test_suite(suite);
        report.to_string()
    }
}

impl PerScenario {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.failed += other.failed;
        // Only the shard that ran the scenario as it is knows them.
        self.writes = self.writes.max(other.writes);
        self.points += other.points;
        self.points_reached += other.points_reached;
        self.virtual_millis += other.virtual_millis;
    }
}

impl Failure {
    /// For people.
    pub fn render(&self) -> String {
        let (name, seed, variation) = (&self.scenario, self.seed, &self.variation);
        let mut out = format!("✗ {name} seed {seed} {variation}\n");
        for (index, symptom) in self.symptoms.iter().enumerate() {
            let at = symptom.at.map_or_else(String::new, |at| {
                format!("{} ", stamp(std::time::Duration::from_millis(at)))
            });
            append(
                &mut out,
                format_args!("    {at}{}: {}\n", symptom.id, symptom.message),
            );
            if index == 0
                && let Some(event) = &self.event
            {
                append(&mut out, format_args!("    just before: {event}\n"));
            }
        }
        append(
            &mut out,
            format_args!("    reproduce: {}\n", self.reproduce),
        );
        if let Some(evidence) = &self.evidence {
            append(&mut out, format_args!("    evidence: {evidence}\n"));
        }
        out
    }

    /// The reason of the first symptom.
    pub fn reason(&self) -> &str {
        self.symptoms.first().map_or("", |symptom| &symptom.id)
    }
}

/// A cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

impl Results {
    /// For the summary page of a CI system: what failed first.
    pub fn markdown(&self) -> String {
        let verdict = if self.passed() { "passed" } else { "failed" };
        let mut out = format!(
            "## Campaign {verdict}\n\n{} runs, {} failed, fingerprint `{}`\n",
            self.runs,
            self.failures.len(),
            self.fingerprint
        );
        for failure in &self.failures {
            let (name, seed, variation) = (&failure.scenario, failure.seed, &failure.variation);
            let message = failure
                .symptoms
                .first()
                .map_or("", |it| it.message.as_str());
            append(
                &mut out,
                format_args!(
                    "\n**{name}**, seed {seed}, {variation}: {} — {}\n",
                    cell(failure.reason()),
                    cell(message)
                ),
            );
            if let Some(event) = &failure.event {
                append(&mut out, format_args!("\nJust before: {}\n", cell(event)));
            }
            append(
                &mut out,
                format_args!("\n```sh\n{}\n```\n", failure.reproduce),
            );
        }
        for gap in self.gaps() {
            append(&mut out, format_args!("\n- {gap}\n"));
        }
        out.push_str("\n| Scenario | Runs | Failed | Crash points |\n|---|--:|--:|--:|\n");
        for (name, row) in &self.scenarios {
            append(
                &mut out,
                format_args!(
                    "| {} | {} | {} | {} of {} |\n",
                    cell(name),
                    row.runs,
                    row.failed,
                    row.points_reached,
                    row.points
                ),
            );
        }
        out
    }
}
