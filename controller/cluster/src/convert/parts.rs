//! Pieces that several kinds share: requirements, taints, resource lists, timestamps.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_api::karpenter::v1::{NodeRequirement, Operator as ApiOperator, ResourceList};
use controller_core::model::{Effect, Taint};
use controller_core::quantity::Resources;
use controller_core::requirements::{Operator, RequirementSpec};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Taint as ApiTaint;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};

/// A field that an object must not hold. The API server rejects such objects; this is what is
/// left when a field has no validation there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {field}: {problem}")]
pub struct Invalid {
    /// Kind and name.
    pub object: String,
    /// Path of the field.
    pub field: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// A problem in one field, before the object's name is known.
#[derive(Debug)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) problem: String,
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, problem: &impl ToString) -> Self {
        Self {
            field: field.into(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn of(self, kind: &str, name: &str) -> Invalid {
        Invalid {
            object: format!("{kind} {name}"),
            field: self.field,
            problem: self.problem,
        }
    }
}

/// Reads a resource list.
pub fn resources_from_list(list: &BTreeMap<String, Quantity>) -> Result<Resources, String> {
    Resources::from_quantities(list.iter().map(|(name, quantity)| (&**name, &*quantity.0)))
        .map_err(|error| error.to_string())
}

pub(crate) fn resources_at(
    field: &str,
    list: Option<&BTreeMap<String, Quantity>>,
) -> Result<Resources, FieldError> {
    list.map_or_else(
        || Ok(Resources::default()),
        |list| resources_from_list(list).map_err(|problem| FieldError::new(field, &problem)),
    )
}

/// Writes a resource list with canonical quantities.
pub fn resources_to_list(resources: &Resources) -> ResourceList {
    resources
        .to_quantities()
        .into_iter()
        .map(|(name, amount)| (name.to_string(), Quantity(amount)))
        .collect()
}

/// Requirements as decisions see them.
pub fn to_core_requirements(requirements: &[NodeRequirement]) -> Vec<RequirementSpec> {
    requirements
        .iter()
        .map(|requirement| RequirementSpec {
            key: Arc::from(&*requirement.key),
            operator: match requirement.operator {
                ApiOperator::In => Operator::In,
                ApiOperator::NotIn => Operator::NotIn,
                ApiOperator::Exists => Operator::Exists,
                ApiOperator::DoesNotExist => Operator::DoesNotExist,
                ApiOperator::Gt => Operator::Gt,
                ApiOperator::Lt => Operator::Lt,
                ApiOperator::Gte => Operator::Gte,
                ApiOperator::Lte => Operator::Lte,
            },
            values: requirement
                .values
                .iter()
                .map(|value| Arc::from(&**value))
                .collect(),
            // The schema keeps minValues between 1 and 50.
            min_values: requirement
                .min_values
                .and_then(|values| u32::try_from(values).ok()),
        })
        .collect()
}

/// Requirements as the API writes them.
pub fn from_core_requirements(requirements: &[RequirementSpec]) -> Vec<NodeRequirement> {
    requirements
        .iter()
        .map(|requirement| NodeRequirement {
            key: requirement.key.to_string(),
            operator: match requirement.operator {
                Operator::In => ApiOperator::In,
                Operator::NotIn => ApiOperator::NotIn,
                Operator::Exists => ApiOperator::Exists,
                Operator::DoesNotExist => ApiOperator::DoesNotExist,
                Operator::Gt => ApiOperator::Gt,
                Operator::Lt => ApiOperator::Lt,
                Operator::Gte => ApiOperator::Gte,
                Operator::Lte => ApiOperator::Lte,
            },
            values: requirement.values.iter().map(ToString::to_string).collect(),
            min_values: requirement
                .min_values
                .and_then(|values| i32::try_from(values).ok()),
        })
        .collect()
}

pub(crate) fn effect(text: &str) -> Option<Effect> {
    match text {
        "NoSchedule" => Some(Effect::NoSchedule),
        "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
        "NoExecute" => Some(Effect::NoExecute),
        _ => None,
    }
}

/// A taint as decisions see it; `None` for an effect that Kubernetes does not have.
pub fn to_core_taint(taint: &ApiTaint) -> Option<Taint> {
    Some(Taint {
        key: Arc::from(&*taint.key),
        value: Arc::from(taint.value.as_deref().unwrap_or_default()),
        effect: effect(&taint.effect)?,
    })
}

/// A taint as the API writes it.
pub fn from_core_taint(taint: &Taint) -> ApiTaint {
    ApiTaint {
        key: taint.key.to_string(),
        value: (!taint.value.is_empty()).then(|| taint.value.to_string()),
        effect: match taint.effect {
            Effect::NoSchedule => "NoSchedule",
            Effect::PreferNoSchedule => "PreferNoSchedule",
            Effect::NoExecute => "NoExecute",
        }
        .to_owned(),
        time_added: None,
    }
}

pub(crate) fn core_taints(taints: Option<&[ApiTaint]>) -> Vec<Taint> {
    taints
        .unwrap_or_default()
        .iter()
        .filter_map(to_core_taint)
        .collect()
}

pub(crate) fn shared_map(map: Option<&BTreeMap<String, String>>) -> BTreeMap<Arc<str>, Arc<str>> {
    map.into_iter()
        .flatten()
        .map(|(key, value)| (Arc::from(&**key), Arc::from(&**value)))
        .collect()
}

pub(crate) fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

pub(crate) fn is_true(map: Option<&BTreeMap<String, String>>, key: &str) -> bool {
    map.and_then(|map| map.get(key))
        .is_some_and(|value| value == "true")
}

pub(crate) fn controller_of(owners: Option<&[OwnerReference]>) -> Option<&OwnerReference> {
    owners
        .unwrap_or_default()
        .iter()
        .find(|owner| owner.controller == Some(true))
}
