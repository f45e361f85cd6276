//! Errors of scenario files: place, message, fix.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::check::check;
use super::params::{combinations, fill};
use super::raw::{RawScenario, strict};
use super::{FormatError, Located, Scenario};

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
      help: did you mean 'timeline'? known: azure, cluster, controller, epoch, expect, faults, horizon, load, manifests, matrix, name, params, region, seed, sweep, timeline, worlds
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
      help: did you mean 'pods.running'? known: nodes, nodes.ready, nodes.cordoned, claims, claims.ready, pods, pods.running, pods.pending, vms, nics, disks, cost, events, conditions, launches,
            terminations, preemptions, evictions, requests
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

/// The catalogue's folder.
fn catalog() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog")
}

/// What the schema and the reader each say about a text.
fn both(text: &str, folder: &Path) -> (bool, bool) {
    let by_reader = Scenario::parse_all("x.yaml", text, folder, &BTreeMap::new()).is_ok();
    let mut tree = Located::parse(text).expect("YAML");
    let case = combinations("x.yaml", text, &tree, &BTreeMap::new()).expect("parameters");
    fill("x.yaml", text, &mut tree, &case[0].values).expect("parameters");
    (check(&tree, strict(), text).is_empty(), by_reader)
}

#[test]
fn schema_and_reader_agree_on_the_catalogue() {
    let mut count = 0;
    for entry in std::fs::read_dir(catalog()).expect("the catalogue") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a text");
        let error = Scenario::load_all(&path, &BTreeMap::new()).err();
        let error = error.map(|error| error.render()).unwrap_or_default();
        assert_eq!(both(&text, &catalog()), (true, true), "{error}");
        count += 1;
    }
    assert!(count >= 25, "{count} scenarios");
}

#[test]
fn what_the_schema_refuses_no_type_reads() {
    let cases = [
        "azure: {latency: slow}",
        "azure: {capacity: [{size: Standard_D2s_v5}]}",
        "azure: {quota: {regionl: 5}}",
        "azure: {spot: {evictionNoticeSeconds: -1}}",
        "cluster: {systemPool: {count: many}}",
        "cluster: {timings: slow}",
        "worlds: [pipe]",
        "sweep: perhaps",
        "seed: -1",
        "load: [{name: x, constant: -1}]",
        "load: [{name: x, diurnal: {low: 1}}]",
        "load: [{name: x, poisson: {perHour: 3, lifetime: 5}}]",
        "timeline: [{at: 1m, scale: {name: x}}]",
        "timeline: [{at: 1m, set-capacity: {size: x, available: 3, zones: 1}}]",
        "timeline: [{at: 1m, partition: {from: mars, lasts: 1m}}]",
        "timeline: [{scale: {name: x, replicas: 1}}]",
        "expect: [{eventually: 5, within: 1m}]",
        "expect: [{eventually: {cell: x}, within: 1m}]",
        "expect: [{eventualy: nodes == 1, within: 1m}]",
        "faults: {requests: [{kind: latncy}]}",
    ];
    for case in cases {
        let text = format!("# P.\nname: x\n{case}\n");
        let tree = Located::parse(&text).expect(case);
        assert!(
            !check(&tree, strict(), &text).is_empty(),
            "{case} passes the schema"
        );
        let read: Result<RawScenario, _> = serde_json::from_value(tree.value());
        let number = case.contains("lifetime");
        assert!(read.is_err() || number, "{case} can be read");
    }
}

