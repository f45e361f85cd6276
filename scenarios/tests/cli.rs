//! Exit codes and error messages of `nap sim`.

use std::path::Path;
use std::process::Command;

fn sim(text: &[u8]) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("x.yaml");
    std::fs::write(&file, text).expect("writable");
    let output = Command::new(env!("CARGO_BIN_EXE_nap"))
        .args(["sim", "x.yaml", "--report", "report"])
        .current_dir(folder.path())
        .output()
        .expect("nap runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("an exit code"), said)
}

#[test]
fn malformed_scenarios_exit_2_and_name_the_place() {
    let cases: [(&[u8], &str); 8] = [
        (b"", "x.yaml:1:1:"),
        (
            b"# P.\nname: x\nname: y\n",
            "x.yaml:3:1: duplicate key 'name'",
        ),
        (b"# P.\nname: x\nseed: many\n", "x.yaml:3:7:"),
        (b"# P.\nname: x\nexpcet: []\n", "did you mean 'expect'?"),
        (b"\x7fELF\x00\x01", "x.yaml:1:5:"),
        (b"# P.\nname: x\nhorizon: later\n", "x.yaml:3:10:"),
        (
            b"# P.\nname: x\nazure:\n  capacity:\n    - {size: Standard_D4as_v9, available: 0}\n",
            "x.yaml:5:",
        ),
        (
            b"# P.\nname: x\ncontroller:\n  settings: {BATCH_IDLE: 2s}\n",
            "did you mean BATCH_IDLE_DURATION?",
        ),
    ];
    for (text, expected) in cases {
        let (code, said) = sim(text);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(expected), "expected {expected} in:\n{said}");
    }
}

#[test]
fn a_manifest_that_the_server_refuses_exits_2_at_its_field() {
    let text = "\
# P.
name: x
manifests:
  - apiVersion: karpenter.sh/v1
    kind: NodePool
    metadata: {name: a}
    spec:
      template:
        spec:
          nodeClassRef: {group: karpenter.azure.com, kind: AKSNodeClass, name: default}
          requirements:
            - {key: kubernetes.io/arch, operator: Inside, values: [amd64]}
";
    let (code, said) = sim(text.as_bytes());
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("x.yaml:12:") && said.contains("Inside"),
        "{said}"
    );
}

#[test]
fn a_failed_expectation_exits_1_with_the_way_to_reproduce_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("x.yaml");
    let text = "# P.\nname: x\nhorizon: 1m\nexpect:\n  - eventually: nodes == 1\n    within: 30s\n";
    std::fs::write(&file, text).expect("writable");
    let report = folder.path().join("report");
    let output = Command::new(env!("CARGO_BIN_EXE_nap"))
        .arg("sim")
        .arg(&file)
        .arg("--report")
        .arg(&report)
        .arg("--junit")
        .arg(folder.path().join("junit.xml"))
        .output()
        .expect("nap runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("reproduce: '") && said.contains("' sim '"),
        "{said}"
    );
    assert!(said.contains("nodes == 1 (is 0)"), "{said}");
    let junit = std::fs::read_to_string(folder.path().join("junit.xml")).expect("written");
    assert!(junit.contains("failures=\"1\""), "{junit}");
    assert!(Path::new(&report).join("report.html").is_file());
}
