//! Expectations over time: when each was decided, and how.

use std::collections::VecDeque;
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
    /// Values of a counter at the instants at which it changed, the oldest still needed first.
    values: VecDeque<(Duration, i64)>,
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
                    values: VecDeque::new(),
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
            let holds = match expectation.modality {
                Modality::AtMost { per } => {
                    let comparison = expectation.expression.all.first();
                    let grown = comparison.map_or(0, |it| {
                        grown(&mut tracked.values, (now, per), evaluate(it, observation))
                    });
                    comparison.is_none_or(|it| grown <= it.value)
                }
                _ => holds(&expectation.expression, observation),
            };
            let ok = match (expectation.modality, inside, holds) {
                (Modality::Eventually, true, true) => Some(true),
                (Modality::Eventually, _, _) if now >= expectation.to => Some(false),
                (Modality::Eventually, ..) => None,
                (Modality::Never, true, true) => Some(false),
                (Modality::Always | Modality::AtMost { .. } | Modality::Stays, true, false) => {
                    Some(false)
                }
                _ if now >= expectation.to => Some(true),
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

/// By how much a counter has grown in the window that ends now; `values` remembers.
fn grown(
    values: &mut VecDeque<(Duration, i64)>,
    (now, per): (Duration, Duration),
    value: i64,
) -> i64 {
    let begin = now.saturating_sub(per);
    // The newest value at or before the beginning of the window is where it starts from.
    while values.get(1).is_some_and(|(at, _)| *at <= begin) {
        values.pop_front();
    }
    if values.back().is_none_or(|(_, last)| *last != value) {
        values.push_back((now, value));
    }
    value - values.front().map_or(value, |(_, first)| *first)
}

fn seen(expectation: &Expectation, observation: &Observation<'_>) -> String {
    if let Some(cel) = &expectation.expression.cel {
        return match super::cel::value(cel, observation) {
            Ok(value) => format!("{} (is {value})", cel.text()),
            Err(error) => format!("{} ({error})", cel.text()),
        };
    }
    let mut parts: Vec<String> = Vec::new();
    for comparison in &expectation.expression.all {
        let value = evaluate(comparison, observation);
        let part = format!(
            "{} (is {})",
            comparison.text,
            shown(comparison.observable, value)
        );
        // Both bounds of a range are about the same observable.
        if parts.last() != Some(&part) {
            parts.push(part);
        }
    }
    parts.join(" && ")
}

fn shown(observable: crate::format::Observable, value: i64) -> String {
    if observable == crate::format::Observable::Cost {
        format!("{}.{:06}", value / 1_000_000, value % 1_000_000)
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_judged_over_any_window() {
        let mut values = VecDeque::new();
        let mut at = |minute: u64, value: i64| {
            let window = (Duration::from_mins(minute), Duration::from_mins(10));
            grown(&mut values, window, value)
        };
        assert_eq!(at(0, 0), 0);
        assert_eq!(at(1, 2), 2);
        assert_eq!(at(9, 3), 3);
        assert_eq!(at(12, 4), 2, "the first two are too long ago");
        assert_eq!(at(30, 4), 0);
    }
}
