//! Label selectors (`metav1.LabelSelector`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{LabelSelector, SelectorOperator};

impl LabelSelector {
    /// Whether all expressions hold for the labels; a selector without expressions matches all.
    pub fn matches(&self, labels: &BTreeMap<Arc<str>, Arc<str>>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            let listed = value.is_some_and(|value| requirement.values.contains(value));
            match requirement.operator {
                SelectorOperator::In => listed,
                SelectorOperator::NotIn => !listed,
                SelectorOperator::Exists => value.is_some(),
                SelectorOperator::DoesNotExist => value.is_none(),
            }
        })
    }
}
