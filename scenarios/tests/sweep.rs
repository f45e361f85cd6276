//! The controller is killed before and after each of its writes.

use std::path::Path;

use scenarios::format::Scenario;
use scenarios::sweep::crash_points;
use scenarios::world::discrete::RunOptions;

#[test]
#[ignore = "minutes without optimisation; ci/test sweeps the same with the release build"]
fn no_crash_point_of_the_quickstart_leaves_anything_behind() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog/quickstart.yaml");
    let scenario = Scenario::load(&file).expect("a valid scenario");
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let sweep = crash_points(&scenario, &RunOptions::default(), jobs).expect("runs have outcomes");
    println!("{}", sweep.render(&scenario.name, scenario.seed));
    assert!(sweep.writes > 20, "{sweep:?}");
    assert_eq!(sweep.reached + 1, sweep.runs, "every point was reached");
    assert!(
        sweep.failures.is_empty(),
        "{}",
        sweep.render(&scenario.name, scenario.seed)
    );
}
