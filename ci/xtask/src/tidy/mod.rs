//! What no compiler checks.

mod rules;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// All complaints.
pub(crate) fn run(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut complaints = Vec::new();
    for (path, text) in sources(root, "")? {
        complaints.extend(rules::check_text(&path, &text));
        if has_extension(&path, "rs") {
            complaints.extend(rules::check_rust(&path, &text));
        }
    }
    complaints.extend(rules::check_decisions(&files(root)?));
    complaints.extend(crate::crds::check(root));
    complaints.extend(crate::schemas::check(root));
    Ok(complaints)
}

/// Files of the repository, tracked or not, ignored ones left out; relative, sorted.
fn files(root: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git ls-files")?;
    ensure!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    let mut files: Vec<String> = text.lines().map(str::to_owned).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// Path and text of the files with that extension (empty: all that are text).
pub(crate) fn sources(root: &Path, extension: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut sources = Vec::new();
    for path in files(root)? {
        if !extension.is_empty() && !has_extension(&path, extension) {
            continue;
        }
        // Files that are gone but still tracked, and files that are not text.
        if let Ok(text) = std::fs::read_to_string(root.join(&path)) {
            sources.push((path, text));
        }
    }
    Ok(sources)
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}
