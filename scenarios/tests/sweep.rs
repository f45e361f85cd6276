//! Campaigns: what they find depends on neither threads nor shards.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use scenarios::format::Scenario;
use scenarios::sweep::{Campaign, Results, Shard, campaign};
use scenarios::world::discrete::RunOptions;

fn catalog(name: &str) -> (PathBuf, Arc<Scenario>) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("catalog")
        .join(name);
    let scenario = Scenario::load(&file).expect("a valid scenario");
    (file, Arc::new(scenario))
}

fn plan(names: &[&str]) -> Campaign {
    Campaign {
        scenarios: names.iter().map(|name| catalog(name)).collect(),
        past: Vec::new(),
        seeds: 2,
        crash_points: false,
        shard: Shard::WHOLE,
        jobs: 2,
        catalogue: false,
        options: RunOptions::default(),
        program: "nap".into(),
    }
}

fn run(plan: &Campaign) -> Results {
    campaign(plan, |_| ()).0
}

#[test]
fn neither_jobs_nor_shards_change_what_is_found() {
    let mut whole = plan(&["nothing-fits.yaml"]);
    let once = run(&whole);
    assert_eq!(once.runs, 3);
    whole.jobs = 1;
    assert_eq!(once, run(&whole));
    let part = |index| {
        let mut part = plan(&["nothing-fits.yaml"]);
        part.shard = Shard { index, count: 2 };
        run(&part)
    };
    let named = |results: Results| (results.shards.len().to_string(), results);
    let parts = vec![named(part(2)), named(part(1))];
    let merged = Results::merge(parts).expect("two shards of one campaign");
    assert_eq!(
        (merged.runs, &merged.fingerprint, &merged.coverage),
        (once.runs, &once.fingerprint, &once.coverage)
    );
    let twice = vec![named(part(1)), named(part(1))];
    Results::merge(twice).expect_err("a shard is there twice");
    Results::merge(vec![named(part(1))]).expect_err("a shard is missing");
}

#[test]
#[ignore = "minutes without optimisation; ci/test sweeps the same with the release build"]
fn no_crash_point_of_the_quickstart_leaves_anything_behind() {
    let mut plan = plan(&["quickstart.yaml"]);
    plan.crash_points = true;
    plan.seeds = 0;
    let results = run(&plan);
    let (reached, planned) = results.coverage.points();
    assert!(planned >= 50, "{planned} points");
    assert_eq!(reached, planned, "every point is reached");
    assert!(results.passed(), "{}", results.render());
}
