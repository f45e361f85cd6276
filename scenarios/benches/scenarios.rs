//! How long scenarios take: one row of JSON per figure on stdout.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use scenarios::format::Scenario;
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
    row(
        "30 idle days of 100 nodes, no leader election, wall time",
        &median(&idle, |outcome| outcome.took),
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
