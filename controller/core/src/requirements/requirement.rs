//! The values one label may have.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{Operator, RequirementSpec};

/// The values that one label may have: some values, or all but some, within integer bounds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    complement: bool,
    values: BTreeSet<Arc<str>>,
    at_least: Option<i64>,
    at_most: Option<i64>,
    min_values: Option<u32>,
}

impl Requirement {
    /// The label is present.
    pub const fn exists() -> Self {
        Self {
            complement: true,
            values: BTreeSet::new(),
            at_least: None,
            at_most: None,
            min_values: None,
        }
    }

    /// The label is absent.
    pub fn does_not_exist() -> Self {
        Self {
            complement: false,
            ..Self::exists()
        }
    }

    /// The label is one of the values; absent when there is none.
    pub fn one_of(values: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self {
            values: values.into_iter().collect(),
            ..Self::does_not_exist()
        }
    }

    /// The label is none of the values.
    pub fn none_of(values: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self {
            values: values.into_iter().collect(),
            ..Self::exists()
        }
    }

    /// Reads a requirement as written. A bound whose value is no integer allows nothing, because
    /// validation has refused it before.
    pub fn from_spec(spec: &RequirementSpec) -> Self {
        Self::from_spec_of(&spec.key, spec)
    }

    /// The same for the key that the spec's key means.
    pub(crate) fn from_spec_of(key: &str, spec: &RequirementSpec) -> Self {
        let values = || {
            spec.values
                .iter()
                .map(|v| crate::labels::canonical_value(key, v))
        };
        let bound = || {
            spec.values
                .first()
                .and_then(|value| value.parse::<i64>().ok())
        };
        let at_least = |n: Option<i64>| {
            n.map_or(Self::does_not_exist(), |n| Self {
                at_least: Some(n),
                ..Self::exists()
            })
        };
        let at_most = |n: Option<i64>| {
            n.map_or(Self::does_not_exist(), |n| Self {
                at_most: Some(n),
                ..Self::exists()
            })
        };
        let requirement = match spec.operator {
            Operator::In => Self::one_of(values()),
            Operator::NotIn => Self::none_of(values()),
            Operator::Exists => Self::exists(),
            Operator::DoesNotExist => Self::does_not_exist(),
            Operator::Gt => at_least(bound().and_then(|n| n.checked_add(1))),
            Operator::Gte => at_least(bound()),
            Operator::Lt => at_most(bound().and_then(|n| n.checked_sub(1))),
            Operator::Lte => at_most(bound()),
        };
        Self {
            min_values: spec.min_values,
            ..requirement
        }
    }

    /// Whether the label may have this value.
    pub fn has(&self, value: &str) -> bool {
        self.complement != self.values.contains(value) && self.within_bounds(value)
    }

    /// `In`, `NotIn`, `Exists` (also with bounds) or `DoesNotExist`.
    pub fn operator(&self) -> Operator {
        match (self.complement, self.values.is_empty()) {
            (true, true) => Operator::Exists,
            (true, false) => Operator::NotIn,
            (false, true) => Operator::DoesNotExist,
            (false, false) => Operator::In,
        }
    }

    /// An absent label would do: `NotIn` or `DoesNotExist`.
    pub fn allows_absence(&self) -> bool {
        matches!(self.operator(), Operator::NotIn | Operator::DoesNotExist)
    }

    /// The listed values: allowed ones of `In`, excluded ones of `NotIn`.
    pub fn values(&self) -> &BTreeSet<Arc<str>> {
        &self.values
    }

    /// All values but the listed ones are allowed.
    pub fn is_complement(&self) -> bool {
        self.complement
    }

    /// Inclusive bounds.
    pub fn bounds(&self) -> (Option<i64>, Option<i64>) {
        (self.at_least, self.at_most)
    }

    /// Distinct values that must stay possible.
    pub fn min_values(&self) -> Option<u32> {
        self.min_values
    }

