//! Over the catalogue, every invariant has something to say: one whose premise never holds proves
//! nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use scenarios::format::{Scenario, World};
use scenarios::world::discrete::{RunOptions, run};

/// The catalogue, without what is left beside it.
fn catalog() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("catalog");
    let entries = std::fs::read_dir(folder).expect("the catalogue");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "yaml"))
        .collect();
    files.sort();
    files
}

#[test]
fn the_premise_of_every_invariant_holds_somewhere() {
    let mut premises: BTreeMap<&str, u64> = BTreeMap::new();
    for file in catalog() {
        let cases = Scenario::load_all(&file, &BTreeMap::new()).expect("the catalogue is valid");
        for scenario in cases {
            if !scenario.worlds.contains(&World::Discrete) {
                continue;
            }
            let outcome = run(&scenario, &RunOptions::default()).expect("an outcome");
            for (id, _, held) in &outcome.premises {
                *premises.entry(id).or_default() += held;
            }
        }
    }
    let idle: Vec<&str> = premises
        .iter()
        .filter(|(_, held)| **held == 0)
        .map(|(id, _)| *id)
        .collect();
    assert!(idle.is_empty(), "never looked at anything: {idle:?}");
}
