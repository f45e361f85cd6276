//! How long scenarios take: one row of JSON per figure on stdout.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use scenarios::format::{Scenario, World};
use scenarios::sweep::{Campaign, Shard, campaign};
use scenarios::world::Outcome;
use scenarios::world::discrete::{RunOptions, run};

/// The allocator of `nap`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs of which the median counts.
const RUNS: usize = 3;

/// A cluster of a hundred nodes on which nothing happens.
const IDLE: &str = "\
# A quiet cluster costs next to nothing.
name: idle
horizon: 30d
# A lease renewed every two seconds is 1.3 million writes that nobody looks at.
controller: {settings: {DISABLE_LEADER_ELECTION: 'true'}}
azure:
  quota: {regional: 4000, familyDefault: 4000, lowPriority: 4000}
manifests:
  - apiVersion: karpenter.sh/v1
    kind: NodePool
    metadata: {name: fleet}
    spec:
      template:
        spec:
          requirements:
            - {key: karpenter.sh/capacity-type, operator: In, values: [on-demand]}
            - {key: node.kubernetes.io/instance-type, operator: In, values: [Standard_D2s_v5]}
          nodeClassRef: {group: karpenter.azure.com, kind: AKSNodeClass, name: default}
          expireAfter: Never
      disruption: {consolidationPolicy: WhenEmpty, consolidateAfter: Never}
  - apiVersion: karpenter.azure.com/v1beta1
    kind: AKSNodeClass
    metadata: {name: default}
    spec: {osDiskSizeGB: 128}
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: one-each, namespace: default}
    spec:
      replicas: 100
      selector: {matchLabels: {app: one-each}}
      template:
        metadata: {labels: {app: one-each}}
        spec:
          containers:
            - name: main
              image: mcr.microsoft.com/oss/kubernetes/pause:3.9
              resources: {requests: {cpu: '1', memory: 1Gi}}
expect:
  - eventually: nodes.ready == 100 && pods.running == 100
    within: 10m
";

/// The line that a lease is missing by.
const ELECTION_OFF: &str = "controller: {settings: {DISABLE_LEADER_ELECTION: 'true'}}\n";

fn main() {
    let catalog = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog");
    let quickstart = Scenario::load(&catalog.join("quickstart.yaml")).expect("a valid scenario");
    memory(&quickstart);
    let idle = Scenario::parse("idle", IDLE, Path::new(".")).expect("a valid scenario");
    row(
        "quickstart, wall time",
        &median(&quickstart, |outcome| outcome.took),
        1_000,
    );
    row(
        "start-up, wall time",
        &median(&quickstart, |outcome| outcome.startup),
        50,
    );
    let built = IDLE.replace("horizon: 30d", "horizon: 10m");
    let built = Scenario::parse("built", &built, Path::new(".")).expect("a valid scenario");
    let built = median(&built, |outcome| outcome.took);
    plain("100 nodes come up, ten minutes, wall time", &built);
    let whole = median(&idle, |outcome| outcome.took);
    plain("100 nodes come up and idle for 30 days, wall time", &whole);
    row(
        "30 idle days of 100 nodes, no leader election, wall time without their coming up",
        &whole.saturating_sub(built),
        5_000,
    );
    let elected = IDLE
        .replace(ELECTION_OFF, "")
        .replace("horizon: 30d", "horizon: 1d");
    let elected = Scenario::parse("idle-elected", &elected, Path::new(".")).expect("valid");
    plain(
        "1 idle day of 100 nodes, leader election, wall time",
        &median(&elected, |outcome| outcome.took),
    );
    loaded();
    pipes(&quickstart);
    campaigns(&catalog.join("quickstart.yaml"), quickstart);
}

/// Thirty days of about a hundred nodes that follow a daily curve up and down.
fn loaded() {
    let text = IDLE
        .replace(
            "consolidationPolicy: WhenEmpty, consolidateAfter: Never",
            "consolidationPolicy: WhenEmptyOrUnderutilized, consolidateAfter: 5m",
        )
        .replace("replicas: 100", "replicas: 20")
        .replace(
            "nodes.ready == 100 && pods.running == 100",
            "nodes.ready >= 20",
        )
        .replace(
            "manifests:\n",
            "load:\n  - {name: web, cpu: 1, diurnal: {low: 10, high: 80, peakAt: '14:00', every: \
             30m}}\nmanifests:\n",
        );
    let scenario = Scenario::parse("loaded", &text, Path::new(".")).expect("a valid scenario");
    let outcome = run(&scenario, &RunOptions::default()).expect("an outcome");
    row(
        "30 days of 100 nodes with daily load, no leader election, wall time",
        &outcome.took,
        60_000,
    );
}

