//! One campaign: what to run, in which order, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use controller_ports::Entropy;
use rand_core::Rng;

use crate::faults::FaultKind;
use crate::format::Scenario;
use crate::story::{Kind, stamp};
use crate::sweep::pool::each;
use crate::sweep::results::{Failure, PerScenario, Results, fingerprint};
use crate::sweep::symptom::{Symptom, symptoms};
use crate::sweep::{POINTS_DRAWN, Past, Variation, WRITES_MAX};
use crate::world::discrete::{RunError, RunOptions};
use crate::world::ports::{CrashPoint, Moment};
use crate::world::{Outcome, run};

/// A part of a campaign that one machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub index: u64,
    /// Of how many.
    pub count: u64,
}

impl Shard {
    /// Everything.
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    fn owns(self, number: usize) -> bool {
        u64::try_from(number).unwrap_or_default() % self.count == self.index - 1
    }
}

/// What a campaign is about.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The scenarios and where they are.
    pub scenarios: Vec<(PathBuf, Arc<Scenario>)>,
    /// Runs that failed once, with their scenarios.
    pub past: Vec<(Past, Arc<Scenario>)>,
    /// Seeds 1 to this for each scenario, each with faults of its own.
    pub seeds: u64,
    /// Whether crash points are swept.
    pub crash_points: bool,
    /// Which part.
    pub shard: Shard,
    /// Runs at a time.
    pub jobs: usize,
    /// Whether the scenarios are the whole catalogue, so that coverage is judged.
    pub catalogue: bool,
    /// Of every run.
    pub options: RunOptions,
    /// The program that repeats a run, as commands spell it.
    pub program: PathBuf,
}

/// What happens, for those who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A phase of this many runs begins.
    Phase {
        /// Its name.
        name: &'static str,
        /// Its runs.
        runs: usize,
    },
    /// A run has ended.
    Ran {
        /// What failed, if it did.
        failure: Option<&'a Failure>,
    },
    /// The phase has ended.
    Ended,
}

/// One run.
#[derive(Clone, Debug)]
struct Task {
    file: PathBuf,
    scenario: Arc<Scenario>,
    seed: u64,
    variation: Variation,
}

/// A run that failed, with what it takes to repeat it in this process.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The scenario.
    pub scenario: Arc<Scenario>,
    /// Its seed.
    pub seed: u64,
    /// What else was done.
    pub variation: Variation,
}

/// What is kept of a run.
struct Digest {
    symptoms: Vec<Symptom>,
    event: Option<String>,
    hash: String,
    writes: u64,
    virtual_millis: u64,
    reached: BTreeSet<CrashPoint>,
    faults: BTreeMap<FaultKind, u64>,
    premises: Vec<(&'static str, u64)>,
}

/// Runs a campaign; answers with what it found, and with what failed in the same order.
pub fn campaign(campaign: &Campaign, mut watch: impl FnMut(Event<'_>)) -> (Results, Vec<Failed>) {
    let mut state = State {
        campaign,
        results: Results::of(campaign),
        failed: Vec::new(),
        watch: &mut watch,
    };
    let past = campaign.past.iter().map(|(past, scenario)| Task {
        file: past.file.clone(),
        scenario: Arc::clone(scenario),
        seed: past.seed,
        variation: past.variation,
    });
    state.phase("past failures", &campaign.owned(past));
    let writes = state.references();
    let seeds = campaign.scenarios.iter().flat_map(|(file, scenario)| {
        (1..=campaign.seeds).map(|seed| Task {
            file: file.clone(),
            scenario: Arc::clone(scenario),
            seed,
            variation: Variation::SWARM,
        })
    });
    state.phase("seeds", &campaign.owned(seeds));
    if campaign.crash_points {
        let points = campaign.scenarios.iter().zip(writes);
        let points = points.flat_map(|((file, scenario), writes)| {
            let points = points_of(scenario, writes).into_iter();
            points.map(|point| Task {
                file: file.clone(),
                scenario: Arc::clone(scenario),
                seed: scenario.seed,
                variation: Variation::at(point),
            })
        });
        state.phase("crash points", &campaign.owned(points));
    }
    (state.results, state.failed)
}

impl Campaign {
    fn owned(&self, tasks: impl Iterator<Item = Task>) -> Vec<Task> {
        let numbered = tasks.enumerate();
        let owned = numbered.filter(|(number, _)| self.shard.owns(*number));
        owned.map(|(_, task)| task).collect()
    }
}

/// Crash points of a scenario whose undisturbed run has this many writes: all of them, or a draw.
fn points_of(scenario: &Scenario, writes: u64) -> Vec<CrashPoint> {
    let moments = [Moment::Before, Moment::After, Moment::Ambiguous];
    if scenario.sweep {
        return (1..=writes.min(WRITES_MAX))
            .flat_map(|write| moments.map(|moment| CrashPoint { write, moment }))
            .collect();
    }
    let mut random = Entropy::from_seed(scenario.seed).stream("crash-points");
    let most = usize::try_from(writes.saturating_mul(3)).unwrap_or(usize::MAX);
    let mut points = BTreeSet::new();
    while points.len() < POINTS_DRAWN.min(most) {
        points.insert(CrashPoint {
            write: 1 + random.next_u64() % writes,
            moment: moments[usize::try_from(random.next_u64() % 3).unwrap_or_default()],
        });
    }
    points.into_iter().collect()
}

struct State<'a> {
    campaign: &'a Campaign,
    results: Results,
    failed: Vec<Failed>,
    watch: &'a mut dyn FnMut(Event<'_>),
}

