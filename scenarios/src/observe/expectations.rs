//! Expectations over time: when each was decided, and how.

use std::time::Duration;

use crate::format::{Expectation, Modality};
use crate::observe::{Observation, evaluate, holds};

/// How an expectation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The expectation as a sentence.
    pub what: String,
    /// Its path in the file.
    pub path: String,
    /// Whether it was met.
    pub ok: bool,
    /// When that was certain.
    pub at: Duration,
    /// For a failure, what was seen instead.
    pub seen: String,
}

#[derive(Debug)]
struct Tracked {
    expectation: Expectation,
    verdict: Option<Verdict>,
}

/// All expectations of a run.
#[derive(Debug)]
pub struct Expectations(Vec<Tracked>);

impl Expectations {
    /// Nothing is decided yet.
    pub fn new(expectations: &[Expectation]) -> Self {
        Self(
            expectations
                .iter()
                .map(|expectation| Tracked {
                    expectation: expectation.clone(),
                    verdict: None,
                })
                .collect(),
        )
    }

    /// When something will be decided or begin to matter even if nothing happens: the next start
    /// or end of a window after `now`.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        let open = self.0.iter().filter(|tracked| tracked.verdict.is_none());
        open.flat_map(|tracked| [tracked.expectation.from, tracked.expectation.to])
            .filter(|at| *at > now)
            .min()
    }

    /// Looks at the world at `now`; answers with what was decided just now.
    ///
    /// Windows include both ends: a state that comes true exactly at the deadline counts.
    pub fn observe(&mut self, now: Duration, observation: &Observation<'_>) -> Vec<Verdict> {
        let mut decided = Vec::new();
        for tracked in self
            .0
            .iter_mut()
            .filter(|tracked| tracked.verdict.is_none())
        {
            let expectation = &tracked.expectation;
            if now < expectation.from {
                continue;
            }
            let inside = now <= expectation.to;
            let ok = match (
                expectation.modality,
                inside,
                holds(&expectation.expression, observation),
            ) {
                (Modality::Eventually, true, true) => Some(true),
                (Modality::Eventually, _, _) if now >= expectation.to => Some(false),
                (Modality::Always, true, false) | (Modality::Never, true, true) => Some(false),
                (Modality::Always | Modality::Never, _, _) if now >= expectation.to => Some(true),
                _ => None,
            };
            if let Some(ok) = ok {
                let verdict = Verdict {
                    what: expectation.describe(),
                    path: expectation.path.clone(),
                    ok,
                    at: now,
                    seen: seen(expectation, observation),
                };
                tracked.verdict = Some(verdict.clone());
                decided.push(verdict);
            }
        }
        decided
    }

    /// All verdicts in the order of the file; what is still open failed.
    pub fn finish(self, now: Duration) -> Vec<Verdict> {
        self.0
            .into_iter()
            .map(|tracked| {
                tracked.verdict.unwrap_or_else(|| Verdict {
                    what: tracked.expectation.describe(),
                    path: tracked.expectation.path.clone(),
                    ok: false,
                    at: now,
                    seen: "the run ended first".to_owned(),
                })
            })
            .collect()
    }
}

fn seen(expectation: &Expectation, observation: &Observation<'_>) -> String {
    let parts = expectation.expression.all.iter().map(|comparison| {
        let value = evaluate(comparison, observation);
        format!(
            "{} (is {})",
            comparison.text,
            shown(comparison.observable, value)
        )
    });
    parts.collect::<Vec<_>>().join(" && ")
}

fn shown(observable: crate::format::Observable, value: i64) -> String {
    if observable == crate::format::Observable::Cost {
        format!("{}.{:06}", value / 1_000_000, value % 1_000_000)
    } else {
        value.to_string()
    }
}
