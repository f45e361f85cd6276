//! The controller runs under exactly the rules it ships with: without any one of them, a run fails
//! and names what is missing.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use scenarios::format::Scenario;
use scenarios::world::discrete::{RunOptions, run};
use scenarios::world::ports::Finding;
use scenarios::world::setup::RBAC;
use serde_json::Value;

/// The shipped rules without the `index`-th rule, and that rule; `None` when there are fewer.
fn without(index: usize) -> Option<(String, Value)> {
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(RBAC).expect("YAML");
    let mut removed = None;
    let mut seen = 0;
    for document in &mut documents {
        let Some(rules) = document["rules"].as_array_mut() else {
            continue;
        };
        if (seen..seen + rules.len()).contains(&index) {
            removed = Some(rules.remove(index - seen));
            break;
        }
        seen += rules.len();
    }
    let texts: Vec<String> = documents.iter().map(Value::to_string).collect();
    removed.map(|rule| (texts.join("\n---\n"), rule))
}

fn words<'a>(rule: &'a Value, key: &str) -> Vec<&'a str> {
    rule[key]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Whether a refusal is about one of the resources and verbs of a rule.
fn names(message: &str, rule: &Value) -> bool {
    let resource = words(rule, "resources")
        .iter()
        .any(|resource| message.contains(&format!("resource \"{resource}\"")));
    resource
        && words(rule, "verbs")
            .iter()
            .any(|verb| message.contains(&format!("cannot {verb} ")))
}

fn check(scenario: &Scenario, index: usize) -> Result<(), String> {
    let (rbac, rule) = without(index).expect("the index was counted");
    let options = RunOptions {
        rbac: Some(rbac),
        ..RunOptions::default()
    };
    let outcome = run(scenario, &options).map_err(|error| error.to_string())?;
    let named = outcome.findings.iter().any(
        |finding| matches!(finding, Finding::Forbidden { message, .. } if names(message, &rule)),
    );
    if named {
        Ok(())
    } else {
        Err(format!("nobody misses {rule}: {:?}", outcome.failures()))
    }
}

#[test]
fn every_rule_is_needed_and_named_when_it_is_missing() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog/every-permission.yaml");
    let scenario = Scenario::load(&file).expect("a valid scenario");
    let whole = run(&scenario, &RunOptions::default()).expect("an outcome");
    assert!(whole.passed(), "{:?}", whole.failures());
    let count = (0..1_000)
        .take_while(|index| without(*index).is_some())
        .count();
    assert!(count > 15, "{count}");
    let (next, unneeded) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    if let Err(message) = check(&scenario, index) {
                        unneeded.lock().expect("nobody panics").push(message);
                    }
                }
            });
        }
    });
    let unneeded = unneeded.into_inner().expect("nobody panics");
    assert!(
        unneeded.is_empty(),
        "{} of {count} rules:\n{}",
        unneeded.len(),
        unneeded.join("\n")
    );
}