impl State<'_> {
    fn phase(&mut self, name: &'static str, tasks: &[Task]) {
        if tasks.is_empty() {
            return;
        }
        let runs = tasks.len();
        (self.watch)(Event::Phase { name, runs });
        let campaign = self.campaign;
        each(
            runs,
            campaign.jobs,
            |index| digest(&tasks[index], campaign),
            |index, digest| self.take(&tasks[index], digest),
        );
        (self.watch)(Event::Ended);
    }

    /// Each scenario as it is. Every shard that sweeps crash points must know the writes of all;
    /// each run counts in one shard only.
    fn references(&mut self) -> Vec<u64> {
        let campaign = self.campaign;
        let tasks: Vec<Task> = campaign
            .scenarios
            .iter()
            .map(|(file, scenario)| Task {
                file: file.clone(),
                scenario: Arc::clone(scenario),
                seed: scenario.seed,
                variation: Variation::PLAIN,
            })
            .collect();
        let wanted = |index: usize| campaign.crash_points || campaign.shard.owns(index);
        let runs = (0..tasks.len()).filter(|index| wanted(*index)).count();
        let name = "as written";
        (self.watch)(Event::Phase { name, runs });
        let mut writes = vec![0; tasks.len()];
        each(
            tasks.len(),
            campaign.jobs,
            |index| wanted(index).then(|| digest(&tasks[index], campaign)),
            |index, digest| {
                let Some(mut digest) = digest else { return };
                writes[index] = digest.writes;
                if tasks[index].scenario.sweep && digest.writes > WRITES_MAX {
                    digest.symptoms.push(too_many(digest.writes));
                }
                if campaign.shard.owns(index) {
                    self.take(&tasks[index], digest);
                }
            },
        );
        (self.watch)(Event::Ended);
        writes
    }

    fn take(&mut self, task: &Task, digest: Digest) {
        let results = &mut self.results;
        let name = &task.scenario.name;
        results.runs += 1;
        results.add_fingerprint(fingerprint(name, task.seed, task.variation, &digest.hash));
        let row = results
            .scenarios
            .entry(name.clone())
            .or_insert_with(|| PerScenario {
                file: task.file.display().to_string(),
                swept: task.scenario.sweep,
                ..PerScenario::default()
            });
        row.runs += 1;
        row.virtual_millis += digest.virtual_millis;
        if task.variation == Variation::PLAIN {
            row.writes = digest.writes;
        }
        if let Some(point) = task.variation.point {
            let reached = digest.reached.contains(&point);
            row.points += 1;
            row.points_reached += u64::from(reached);
            results.coverage.planned(point.moment, reached);
        }
        for (kind, times) in &digest.faults {
            results.coverage.struck(*kind, *times);
        }
        for (id, times) in &digest.premises {
            results.coverage.premise(id, *times);
        }
        if digest.symptoms.is_empty() {
            (self.watch)(Event::Ran { failure: None });
            return;
        }
        row.failed += 1;
        let failure = Failure {
            scenario: name.clone(),
            file: task.file.display().to_string(),
            seed: task.seed,
            variation: task.variation.to_string(),
            symptoms: digest.symptoms,
            event: digest.event,
            reproduce: reproduce(self.campaign, task),
            evidence: None,
        };
        (self.watch)(Event::Ran {
            failure: Some(&failure),
        });
        self.results.failures.push(failure);
        self.failed.push(Failed {
            scenario: Arc::clone(&task.scenario),
            seed: task.seed,
            variation: task.variation,
        });
    }
}

