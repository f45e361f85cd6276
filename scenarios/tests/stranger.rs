//! A stranger's path: take the template, edit it as the README says, run it.

use std::collections::BTreeMap;
use std::path::Path;

use scenarios::format::{FormatError, Scenario, TEMPLATE};
use scenarios::world::discrete::{RunOptions, run};

fn read(text: &str) -> Result<Scenario, FormatError> {
    Scenario::parse("mine.yaml", text, Path::new("."))
}

#[test]
fn the_template_is_short_and_runs() {
    assert!(TEMPLATE.lines().count() <= 15, "fifteen lines are promised");
    let scenario = read(TEMPLATE).expect("valid");
    let outcome = run(&scenario, &RunOptions::default()).expect("an outcome");
    assert!(outcome.passed(), "{:#?}", outcome.failures());
}

#[test]
fn an_edited_template_runs() {
    let text = TEMPLATE
        .replace("name: my-scenario", "name: three-small-pods")
        .replace("cpu: 1", "cpu: 250m");
    let set = BTreeMap::from([("pods".to_owned(), "3".to_owned())]);
    let cases = Scenario::parse_all("mine.yaml", &text, Path::new("."), &set).expect("valid");
    let outcome = run(&cases[0], &RunOptions::default()).expect("an outcome");
    assert!(outcome.passed(), "{:#?}", outcome.failures());
    assert!(
        outcome.verdicts[0].what.contains("== 3"),
        "{:?}",
        outcome.verdicts
    );
}

#[test]
fn a_typo_suggests_the_right_word() {
    for (right, wrong) in [
        ("timeline:", "timelime:"),
        ("constant:", "konstant:"),
        ("replicas: 0", "replica: 0"),
        ("pods(app", "pod(app"),
        ("\"${pods}\"", "\"${pod}\""),
        ("scale: {name: web", "scale: {name: wbe"),
    ] {
        let text = TEMPLATE.replacen(right, wrong, 1);
        assert_ne!(text, TEMPLATE, "{right}");
        let error = read(&text).expect_err(wrong);
        let help = error.help.as_deref().unwrap_or_default();
        assert!(
            help.starts_with("did you mean '"),
            "{wrong}: {}",
            error.render()
        );
    }
}
