//! The rules, each on one file or on the list of files.

use super::has_extension;

/// Lines of a Rust file; longer ones are hard to hold in mind. About 500, and room for the formatter.
const LINES_MAX: usize = 550;

/// Longer files, with the reason.
const LONG_FILES: &[(&str, &str)] = &[
    (
        "controller/core/src/scheduling/tests/pinned.rs",
        "a list of fixtures, one per numbered behaviour",
    ),
    (
        "controller/core/src/scheduling/topology/state.rs",
        "counts and the three rules that read them",
    ),
    (
        "fake-apiserver/src/auth/bootstrap.rs",
        "a table of the default roles",
    ),
    (
        "fake-apiserver/src/table/printers.rs",
        "a table of columns, one entry per kind",
    ),
];

/// The one file that may.
const UNSAFE_FILE: &str = "scenarios/src/bin/nap/interposer.rs";

/// Texts of others, kept as they are.
const FOREIGN: &[&str] = &["LICENSE", "Cargo.lock"];

/// Unfinished work, and what it is called here; in halves, so that this file passes.
const UNFINISHED: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("XX", "X:"),
];

/// Names that say nothing: types and modules are called after what they own.
const EMPTY_NAMES: &[&str] = &[
    "Manager", "Helper", "Helpers", "Util", "Utils", "Common", "Misc",
];

/// Rules for every text file.
pub(super) fn check_text(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if FOREIGN.contains(&path) || is_data(path) {
        return complaints;
    }
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.ends_with([' ', '\t']) {
            complaints.push(format!("{path}:{number}: trailing white space"));
        }
        if line.contains('\r') {
            complaints.push(format!("{path}:{number}: carriage return"));
        }
        if line.contains(concat!("/work", "/")) {
            complaints.push(format!("{path}:{number}: a path of one machine"));
        }
        for word in UNFINISHED.iter().filter(|word| line.contains(*word)) {
            complaints.push(format!("{path}:{number}: unfinished: {word}"));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        complaints.push(format!("{path}: no newline at the end"));
    }
    let is_scenario = path.starts_with("scenarios/catalog/") && has_extension(path, "yaml");
    if is_scenario && !text.lines().next().is_some_and(is_sentence_comment) {
        complaints.push(format!(
            "{path}:1: the first line must be a comment that says what it proves"
        ));
    }
    complaints
}

fn is_sentence_comment(line: &str) -> bool {
    line.strip_prefix('#')
        .is_some_and(|text| text.trim().len() >= 10)
}

/// Recorded or generated; not written by hand.
fn is_data(path: &str) -> bool {
    let folders = [
        "/data/",
        "/fixtures/",
        "/recordings/",
        "/snapshots/",
        "/seeds/",
    ];
    folders.iter().any(|folder| path.contains(folder))
}

/// Rules for Rust files.
pub(super) fn check_rust(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let n_lines = text.lines().count();
    let is_long = LONG_FILES.iter().any(|(listed, _)| *listed == path);
    if n_lines > LINES_MAX && !is_long {
        complaints.push(format!(
            "{path}: {n_lines} lines; more than {LINES_MAX} need a reason (tidy/rules.rs)"
        ));
    }
    if path.ends_with("src/lib.rs") && !text.contains("//! # Invariants") {
        complaints.push(format!("{path}: its documentation has no `# Invariants`"));
    }
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        if path != UNSAFE_FILE && is_unsafe(code) {
            complaints.push(format!(
                "{path}:{number}: unsafe code belongs into {UNSAFE_FILE}"
            ));
        }
        if let Some(name) = empty_name(code) {
            complaints.push(format!(
                "{path}:{number}: {name} says nothing; name it after what it owns"
            ));
        }
    }
    complaints
}

/// Whether code opens something unsafe; attributes and lint names do not.
fn is_unsafe(code: &str) -> bool {
    [
        "unsafe {",
        "unsafe fn ",
        "unsafe impl ",
        "unsafe extern ",
        "unsafe trait ",
        "#[unsafe(",
    ]
    .iter()
    .any(|form| code.starts_with(form) || code.contains(&format!(" {form}")))
}

/// The name a type or module is given, when it says nothing.
fn empty_name(code: &str) -> Option<&str> {
    let code = code
        .strip_prefix("pub ")
        .or_else(|| code.strip_prefix("pub(crate) "))
        .unwrap_or(code);
    let (keyword, rest) = code.split_once(' ')?;
    if !["struct", "enum", "trait", "mod", "type"].contains(&keyword) {
        return None;
    }
    let name = rest
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()?;
    let is_empty = EMPTY_NAMES
        .iter()
        .any(|empty| name.ends_with(empty) || (keyword == "mod" && name == empty.to_lowercase()));
    is_empty.then_some(name)
}

/// Decision records are numbered from 0001 without gaps.
pub(super) fn check_decisions(files: &[String]) -> Vec<String> {
    let records = files
        .iter()
        .filter_map(|path| path.strip_prefix("ci/decisions/"));
    let records = records.filter(|name| *name != "README.md" && !name.contains("TEMPLATE"));
    let mut complaints = Vec::new();
    for (index, name) in records.enumerate() {
        let expected = format!("{:04}-", index + 1);
        let is_markdown = has_extension(name, "md");
        if !name.starts_with(&expected) || !is_markdown {
            complaints.push(format!("ci/decisions/{name}: expected {expected}*.md"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_unfinished_or_untidy() {
        let text = format!("a \n{}\nlast", concat!("to", "do!()"));
        assert_eq!(check_text("x.rs", &text).len(), 3);
        assert_eq!(
            check_text("fake-arm/data/x.json", &text),
            Vec::<String>::new()
        );
        assert_eq!(check_text("scenarios/catalog/a.yaml", "name: a\n").len(), 1);
        assert!(check_text("scenarios/catalog/a.yaml", "# Pods become nodes.\n").is_empty());
    }

    #[test]
    fn finds_unsafe_code_and_empty_names() {
        let block = concat!("unsa", "fe { 1 }");
        let code = format!("let x = {block};\npub struct PodManager;\nmod utils;\nstruct Lease;\n");
        assert_eq!(check_rust("a/src/x.rs", &code).len(), 3);
        assert_eq!(check_rust(UNSAFE_FILE, block), Vec::<String>::new());
        assert_eq!(check_rust("a/src/lib.rs", "//! Docs.\n").len(), 1);
    }

    #[test]
    fn decisions_are_numbered() {
        let files = |names: &[&str]| -> Vec<String> {
            names
                .iter()
                .map(|name| format!("ci/decisions/{name}"))
                .collect()
        };
        assert!(check_decisions(&files(&["0001-a.md", "0002-b.md", "README.md"])).is_empty());
        assert_eq!(
            check_decisions(&files(&["0001-a.md", "0003-b.md"])).len(),
            1
        );
    }
}