#[test]
fn the_clouds_schema_has_the_clouds_fields() {
    let config = fake_arm_cloud::CloudConfig {
        capacity: vec![fake_arm_cloud::CapacityOverride {
            size: "*".to_owned(),
            zone: Some("1".to_owned()),
            capacity_type: Some(fake_arm_cloud::CapacityType::Spot),
            available: 1,
            refusal: Some(fake_arm_cloud::Refusal::AllocationFailed),
        }],
        ..fake_arm_cloud::CloudConfig::default()
    };
    let written = serde_json::to_value(&config).expect("JSON");
    let schema = &strict()["properties"]["azure"]["anyOf"][0];
    let mut missing = Vec::new();
    compare(&written, schema, "azure", &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

/// Both have the same keys, all the way down.
fn compare(value: &Value, schema: &Value, path: &str, missing: &mut Vec<String>) {
    if let Some(schema) = schema["anyOf"].get(0) {
        return compare(value, schema, path, missing);
    }
    if let Some(items) = value.as_array() {
        for item in items {
            compare(item, &schema["items"], path, missing);
        }
    }
    let (Some(map), Some(known)) = (value.as_object(), schema["properties"].as_object()) else {
        return;
    };
    for (key, value) in map {
        match known.get(key) {
            Some(schema) => compare(value, schema, &format!("{path}.{key}"), missing),
            None => missing.push(format!("{path}.{key}")),
        }
    }
    // An absent secret is not written.
    let unwritten = known
        .keys()
        .filter(|key| !map.contains_key(*key) && *key != "clientSecret");
    missing.extend(unwritten.map(|key| format!("{path}.{key} in the schema only")));
}

#[test]
fn the_published_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/scenario.json");
    let published = std::fs::read_to_string(path).unwrap_or_default();
    let current = format!("{:#}\n", super::schema());
    assert!(
        published == current,
        "write it with: nap schema scenario > scenarios/schema/scenario.json"
    );
}

#[test]
fn several_mistakes_are_told_at_once() {
    let error = refused(
        "# P.\nname: x\nseed: many\ntimelime: []\nexpect:\n  - {eventually: nodes == 1, within: 5}\n",
    );
    assert_eq!(error.more.len(), 2, "{}", error.render());
    let error = refused(
        "# P.\nname: X\nhorizon: soon\ntimeline:\n  - {at: 1m, scale: {name: a, replicas: 1}}\n  \
         - {at: later, delete: {kind: Pod, name: a}}\nexpect:\n  - {never: nods > 1}\n",
    );
    let places: Vec<usize> = std::iter::once(&error)
        .chain(&error.more)
        .map(|error| error.place.line)
        .collect();
    assert_eq!(places, [2, 6, 3, 8], "{}", error.render());
}

#[test]
fn steps_name_objects_that_exist_by_then() {
    let error = refused(
        "# P.\nname: x\nload: [{name: web, constant: 1}]\ntimeline:\n  - {at: 1m, scale: {name: wbe, replicas: 3}}\n",
    );
    insta::assert_snapshot!(error.render(), @r"
    x.yaml:5:28: there is no Deployment 'wbe' in namespace default by then
       ╭─[x.yaml:5:28]
     3 │ load: [{name: web, constant: 1}]
     4 │ timeline:
     5 │   - {at: 1m, scale: {name: wbe, replicas: 3}}
       ·                            ─┬─
       ·                             ╰── here
       ╰────
      help: did you mean 'web'? known: web
    ");
}

#[test]
fn rates_and_ranges_say_what_they_need() {
    let mistakes = [
        "{atMost: 3, of: nodes, per: 1m}",
        "{atMost: 3, of: launchs, per: 1m}",
        "{atMost: 3, of: launches}",
        "{stays: nodes}",
        "{stays: cost, max: 0.12345678}",
        "{always: nodes == 1, within: 1m}",
        "{eventually: {cel: 'nods.size() == 1'}, within: 1m}",
        "{}",
    ];
    let errors = mistakes.map(|text| {
        let error = refused(&format!("# P.\nname: x\nexpect:\n  - {text}\n"));
        let help = error.help.as_deref().unwrap_or_default();
        format!("{} {error} ({help})", error.place.column)
    });
    insta::assert_snapshot!(errors.join("\n"), @r"
    21 'nodes' is no counter: it also falls (counters: events, launches, terminations, preemptions, evictions, requests; for others write 'stays' with 'max')
    21 unknown observable 'launchs' (did you mean 'launches'? known: nodes, nodes.ready, nodes.cordoned, claims, claims.ready, pods, pods.running, pods.pending, vms, nics, disks, cost, events, conditions, launches, terminations, preemptions, evictions, requests)
    5 'atMost' needs 'of' and 'per' (for example '{atMost: 3, of: launches, per: 10m}')
    5 'stays' needs 'min', 'max' or both (for example '{stays: nodes, min: 1, max: 5}')
    24 no value for cost (an amount in US dollars per hour with at most six decimals, such as 0.25)
    34 'within' belongs to 'eventually' (remove it, or write 'eventually')
    25 unknown name 'nods' in CEL (did you mean 'nodes'? known: nodes, claims, pools, pods, vms, nics, disks, cost, time)
    5 an expectation has exactly one of eventually, always, never, atMost, stays (for example 'eventually: pods.running == 10' with 'within: 5m')
    ");
}

#[test]
fn waits_move_what_follows_them() {
    let scenario = parse(
        "# P.\nname: x\ntimeline:\n  - at: 1m\n    wait-until: {condition: nodes == 0, within: 5m}\n  \
         - {at: +30s, crash-controller: {}}\n  - {at: 20m, crash-controller: {}}\n",
    )
    .expect("valid");
    let times: Vec<(u64, u64)> = scenario
        .timeline
        .iter()
        .map(|step| (step.at.as_secs(), step.latest.as_secs()))
        .collect();
    assert_eq!(times, [(60, 360), (90, 390), (1200, 1200)]);
    assert_eq!(scenario.horizon, Duration::from_mins(30));
}

#[test]
fn a_partition_needs_links() {
    let text =
        "# P.\nname: x\nworlds: [discrete]\ntimeline:\n  - {at: 1m, partition: {lasts: 1m}}\n";
    let error = refused(text);
    assert!(error.message.contains("no links"), "{error}");
    let scenario = parse(&text.replace("worlds: [discrete]\n", "")).expect("valid");
    assert_eq!(scenario.worlds, [super::World::Pipes]);
    assert_eq!(scenario.timeline.len(), 2);
}

#[test]
fn one_file_serves_several_times() {
    let text = "# P.\nname: x\nparams: {capacity: spot}\nmanifests:\n  - {file: manifests/one-kind.yaml, with: {pool: a}}\n  \
                - {file: manifests/one-kind.yaml, with: {pool: b, capacity: on-demand}}\n";
    let scenario = Scenario::parse("x.yaml", text, &catalog()).expect("valid");
    let names: Vec<&str> = scenario
        .manifests
        .iter()
        .filter(|manifest| manifest.object["kind"] == "NodePool")
        .filter_map(|manifest| manifest.object["metadata"]["name"].as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let kinds = |index: usize| {
        let spec = &scenario.manifests[index].object["spec"]["template"]["spec"];
        spec["requirements"][0]["values"][0].clone()
    };
    assert_eq!((kinds(0), kinds(2)), ("spot".into(), "on-demand".into()));
}