    /// Sets the number of distinct values that must stay possible.
    pub fn set_min_values(&mut self, min_values: Option<u32>) {
        self.min_values = min_values;
    }

    /// Values that both allow.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let at_least = self.at_least.max(other.at_least);
        let at_most = min_present(self.at_most, other.at_most);
        let min_values = self.min_values.max(other.min_values);
        if at_least.zip(at_most).is_some_and(|(low, high)| low > high) {
            return Self {
                min_values,
                ..Self::does_not_exist()
            };
        }
        let complement = self.complement && other.complement;
        let merged: BTreeSet<Arc<str>> = match (self.complement, other.complement) {
            (true, true) => self.values.union(&other.values).cloned().collect(),
            (true, false) => other.values.difference(&self.values).cloned().collect(),
            (false, true) => self.values.difference(&other.values).cloned().collect(),
            (false, false) => self.values.intersection(&other.values).cloned().collect(),
        };
        let mut result = Self {
            complement,
            values: merged,
            at_least,
            at_most,
            min_values,
        };
        let bounded = result.clone();
        result.values.retain(|value| bounded.within_bounds(value));
        if !complement {
            result.at_least = None;
            result.at_most = None;
        }
        result
    }

    /// Whether some value is allowed by both.
    pub fn has_intersection(&self, other: &Self) -> bool {
        let at_least = self.at_least.max(other.at_least);
        let at_most = min_present(self.at_most, other.at_most);
        if at_least.zip(at_most).is_some_and(|(low, high)| low > high) {
            return false;
        }
        match (self.complement, other.complement) {
            (true, true) => true,
            (false, _) => self
                .values
                .iter()
                .any(|v| self.within_bounds(v) && other.has(v)),
            (true, false) => other
                .values
                .iter()
                .any(|v| other.within_bounds(v) && self.has(v)),
        }
    }

    /// A concrete value when exactly one is allowed.
    pub fn single_value(&self) -> Option<&Arc<str>> {
        if self.complement || self.values.len() > 1 {
            None
        } else {
            self.values.first()
        }
    }

    /// As the API writes it: at most two entries (both bounds).
    pub fn to_specs(&self, key: &Arc<str>) -> Vec<RequirementSpec> {
        let spec = |operator, values: Vec<Arc<str>>| RequirementSpec {
            key: Arc::clone(key),
            operator,
            values,
            min_values: self.min_values,
        };
        let number = |n: i64| vec![Arc::from(n.to_string())];
        let mut specs = Vec::new();
        if let Some(low) = self.at_least {
            specs.push(spec(Operator::Gte, number(low)));
        }
        if let Some(high) = self.at_most {
            specs.push(spec(Operator::Lte, number(high)));
        }
        // Beside a bound, `Exists` says nothing more; excluded values do.
        if specs.is_empty() || !self.values.is_empty() {
            specs.push(spec(self.operator(), self.values.iter().cloned().collect()));
        }
        specs
    }

    fn within_bounds(&self, value: &str) -> bool {
        if self.at_least.is_none() && self.at_most.is_none() {
            return true;
        }
        value.parse::<i64>().is_ok_and(|n| {
            self.at_least.is_none_or(|low| n >= low) && self.at_most.is_none_or(|high| n <= high)
        })
    }
}

impl fmt::Display for Requirement {
    /// `In [a b]`, at most five values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operator().as_str())?;
        if !self.values.is_empty() {
            let shown: Vec<&str> = self.values.iter().take(5).map(|v| &**v).collect();
            write!(f, " [{}", shown.join(" "))?;
            match self.values.len().saturating_sub(5) {
                0 => f.write_str("]")?,
                more => write!(f, " and {more} others]")?,
            }
        }
        if let Some(low) = self.at_least {
            write!(f, " >={low}")?;
        }
        if let Some(high) = self.at_most {
            write!(f, " <={high}")?;
        }
        if let Some(min) = self.min_values {
            write!(f, " minValues {min}")?;
        }
        Ok(())
    }
}

fn min_present(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
