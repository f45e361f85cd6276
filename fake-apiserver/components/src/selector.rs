//! Label selectors (`metav1.LabelSelector`) and node selector terms.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::{entries, items, text};

/// One requirement on a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
    /// An operator nobody knows matches nothing.
    Never,
}

impl Requirement {
    fn read(expression: &Value) -> Self {
        Self {
            key: text(&expression["key"]).to_owned(),
            operator: match text(&expression["operator"]) {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                "Gt" => Operator::Gt,
                "Lt" => Operator::Lt,
                _ => Operator::Never,
            },
            values: items(&expression["values"])
                .iter()
                .map(|v| text(v).to_owned())
                .collect(),
        }
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let listed = || value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => self
                .compare(value)
                .is_some_and(|(label, bound)| label > bound),
            Operator::Lt => self
                .compare(value)
                .is_some_and(|(label, bound)| label < bound),
            Operator::Never => false,
        }
    }

    fn compare(&self, value: Option<&String>) -> Option<(i64, i64)> {
        Some((value?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

/// A conjunction of requirements on labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selector(Vec<Requirement>);

impl Selector {
    /// Reads a `LabelSelector`. An absent one selects nothing, an empty one everything.
    pub(crate) fn read(selector: &Value) -> Option<Self> {
        if !selector.is_object() {
            return None;
        }
        let mut all = Self::equal(&selector["matchLabels"]);
        all.0.extend(
            items(&selector["matchExpressions"])
                .iter()
                .map(Requirement::read),
        );
        Some(all)
    }

    /// Equality on each entry of a map, as in `nodeSelector`.
    pub(crate) fn equal(map: &Value) -> Self {
        Self(
            entries(map)
                .map(|(key, value)| Requirement {
                    key: key.clone(),
                    operator: Operator::In,
                    values: vec![text(value).to_owned()],
                })
                .collect(),
        )
    }

    /// Reads `matchExpressions` or `matchFields` of a node selector term.
    pub(crate) fn expressions(list: &Value) -> Self {
        Self(items(list).iter().map(Requirement::read).collect())
    }

    /// Adds `key in [value]`.
    pub(crate) fn and_equal(&mut self, key: &str, value: &str) {
        self.0.push(Requirement {
            key: key.to_owned(),
            operator: Operator::In,
            values: vec![value.to_owned()],
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }

    /// For `matchFields` on `metadata.name`: the one name it asks for.
    pub(crate) fn single_name(&self) -> Option<&str> {
        match self.0.as_slice() {
            [
                Requirement {
                    key,
                    operator: Operator::In,
                    values,
                },
            ] if key == "metadata.name" && values.len() == 1 => values.first().map(String::as_str),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_match_as_documented() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let check = |selector: Value| Selector::read(&selector).map(|s| s.matches(&labels));
        assert_eq!(check(json!(null)), None);
        assert_eq!(check(json!({})), Some(true));
        assert_eq!(check(json!({"matchLabels": {"a": "2"}})), Some(false));
        let expression = |operator: &str, values: Value| {
            check(
                json!({"matchExpressions": [{"key": "a", "operator": operator, "values": values}]}),
            )
        };
        assert_eq!(expression("In", json!(["1", "3"])), Some(true));
        assert_eq!(expression("NotIn", json!(["1"])), Some(false));
        assert_eq!(expression("Gt", json!(["0"])), Some(true));
        assert_eq!(expression("Lt", json!(["x"])), Some(false));
        assert_eq!(expression("Near", json!([])), Some(false));
    }
}
