//! Expressions over what can be observed: `pods(app=inflate).running == 10 && cost < 0.5`.
//!
//! An observable counts objects (or sums money); filters in parentheses narrow it; a comparison
//! with a whole number (or an amount in US dollars per hour for `cost`) makes it true or false.

use crate::format::cel::Cel;
use crate::format::observable::{Kind, OBSERVABLES, Observable, Row, row};
use crate::format::suggest;

/// `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// A filter of the observable, or a label.
    pub key: String,
    /// What it must equal.
    pub value: String,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<=`
    AtMost,
    /// `>=`
    AtLeast,
    /// `<`
    Less,
    /// `>`
    Greater,
}

const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Operator {
    /// Whether `left OP right` holds.
    pub fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::AtMost => left <= right,
            Self::AtLeast => left >= right,
            Self::Less => left < right,
            Self::Greater => left > right,
        }
    }
}

/// `observable(filters) operator value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// What is counted.
    pub observable: Observable,
    /// All must match.
    pub filters: Vec<Filter>,
    /// How it is compared.
    pub operator: Operator,
    /// With what: a count, or micro-dollars per hour for `cost`.
    pub value: i64,
    /// As written.
    pub text: String,
}

/// Comparisons that must all hold, and CEL that must, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// Joined by `&&`.
    pub all: Vec<Comparison>,
    /// A free expression.
    pub cel: Option<Cel>,
    /// As written.
    pub text: String,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    /// Byte offset and length in the text.
    pub at: (usize, usize),
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Expression {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let mut all = Vec::new();
        let mut start = 0;
        for part in text.split("&&") {
            all.push(comparison(part, start)?);
            start += part.len() + 2;
        }
        Ok(Self {
            all,
            cel: None,
            text: text.to_owned(),
        })
    }

    /// Reads an expression in CEL.
    pub fn cel(text: &str) -> Result<Self, ExpressionError> {
        Ok(Self {
            all: Vec::new(),
            cel: Some(Cel::compile(text)?),
            text: text.to_owned(),
        })
    }

    /// Reads an observable with its filters, and compares it with all of `bounds`.
    pub(crate) fn bounded(text: &str, bounds: &[(Operator, i64)]) -> Result<Self, ExpressionError> {
        let (observable, _, filters) = subject(text, 0)?;
        let all = bounds.iter().map(|(operator, value)| Comparison {
            observable,
            filters: filters.clone(),
            operator: *operator,
            value: *value,
            text: text.trim().to_owned(),
        });
        Ok(Self {
            all: all.collect(),
            cel: None,
            text: text.trim().to_owned(),
        })
    }
}

impl Comparison {
    /// How the observable moves.
    pub(crate) fn kind(&self) -> Kind {
        row(self.observable).kind
    }
}

/// Only counters grow at a rate.
pub(crate) fn counters() -> Vec<&'static str> {
    let counters = OBSERVABLES.iter().filter(|row| row.kind == Kind::Counter);
    counters.map(|row| row.name).collect()
}

fn fail<T>(
    at: (usize, usize),
    message: impl Into<String>,
    help: impl Into<String>,
) -> Result<T, ExpressionError> {
    Err(ExpressionError {
        at,
        message: message.into(),
        help: help.into(),
    })
}

fn comparison(part: &str, start: usize) -> Result<Comparison, ExpressionError> {
    let indent = part.len() - part.trim_start().len();
    let whole = (start + indent, part.trim().len());
    let (split, token, operator) = find_operator(part).map_or_else(
        || {
            fail(
                whole,
                format!("no comparison in '{}'", part.trim()),
                "compare with a number, for example 'pods.running == 10' (==, !=, <, <=, >, >=)",
            )
        },
        Ok,
    )?;
    let (left, right) = (
        &part.get(..split).unwrap_or_default(),
        part.get(split + token.len()..).unwrap_or_default(),
    );
    let (observable, name, filters) = subject(left, start)?;
    let money = observable == Observable::Cost;
    let number = right.trim();
    let at = start + split + token.len() + (right.len() - right.trim_start().len());
    let value = if money {
        micro_dollars(number)
    } else {
        number.parse().ok()
    };
    let Some(value) = value else {
        let help = if money {
            "an amount in US dollars per hour with at most six decimals, for example 0.25"
        } else {
            "a whole number, for example 10"
        };
        return fail(
            (at, number.len()),
            format!("'{number}' is no value for {name}"),
            help,
        );
    };
    Ok(Comparison {
        observable,
        filters,
        operator,
        value,
        text: part.trim().to_owned(),
    })
}

