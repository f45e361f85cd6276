//! Same scenario, same seed, same trace: in two processes, on one, two and four threads, from
//! another directory with another environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn catalog(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("catalog")
        .join(name)
}

fn nap() -> Command {
    Command::new(env!("CARGO_BIN_EXE_nap"))
}

struct Run {
    folder: tempfile::TempDir,
}

impl Run {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    fn trace(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let trace = self.folder.path().join("trace.jsonl");
        let output = nap()
            .arg("sim")
            .arg(catalog("cheapest-sold-out.yaml"))
            .arg("--trace")
            .arg(&trace)
            .arg("--report")
            .arg(self.folder.path())
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(self.folder.path())
            .output()
            .expect("nap runs");
        assert!(output.status.success(), "{}", text(&output));
        std::fs::read_to_string(trace).expect("a trace")
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn assert_same(left: &str, right: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let difference = scenarios::trace::compare(&lines(left), &lines(right));
    assert_eq!(difference, None);
}

#[test]
fn two_processes_give_one_trace() {
    let first = Run::new().trace(&[], &[]);
    let elsewhere = [
        ("TZ", "Asia/Kathmandu"),
        ("HOME", "/nonexistent"),
        ("LANG", "C"),
    ];
    assert_same(&first, &Run::new().trace(&[], &elsewhere));
    // Neither seed nor paths leak into a trace.
    assert!(!first.contains("catalog"));
}

#[test]
fn seed_and_jitter_change_the_trace() {
    let first = Run::new().trace(&[], &[]);
    assert_ne!(first, Run::new().trace(&["--seed", "2"], &[]));
    assert_ne!(first, Run::new().trace(&["--no-jitter"], &[]));
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hashes = |jobs: &str| {
        let output = nap()
            .arg("sim")
            .args(
                [
                    "nothing-fits.yaml",
                    "cheapest-sold-out.yaml",
                    "spot-sold-out.yaml",
                ]
                .map(catalog),
            )
            .args(["--jobs", jobs, "-o", "json", "--report"])
            .arg(folder.path())
            .output()
            .expect("nap runs");
        assert!(output.status.success(), "{}", text(&output));
        let value: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("JSON on stdout");
        let results = value["scenarios"].as_array().expect("results").clone();
        let hashes: Vec<String> = results
            .iter()
            .map(|result| result["trace_hash"].to_string())
            .collect();
        let calls: Vec<u64> = results
            .iter()
            .filter_map(|result| result["ambient_calls"].as_u64())
            .collect();
        assert_eq!(calls, [0, 0, 0], "the interposer was needed");
        hashes
    };
    let one = hashes("1");
    assert_eq!(one.len(), 3);
    assert_eq!(one, hashes("2"));
    assert_eq!(one, hashes("4"));
}
