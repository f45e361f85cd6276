//! Label selectors.

use std::sync::Arc;

use controller_core::model::{LabelSelector, SelectorOperator, SelectorRequirement};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;

/// A selector as decisions see it. The API server validates operators; an unknown one makes the
/// selector match nothing, which is what `metav1.LabelSelectorAsSelector` callers do on error.
pub(crate) fn label_selector(selector: &ApiSelector) -> Option<LabelSelector> {
    let mut requirements = Vec::new();
    for (key, value) in selector.match_labels.iter().flatten() {
        requirements.push(SelectorRequirement {
            key: Arc::from(&**key),
            operator: SelectorOperator::In,
            values: vec![Arc::from(&**value)],
        });
    }
    for expression in selector.match_expressions.iter().flatten() {
        requirements.push(SelectorRequirement {
            key: Arc::from(&*expression.key),
            operator: match &*expression.operator {
                "In" => SelectorOperator::In,
                "NotIn" => SelectorOperator::NotIn,
                "Exists" => SelectorOperator::Exists,
                "DoesNotExist" => SelectorOperator::DoesNotExist,
                _ => return None,
            },
            values: expression
                .values
                .iter()
                .flatten()
                .map(|value| Arc::from(&**value))
                .collect(),
        });
    }
    requirements.sort();
    Some(LabelSelector { requirements })
}
