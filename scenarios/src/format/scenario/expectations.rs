//! What must come true, and the conditions in it.

use std::time::Duration;

use crate::format::error::FormatError;
use crate::format::expression::{Expression, ExpressionError, Operator, counters, micro_dollars};
use crate::format::observable::Kind;
use crate::format::raw::{RawAmount, RawCondition, RawExpectation, Span};
use crate::format::scenario::read::{AFTERMATH, Reader, gather};
use crate::format::scenario::{Expectation, Modality};

/// A window of an expectation: its start and end.
type Window = (Duration, Duration);

impl Reader<'_> {
    /// How long the run lasts: what is written down, and some time after it.
    pub(super) fn horizon(
        &self,
        given: Option<&Span>,
        expect: &[RawExpectation],
        last: Duration,
    ) -> Result<Duration, FormatError> {
        match given {
            Some(text) => self.duration("horizon", &text.0),
            None => Ok(last.max(self.ends(expect)) + AFTERMATH),
        }
    }

    /// When the last window ends; durations that cannot be read are found later.
    fn ends(&self, expect: &[RawExpectation]) -> Duration {
        let part = |text: Option<&Span>| {
            text.and_then(|text| self.duration("expect", &text.0).ok())
                .unwrap_or_default()
        };
        expect
            .iter()
            .map(|entry| {
                let end = part(entry.after.as_ref()) + part(entry.within.as_ref());
                end.max(part(entry.until.as_ref()))
            })
            .max()
            .unwrap_or_default()
    }

    pub(super) fn expectations(
        &self,
        raw: &[RawExpectation],
        horizon: Duration,
    ) -> Result<Vec<Expectation>, FormatError> {
        gather(
            raw.iter().enumerate().map(|(index, entry)| {
                self.expectation(entry, &format!("expect[{index}]"), horizon)
            }),
        )
    }

    fn expectation(
        &self,
        raw: &RawExpectation,
        path: &str,
        horizon: Duration,
    ) -> Result<Expectation, FormatError> {
        let given = [
            raw.eventually.is_some(),
            raw.always.is_some(),
            raw.never.is_some(),
            raw.at_most.is_some(),
            raw.stays.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err(self
                .error(
                    path,
                    "an expectation has exactly one of eventually, always, never, atMost, stays",
                )
                .help("for example 'eventually: pods.running == 10' with 'within: 5m'"));
        }
        self.check_companions(raw, path)?;
        let (from, to) = self.window(raw, path, horizon)?;
        let conditions = [
            (Modality::Eventually, "eventually", &raw.eventually),
            (Modality::Always, "always", &raw.always),
            (Modality::Never, "never", &raw.never),
        ];
        let condition = conditions
            .into_iter()
            .find_map(|(modality, key, condition)| Some((modality, key, condition.as_ref()?)));
        let (modality, expression) = match (condition, raw.at_most, &raw.stays) {
            (Some((modality, key, condition)), ..) => (
                modality,
                self.condition(&format!("{path}.{key}"), condition)?,
            ),
            (_, Some(count), _) => self.at_most(raw, count, path)?,
            (.., Some(observable)) => self.stays(raw, observable, path)?,
            _ => unreachable!("one of them was counted"),
        };
        Ok(Expectation {
            modality,
            expression,
            from,
            to,
            path: path.to_owned(),
        })
    }

    /// Keys that mean nothing beside the others.
    fn check_companions(&self, raw: &RawExpectation, path: &str) -> Result<(), FormatError> {
        let companions = [
            (
                "within",
                raw.within.is_some(),
                raw.eventually.is_some(),
                "eventually",
            ),
            ("of", raw.of.is_some(), raw.at_most.is_some(), "atMost"),
            ("per", raw.per.is_some(), raw.at_most.is_some(), "atMost"),
            ("min", raw.min.is_some(), raw.stays.is_some(), "stays"),
            ("max", raw.max.is_some(), raw.stays.is_some(), "stays"),
        ];
        for (key, given, belongs, owner) in companions {
            if given && !belongs {
                return Err(self
                    .error(
                        &format!("{path}.{key}"),
                        format!("'{key}' belongs to '{owner}'"),
                    )
                    .help(format!("remove it, or write '{owner}'")));
            }
        }
        if raw.eventually.is_some() && (raw.within.is_none() || raw.until.is_some()) {
            return Err(self
                .error(path, "'eventually' needs 'within' and takes no 'until'")
                .help("add for example 'within: 5m'"));
        }
        Ok(())
    }

    fn window(
        &self,
        raw: &RawExpectation,
        path: &str,
        horizon: Duration,
    ) -> Result<Window, FormatError> {
        let at = |name: &str, text: &Option<Span>| {
            text.as_ref()
                .map(|text| self.duration(&format!("{path}.{name}"), &text.0))
                .transpose()
        };
        let from = at("after", &raw.after)?.unwrap_or_default();
        let to = match at("within", &raw.within)? {
            Some(within) => from + within,
            None => at("until", &raw.until)?.unwrap_or(horizon),
        };
        if to > horizon || from > to {
            return Err(self
                .error(
                    path,
                    "the window of the expectation does not lie inside the run",
                )
                .help("raise 'horizon' or shorten the window"));
        }
        Ok((from, to))
    }

    /// Of any window of this length.
    fn at_most(
        &self,
        raw: &RawExpectation,
        count: u32,
        path: &str,
    ) -> Result<(Modality, Expression), FormatError> {
        let (Some(counter), Some(per)) = (&raw.of, &raw.per) else {
            return Err(self
                .error(path, "'atMost' needs 'of' and 'per'")
                .help("for example '{atMost: 3, of: launches, per: 10m}'"));
        };
        let key = format!("{path}.of");
        let bounds = [(Operator::AtMost, i64::from(count))];
        let expression =
            Expression::bounded(counter, &bounds).map_err(|error| self.located(&key, error))?;
        if expression.all.iter().any(|it| it.kind() != Kind::Counter) {
            let message = format!("'{counter}' is no counter: it also falls");
            return Err(self.error(&key, message).help(format!(
                "counters: {}; for others write 'stays' with 'max'",
                counters().join(", ")
            )));
        }
        let per = self.duration(&format!("{path}.per"), &per.0)?;
        Ok((Modality::AtMost { per }, expression))
    }

    fn stays(
        &self,
        raw: &RawExpectation,
        observable: &str,
        path: &str,
    ) -> Result<(Modality, Expression), FormatError> {
        let key = format!("{path}.stays");
        let failed = |error| self.located(&key, error);
        let probe = Expression::bounded(observable, &[(Operator::AtLeast, 0)]).map_err(failed)?;
        let money = probe.all.iter().any(|it| it.kind() == Kind::Money);
        let mut bounds = Vec::new();
        let given = [
            ("min", Operator::AtLeast, &raw.min),
            ("max", Operator::AtMost, &raw.max),
        ];
        for (name, operator, amount) in given {
            let Some(amount) = amount else { continue };
            let value = amount_of(amount, money).ok_or_else(|| {
                self.error(
                    &format!("{path}.{name}"),
                    format!("no value for {observable}"),
                )
                .help(if money {
                    "an amount in US dollars per hour with at most six decimals, such as 0.25"
                } else {
                    "a whole number, for example 10"
                })
            })?;
            bounds.push((operator, value));
        }
        if bounds.is_empty() {
            return Err(self
                .error(path, "'stays' needs 'min', 'max' or both")
                .help("for example '{stays: nodes, min: 1, max: 5}'"));
        }
        let mut expression = Expression::bounded(observable, &bounds).map_err(failed)?;
        let words = given
            .iter()
            .filter_map(|(name, _, amount)| Some(format!("{name} {}", shown(amount.as_ref()?))));
        let words: Vec<String> = words.collect();
        expression.text = format!("{} ({})", observable.trim(), words.join(", "));
        Ok((Modality::Stays, expression))
    }

    /// A condition of an expectation or a step.
    pub(super) fn condition(
        &self,
        path: &str,
        condition: &RawCondition,
    ) -> Result<Expression, FormatError> {
        match condition {
            RawCondition::Text(text) => {
                Expression::parse(text).map_err(|error| self.located(path, error))
            }
            RawCondition::Cel(cel) => Expression::cel(&cel.cel)
                .map_err(|error| self.located(&format!("{path}.cel"), error)),
        }
    }

    fn located(&self, path: &str, error: ExpressionError) -> FormatError {
        let whole = self.source.place(path);
        let place = whole.inside(error.at.0, error.at.1, &self.source.text);
        FormatError::at(&self.source.file, &self.source.text, place, error.message).help(error.help)
    }
}

fn shown(amount: &RawAmount) -> String {
    match amount {
        RawAmount::Whole(number) => number.to_string(),
        RawAmount::Fraction(number) => number.to_string(),
        RawAmount::Text(text) => text.clone(),
    }
}

fn amount_of(amount: &RawAmount, money: bool) -> Option<i64> {
    let text = shown(amount);
    if money {
        micro_dollars(&text)
    } else {
        text.parse().ok()
    }
}