/// HTTP over connections beside direct calls.
fn pipes(scenario: &Scenario) {
    let took = |world| {
        let options = RunOptions {
            world,
            ..RunOptions::default()
        };
        let mut took: Vec<Duration> = (0..RUNS)
            .map(|_| {
                scenarios::world::run(scenario, &options)
                    .expect("an outcome")
                    .took
            })
            .collect();
        took.sort_unstable();
        took[RUNS / 2].as_secs_f64()
    };
    let ratio = took(World::Pipes) / took(World::Discrete);
    figure(
        "pipes beside discrete, quickstart",
        ratio,
        "×",
        "<= 3",
        ratio <= 3.0,
    );
}

/// Seeds under faults, and crash points.
fn campaigns(file: &Path, quickstart: Scenario) {
    let mut plan = Campaign {
        scenarios: vec![(file.to_owned(), Arc::new(quickstart))],
        past: Vec::new(),
        seeds: 200,
        crash_points: false,
        shard: Shard::WHOLE,
        jobs: 2,
        catalogue: false,
        options: RunOptions::default(),
        program: "nap".into(),
    };
    let timed = |plan: &Campaign| {
        let began = real_time::now();
        let (results, _) = campaign(plan, |_| ());
        let runs = u32::try_from(results.runs).unwrap_or(u32::MAX);
        (
            f64::from(runs),
            real_time::now().duration_since(began).as_secs_f64(),
        )
    };
    let (runs, seconds) = timed(&plan);
    let rate = runs * 60.0 / seconds;
    figure(
        "seeds of the quickstart, two jobs",
        rate,
        "1/min",
        ">= 1500",
        rate >= 1500.0,
    );
    (plan.seeds, plan.crash_points, plan.jobs) = (0, true, 1);
    let (runs, seconds) = timed(&plan);
    let each = seconds * 1000.0 / runs;
    figure(
        "one crash point of the quickstart",
        each,
        "ms",
        "<= 20",
        each <= 20.0,
    );
}

/// What this process holds at most after one world; nothing else has run yet.
fn memory(quickstart: &Scenario) {
    run(quickstart, &RunOptions::default()).expect("an outcome");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    let megabytes = kilobytes.unwrap_or_default() / 1024.0;
    figure(
        "memory of one world, quickstart",
        megabytes,
        "MB",
        "<= 60",
        megabytes <= 60.0,
    );
}

fn figure(figure: &str, value: f64, unit: &str, goal: &str, met: bool) {
    let value = (value * 100.0).round() / 100.0;
    let row = serde_json::json!({
        "area": "scenarios", "figure": figure, "value": value, "unit": unit, "goal": goal, "met": met,
    });
    writeln!(std::io::stdout(), "{row}").expect("stdout is open");
}

/// Real time is what is measured here.
mod real_time {
    #[expect(clippy::disallowed_types, reason = "benchmarks measure real time")]
    type Instant = std::time::Instant;

    #[expect(clippy::disallowed_methods, reason = "benchmarks measure real time")]
    pub(super) fn now() -> Instant {
        Instant::now()
    }
}

fn median(scenario: &Scenario, figure: impl Fn(&Outcome) -> Duration) -> Duration {
    let mut figures: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let outcome = run(scenario, &RunOptions::default()).expect("an outcome");
            assert!(outcome.passed(), "{:?}", outcome.failures());
            figure(&outcome)
        })
        .collect();
    figures.sort_unstable();
    figures[RUNS / 2]
}

fn row(figure: &str, value: &Duration, goal: u128) {
    let millis = value.as_millis();
    let row = serde_json::json!({
        "area": "scenarios",
        "figure": figure,
        "value": u64::try_from(millis).unwrap_or(u64::MAX),
        "unit": "ms",
        "goal": format!("<= {goal}"),
        "met": millis <= goal,
    });
    writeln!(std::io::stdout(), "{row}").expect("stdout is open");
}

/// A figure without a goal.
fn plain(figure: &str, value: &Duration) {
    let row = serde_json::json!({
        "area": "scenarios",
        "figure": figure,
        "value": u64::try_from(value.as_millis()).unwrap_or(u64::MAX),
        "unit": "ms",
        "goal": null,
        "met": null,
    });
    writeln!(std::io::stdout(), "{row}").expect("stdout is open");
}