fn too_many(writes: u64) -> Symptom {
    Symptom {
        id: "sweep too-many-writes".to_owned(),
        at: None,
        message: format!(
            "{writes} writes, at most {WRITES_MAX} can be swept exhaustively: make the scenario \
             smaller or take 'sweep' out"
        ),
    }
}

fn digest(task: &Task, campaign: &Campaign) -> Digest {
    let options = task
        .variation
        .applied(&task.scenario, task.seed, campaign.options.clone());
    match run(&task.scenario, &options) {
        Ok(outcome) => Digest::of(&outcome),
        Err(error) => Digest::without(&error),
    }
}

impl Digest {
    fn of(outcome: &Outcome) -> Self {
        let symptoms = symptoms(outcome);
        let event = symptoms.first().and_then(|first| event(outcome, first));
        let premises = outcome.premises.iter();
        Self {
            event,
            symptoms,
            hash: outcome.hash.clone(),
            writes: outcome.writes,
            virtual_millis: u64::try_from(outcome.horizon.as_millis()).unwrap_or(u64::MAX),
            reached: outcome.crash_points.clone(),
            faults: outcome.faults.clone(),
            premises: premises.map(|(id, _, times)| (*id, *times)).collect(),
        }
    }

    fn without(error: &RunError) -> Self {
        Self {
            symptoms: vec![Symptom::of_error(error)],
            event: None,
            hash: String::new(),
            writes: 0,
            virtual_millis: 0,
            reached: BTreeSet::new(),
            faults: BTreeMap::new(),
            premises: Vec::new(),
        }
    }
}

/// The last thing that happened before a symptom showed.
fn event(outcome: &Outcome, symptom: &Symptom) -> Option<String> {
    let at = std::time::Duration::from_millis(symptom.at?);
    let mut happenings = outcome.chronicle.happenings().iter();
    let last = happenings.rfind(|it| it.at <= at && it.kind != Kind::Verdict)?;
    Some(format!(
        "{} {} {}",
        stamp(last.at),
        last.kind.as_str(),
        last.text
    ))
}

/// The command that repeats a run from any directory.
fn reproduce(campaign: &Campaign, task: &Task) -> String {
    let file = std::path::absolute(&task.file).unwrap_or_else(|_| task.file.clone());
    let world = campaign.options.world.as_str();
    format!(
        "'{}' sim '{}'{} --seed {} --world {world}{}",
        campaign.program.display(),
        file.display(),
        task.scenario.parameters(),
        task.seed,
        task.variation.arguments()
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn scenario(sweep: bool) -> Scenario {
        let text = format!("# It proves.\nname: x\nsweep: {sweep}\n");
        Scenario::parse("x.yaml", &text, Path::new(".")).expect("a scenario")
    }

    #[test]
    fn points_are_all_or_fifty_drawn_ones() {
        assert_eq!(points_of(&scenario(true), 20).len(), 60);
        assert_eq!(points_of(&scenario(true), 1_000).len(), 900);
        let drawn = points_of(&scenario(false), 400);
        assert_eq!(drawn.len(), POINTS_DRAWN);
        assert_eq!(drawn, points_of(&scenario(false), 400));
        assert_eq!(points_of(&scenario(false), 5).len(), 15);
        assert_eq!(points_of(&scenario(false), 0), []);
    }

    #[test]
    fn every_task_is_in_one_shard() {
        for number in 0..20 {
            let shards = (1..=3).map(|index| Shard { index, count: 3 });
            assert_eq!(shards.filter(|shard| shard.owns(number)).count(), 1);
        }
    }
}
