//! The committed files are current and readable.

use std::path::PathBuf;

use super::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("crds")
}

#[test]
fn committed_files_are_current() {
    for crd in crds() {
        let path = folder().join(file_name(&crd));
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == yaml(&crd),
            "{} is out of date: run `cargo xtask gen-crds`",
            path.display()
        );
    }
}

#[test]
fn yaml_quotes_what_needs_quotes() {
    for (text, expected) in [
        ("plain", "plain"),
        ("karpenter.sh/v1", "karpenter.sh/v1"),
        ("10%", "\"10%\""),
        ("0s", "\"0s\""),
        ("no", "\"no\""),
        ("", "\"\""),
        ("a: b", "\"a: b\""),
    ] {
        assert_eq!(scalar(text), expected);
    }
}
