//! Whether a claim still matches what its pool asks for (Karpenter
//! `pkg/controllers/nodeclaim/disruption/drift.go`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::age::after;
use crate::labels;
use crate::model::{InstanceType, NodePool};
use crate::requirements::{Requirement, Requirements, UndefinedKeys};

/// Age from which a claim's instance type is looked up in the catalogue: a provider may need
/// that long to list what it has just launched.
const INSTANCE_TYPE_CHECK_AGE: Duration = Duration::from_hours(1);

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftReason {
    /// The pool's template.
    NodePoolDrifted,
    /// The pool's requirements no longer allow the node's labels.
    RequirementsDrifted,
    /// The instance type, or its offering, is no longer sold.
    InstanceTypeNotFound,
}

impl DriftReason {
    /// The condition's reason and message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodePoolDrifted => "NodePoolDrifted",
            Self::RequirementsDrifted => "RequirementsDrifted",
            Self::InstanceTypeNotFound => "InstanceTypeNotFound",
        }
    }
}

/// What drift looks at.
#[derive(Clone, Copy, Debug)]
pub struct DriftView<'a> {
    /// The claim's labels.
    pub labels: &'a BTreeMap<Arc<str>, Arc<str>>,
    /// The claim's `karpenter.sh/nodepool-hash`; `None` when the hash, or its version, is missing
    /// or of another version than the pool's: then hashes say nothing.
    pub hash: Option<&'a str>,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
}

/// Whether a launched claim has drifted from its pool. What the provider knows (images, NodeClass)
/// is asked separately, when this says `None`.
pub fn drifted(
    claim: &DriftView<'_>,
    pool: &NodePool,
    instance_types: &[InstanceType],
    now: Timestamp,
) -> Option<DriftReason> {
    if claim.hash.is_some_and(|hash| *hash != *pool.hash) {
        return Some(DriftReason::NodePoolDrifted);
    }
    let labels = Requirements::from_labels(claim.labels);
    let wanted = Requirements::from_specs(&pool.requirements);
    if labels.compatible(&wanted, UndefinedKeys::Denied).is_err() {
        return Some(DriftReason::RequirementsDrifted);
    }
    let old = now >= after(claim.created, INSTANCE_TYPE_CHECK_AGE);
    (old && !is_sold(claim, &labels, instance_types)).then_some(DriftReason::InstanceTypeNotFound)
}

fn is_sold(claim: &DriftView<'_>, labels: &Requirements, types: &[InstanceType]) -> bool {
    let Some(name) = claim.labels.get(labels::INSTANCE_TYPE) else {
        return false;
    };
    types
        .iter()
        .filter(|it| *it.name.as_str() == **name)
        .flat_map(|it| &it.offerings)
        .any(|o| {
            let mut offered = Requirements::from_specs(&o.requirements);
            offered.add(labels::ZONE.into(), Requirement::one_of([o.zone.shared()]));
            let capacity_type = Requirement::one_of([Arc::from(o.capacity_type.as_str())]);
            offered.add(labels::CAPACITY_TYPE.into(), capacity_type);
            labels
                .compatible(&offered, UndefinedKeys::WellKnownAllowed)
                .is_ok()
        })
}
