//! One scenario, the same verdict in every simulated world; and in those that carry bytes, bytes
//! are carried.

use std::path::Path;

use scenarios::format::{Scenario, World};
use scenarios::world::discrete::RunOptions;
use scenarios::world::net::HttpVersion;
use scenarios::world::{Outcome, run_in};

fn catalog(name: &str) -> Scenario {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("catalog")
        .join(name);
    Scenario::load(&file).expect("a valid scenario")
}

fn run(world: World, scenario: &Scenario, http: HttpVersion) -> Outcome {
    let options = RunOptions {
        http,
        ..RunOptions::default()
    };
    run_in(world, scenario, &options).expect("an outcome")
}

/// What must not depend on the world.
fn verdict(outcome: &Outcome) -> (bool, Vec<(String, bool)>, Vec<&'static str>) {
    let verdicts = outcome.verdicts.iter();
    (
        outcome.passed(),
        verdicts.map(|v| (v.what.clone(), v.ok)).collect(),
        outcome.violations.iter().map(|v| v.id).collect(),
    )
}

#[test]
fn bytes_cross_and_the_verdict_stays() {
    let scenario = catalog("cheapest-sold-out.yaml");
    let discrete = run(World::Discrete, &scenario, HttpVersion::Http1);
    assert_eq!(discrete.traffic.connections, 0);
    for (world, http) in [
        (World::Pipes, HttpVersion::Http1),
        (World::Pipes, HttpVersion::Http2),
        (World::Turmoil, HttpVersion::Http1),
    ] {
        let first = run(world, &scenario, http);
        assert_eq!(verdict(&first), verdict(&discrete), "{world:?} {http:?}");
        let traffic = first.traffic;
        assert!(traffic.connections > 0, "{world:?} {http:?}: {traffic:?}");
        assert!(traffic.bytes_to_server > 10_000, "{world:?}: {traffic:?}");
        assert!(traffic.bytes_to_client > 10_000, "{world:?}: {traffic:?}");
        assert_eq!(traffic.broken, 0, "{world:?} {http:?}: {traffic:?}");
        let second = run(world, &scenario, http);
        assert_eq!(first.hash, second.hash, "{world:?} {http:?}");
        assert_eq!(first.traffic, second.traffic, "{world:?} {http:?}");
    }
}
