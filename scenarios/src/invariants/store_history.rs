//! The store's history is one that an API server may have.

use crate::world::facts::Change;
use serde_json::Value;

use super::{Findings, History, Invariant, When};
use crate::observe::{Observation, Seen};

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-STORE-HISTORY",
    doc: "revisions rise, identities stay, deletions are not taken back, and nothing goes that \
          still has finalizers",
    when: When::Fact,
    check,
};

fn check(_: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings::default();
    let mut newest = 0;
    for change in &history.facts.changes {
        findings.premises += 1;
        let name = || {
            format!(
                "{} {}/{} at revision {}",
                change.resource.plural,
                change.object.namespace(),
                change.object.name(),
                change.revision
            )
        };
        if change.revision < newest {
            findings.violation(format!("{}: an older revision after {newest}", name()));
        }
        newest = newest.max(change.revision);
        if let Some(wrong) = wrong_with(change) {
            findings.violation(format!("{}: {wrong}", name()));
        }
    }
    findings
}

fn wrong_with(change: &Seen) -> Option<&'static str> {
    let now = &change.object.value()["metadata"];
    let before = change
        .before
        .as_ref()
        .map(crate::world::facts::Object::value);
    match (change.change, before) {
        (Change::Added, Some(_)) => return Some("was created although it existed"),
        (Change::Modified | Change::Deleted, None) => return Some("changed without existing"),
        _ => {}
    }
    let before = &before?["metadata"];
    for key in ["uid", "creationTimestamp", "name", "namespace"] {
        if before[key] != now[key] {
            return Some("has another identity than before");
        }
    }
    if !before["deletionTimestamp"].is_null() && now["deletionTimestamp"].is_null() {
        return Some("is no longer being deleted");
    }
    let generation = |metadata: &Value| metadata["generation"].as_u64().unwrap_or_default();
    if generation(now) < generation(before) {
        return Some("has an older generation than before");
    }
    let waits = before["finalizers"].as_array().map_or(0, Vec::len) > 1;
    let left = now["finalizers"]
        .as_array()
        .is_some_and(|left| !left.is_empty());
    if change.change == Change::Deleted && waits && left {
        return Some("is gone although finalizers are left");
    }
    None
}