/// The operator outside parentheses: `=` inside them belongs to filters.
fn find_operator(part: &str) -> Option<(usize, &'static str, Operator)> {
    let mut depth = 0_u32;
    for (index, character) in part.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => {
                let rest = part.get(index..)?;
                if let Some((token, operator)) =
                    OPERATORS.iter().find(|(token, _)| rest.starts_with(token))
                {
                    return Some((index, token, *operator));
                }
            }
            _ => {}
        }
    }
    None
}

fn subject(left: &str, start: usize) -> Result<(Observable, String, Vec<Filter>), ExpressionError> {
    let at = start + (left.len() - left.trim_start().len());
    let left = left.trim();
    let (head, inner, tail) = match (left.find('('), left.rfind(')')) {
        (Some(open), Some(close)) if open < close => (
            left.get(..open).unwrap_or_default(),
            left.get(open + 1..close).unwrap_or_default(),
            left.get(close + 1..).unwrap_or_default(),
        ),
        (None, None) => (left, "", ""),
        _ => {
            return fail(
                (at, left.len()),
                "unbalanced parentheses",
                "write pods(app=web).running",
            );
        }
    };
    let name = format!("{}{}", head.trim(), tail.trim());
    let Some(row) = OBSERVABLES.iter().find(|row| row.name == name) else {
        let names = OBSERVABLES.iter().map(|row| row.name);
        let near = suggest::nearest(&name, names.clone())
            .map(|near| format!("did you mean '{near}'? "))
            .unwrap_or_default();
        let names: Vec<&str> = names.collect();
        return fail(
            (at, left.len()),
            format!("unknown observable '{name}'"),
            format!("{near}known: {}", names.join(", ")),
        );
    };
    let mut filters = Vec::new();
    for item in inner
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let Some((key, value)) = item.split_once('=') else {
            return fail(
                (at, left.len()),
                format!("'{item}' is no filter"),
                "write key=value",
            );
        };
        let (key, value) = (key.trim(), value.trim());
        check_filter(key, row, (at, left.len()))?;
        filters.push(Filter {
            key: key.to_owned(),
            value: value.to_owned(),
        });
    }
    Ok((row.observable, name, filters))
}

/// Unknown keys are labels where objects have labels; elsewhere they are mistakes.
fn check_filter(key: &str, row: &Row, at: (usize, usize)) -> Result<(), ExpressionError> {
    let known = row.filters;
    if known.contains(&key) || (row.labels && !key.is_empty()) {
        return Ok(());
    }
    let near = suggest::nearest(key, known.iter().copied())
        .map(|near| format!("did you mean '{near}'? "))
        .unwrap_or_default();
    fail(
        at,
        format!("{} has no filter '{key}'", row.name),
        format!("{near}known: {}", known.join(", ")),
    )
}

/// Dollars as micro-dollars.
pub(crate) fn micro_dollars(text: &str) -> Option<i64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 6 || !decimals.chars().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let padded: i64 = format!("{decimals:0<6}").parse().ok()?;
    whole.checked_mul(1_000_000)?.checked_add(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_filters_and_conjunctions() {
        let expression =
            Expression::parse("pods(app=inflate,namespace=default).running == 10 && cost <= 0.25")
                .expect("valid");
        assert_eq!(expression.all.len(), 2);
        assert_eq!(expression.all[0].observable, Observable::PodsRunning);
        assert_eq!(expression.all[0].filters.len(), 2);
        assert_eq!(expression.all[1].value, 250_000);
        assert!(expression.all[1].operator.holds(250_000, 250_000));
    }

    #[test]
    fn errors_name_place_and_fix() {
        let error = Expression::parse("pods.runing == 10").expect_err("misspelt");
        assert!(
            error.help.starts_with("did you mean 'pods.running'?"),
            "{}",
            error.help
        );
        let error = Expression::parse("nodes == ten").expect_err("no number");
        assert_eq!(error.at, (9, 3));
        let error = Expression::parse("events(reasn=X) > 0").expect_err("unknown filter");
        assert!(error.help.contains("'reason'"));
        assert!(Expression::parse("nodes").is_err());
        assert!(Expression::parse("").is_err());
        assert!(Expression::parse("nodes) == 1").is_err());
    }
}
