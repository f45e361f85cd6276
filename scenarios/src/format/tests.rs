//! Errors of scenario files: place, message, fix.

use std::path::Path;
use std::time::Duration;

use super::{FormatError, Scenario};

fn parse(text: &str) -> Result<Scenario, FormatError> {
    Scenario::parse("x.yaml", text, Path::new("."))
}

fn refused(text: &str) -> FormatError {
    parse(text).expect_err("must be refused")
}

const VALID: &str = "# Proves something.\nname: x\n";

#[test]
fn a_minimal_scenario_has_defaults() {
    let scenario = parse(VALID).expect("valid");
    assert_eq!(scenario.proves, "Proves something.");
    assert_eq!(scenario.horizon, Duration::from_mins(10));
    assert_eq!(scenario.cloud.clusters[0].name, "nap-dev");
    assert!(!scenario.cloud.clusters[0].default_node_pools);
}

#[test]
fn unknown_keys_suggest_the_right_one() {
    let error = refused("# P.\nname: x\ntimelime: []\n");
    insta::assert_snapshot!(error.render(), @r"
    x.yaml:3:1: unknown key 'timelime'
       ╭─[x.yaml:3:1]
     1 │ # P.
     2 │ name: x
     3 │ timelime: []
       · ────┬───
       ·     ╰── here
       ╰────
      help: did you mean 'timeline'? known: name, region, seed, epoch, horizon, sweep, worlds, azure, cluster, controller, manifests, timeline, expect
    ");
}

#[test]
fn duplicate_keys_are_refused() {
    let error = refused("# P.\nname: x\nname: y\n");
    assert_eq!((error.place.line, error.place.column), (3, 1));
    assert_eq!(&*error.message, "duplicate key 'name'");
}

#[test]
fn wrong_types_point_at_the_value() {
    let error = refused("# P.\nname: x\nseed: many\n");
    assert_eq!((error.place.line, error.place.column), (3, 7));
}

#[test]
fn bad_durations_and_expressions_point_inside() {
    let error =
        refused("# P.\nname: x\ntimeline:\n  - at: soon\n    scale: {name: a, replicas: 1}\n");
    assert_eq!((error.place.line, error.place.column), (4, 9));
    let text = "# P.\nname: x\nexpect:\n  - eventually: pods.runing == 10\n    within: 5m\n";
    let error = refused(text);
    insta::assert_snapshot!(error.render(), @r"
    x.yaml:4:17: unknown observable 'pods.runing'
       ╭─[x.yaml:4:17]
     2 │ name: x
     3 │ expect:
     4 │   - eventually: pods.runing == 10
       ·                 ─────┬─────
       ·                      ╰── here
     5 │     within: 5m
       ╰────
      help: did you mean 'pods.running'? known: nodes, nodes.ready, claims, claims.ready, pods, pods.running, pods.pending, vms, nics, disks, cost, events, conditions
    ");
}

#[test]
fn a_step_does_one_thing() {
    let error = refused(
        "# P.\nname: x\ntimeline:\n  - at: 1m\n    scale: {name: a, replicas: 1}\n    delete: {kind: Pod, name: a}\n",
    );
    assert_eq!(error.place.line, 4);
    assert!(error.message.contains("exactly one thing"));
}

#[test]
fn unknown_kinds_suggest() {
    let error =
        refused("# P.\nname: x\ntimeline:\n  - at: 1m\n    delete: {kind: Deploiment, name: a}\n");
    assert!(
        error
            .help
            .as_deref()
            .is_some_and(|help| help.contains("'Deployment'")),
        "{error:?}"
    );
}

#[test]
fn empty_and_binary_files_are_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let cases: [(&str, &[u8]); 4] = [
        ("empty", b""),
        ("blank", b"\n# only a comment\n"),
        ("nul", b"name: \0\n"),
        ("latin", b"# P.\nname: \xff\n"),
    ];
    for (name, bytes) in cases {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("writable");
        let error = Scenario::load(&path).expect_err(name);
        assert!(
            error.place.line >= 1 && error.place.column >= 1,
            "{name}: {error:?}"
        );
        assert!(
            error
                .render()
                .contains(&format!("{name}:{}:", error.place.line)),
            "{name}"
        );
    }
}

#[test]
fn a_manifest_needs_its_kind() {
    let error = refused("# P.\nname: x\nmanifests:\n  - metadata: {name: a}\n");
    assert_eq!(error.place.line, 4);
    let error = refused("# P.\nname: x\nmanifests:\n  - nowhere.yaml\n");
    assert!(error.message.contains("nowhere.yaml"));
}
