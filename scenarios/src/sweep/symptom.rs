//! What a failed run shows, so that two runs can be said to fail for the same reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::world::Outcome;
use crate::world::discrete::RunError;
use crate::world::ports::Finding;

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Symptom {
    /// The reason, without what differs from run to run: `invariant no-leaked-nic`,
    /// `expect pods.running == 10`, `finding panic`.
    pub id: String,
    /// Virtual milliseconds since the start; absent where it is not known.
    pub at: Option<u64>,
    /// What was seen.
    pub message: String,
}

impl Symptom {
    /// Of a run without an outcome.
    pub fn of_error(error: &RunError) -> Self {
        let id = match error {
            RunError::Setup(_) => "no set-up",
            RunError::TooSlow(_) => "finding too-slow",
            RunError::Panicked(_) => "finding panic",
            RunError::Thread(_) => "no thread",
            RunError::NotSimulated(_) => "not simulated",
        };
        Self {
            id: id.to_owned(),
            at: None,
            message: error.to_string(),
        }
    }
}

/// Everything that went wrong, the first first: violations and broken expectations in the order of
/// time, then what was found besides.
pub fn symptoms(outcome: &Outcome) -> Vec<Symptom> {
    let mut timed: Vec<(Duration, Symptom)> = Vec::new();
    for violation in &outcome.violations {
        let id = format!("invariant {}", violation.id);
        timed.push((violation.at, symptom(id, violation.at, &violation.message)));
    }
    for verdict in outcome.verdicts.iter().filter(|verdict| !verdict.ok) {
        let id = format!("expect {}", expression(&verdict.what));
        timed.push((verdict.at, symptom(id, verdict.at, &verdict.seen)));
    }
    timed.sort_by_key(|(at, _)| *at);
    let found = outcome.findings.iter().map(|finding| Symptom {
        id: format!("finding {}", kind(finding)),
        at: None,
        message: finding.to_string(),
    });
    let timed = timed.into_iter().map(|(_, symptom)| symptom);
    timed.chain(found).collect()
}

fn symptom(id: String, at: Duration, message: &str) -> Symptom {
    Symptom {
        id,
        at: Some(u64::try_from(at.as_millis()).unwrap_or(u64::MAX)),
        message: message.to_owned(),
    }
}

/// The sentence of an expectation without its window: a longer one is the same reason.
fn expression(what: &str) -> &str {
    let windows = [" within ", " from ", " after "];
    let end = windows.iter().filter_map(|window| what.rfind(window)).min();
    end.and_then(|end| what.get(..end)).unwrap_or(what)
}

fn kind(finding: &Finding) -> &'static str {
    match finding {
        Finding::Panic { .. } => "panic",
        Finding::Exit { .. } => "exit",
        Finding::Forbidden { .. } => "forbidden",
        Finding::Leak { .. } => "leaked-tasks",
        Finding::Livelock { .. } => "livelock",
        Finding::TooSlow { .. } => "too-slow",
        Finding::World { .. } => "world",
    }
}

#[cfg(test)]
mod tests {
    use super::expression;

    #[test]
    fn windows_are_no_part_of_a_reason() {
        assert_eq!(
            expression("eventually pods.running == 10 within 3m after 0s"),
            "eventually pods.running == 10"
        );
        assert_eq!(expression("never vms > 5 from 0s to 10m"), "never vms > 5");
    }
}
