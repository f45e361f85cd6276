//! How many pods the controllers of pods want.

use std::collections::BTreeMap;

use crate::api::{Change, Object, Resource};
use crate::object::{Controller, controller_of, number};

#[derive(Debug)]
struct Scale {
    resource: Resource,
    replicas: i64,
    controller: Option<Controller>,
}

/// Controllers by uid.
#[derive(Debug, Default)]
pub(super) struct Scales(BTreeMap<String, Scale>);

impl Scales {
    pub(super) fn clear(&mut self, resource: Resource) {
        self.0.retain(|_, scale| scale.resource != resource);
    }

    /// Takes a change in; answers whether a size changed.
    pub(super) fn see(&mut self, resource: Resource, change: Change, object: &Object) -> bool {
        if change == Change::Deleted {
            return self.0.remove(object.uid()).is_some();
        }
        let value = object.value();
        let replicas = number(&value["spec"]["replicas"]);
        let scale = Scale {
            resource,
            replicas,
            controller: controller_of(value),
        };
        let old = self.0.insert(object.uid().to_owned(), scale);
        old.is_none_or(|old| old.replicas != replicas)
    }

    /// The controller that holds the size for a pod's owner: a Deployment stands behind its
    /// `ReplicaSets`.
    pub(super) fn size(&self, owner: &Controller) -> Result<(String, i64), String> {
        let scale = self.0.get(&owner.uid).ok_or_else(|| {
            let group = owner
                .api_version
                .split_once('/')
                .map_or("", |(group, _)| group);
            let dot = if group.is_empty() { "" } else { "." };
            format!(
                "{}{dot}{group} does not implement the scale subresource",
                plural(&owner.kind)
            )
        })?;
        if let Some(above) = &scale.controller
            && let Some(deployment) = self.0.get(&above.uid)
        {
            return Ok((above.uid.clone(), deployment.replicas));
        }
        Ok((owner.uid.clone(), scale.replicas))
    }
}

/// The usual plural of a kind, as messages spell resources.
fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    if lower.ends_with('s') {
        format!("{lower}es")
    } else {
        format!("{lower}s")
    }
}
