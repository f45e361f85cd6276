//! What a predicate may know of the past.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::observe::Mirror;
use crate::observe::resources;

/// Names and times that the present alone does not show.
#[derive(Debug, Default)]
pub struct History {
    /// When each NodeClaim that is gone went.
    pub claims_gone: BTreeMap<String, Timestamp>,
    /// When each object first asked to be deleted, as `Kind/name`.
    pub deleting_since: BTreeMap<String, Timestamp>,
    /// How long leftovers may exist: one period of the controller's garbage collection and one
    /// pass of the world.
    pub grace: Duration,
}

impl History {
    /// A history that allows leftovers this long.
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            ..Self::default()
        }
    }

    /// Takes note of the present.
    pub fn observe(&mut self, now: Timestamp, objects: &Mirror, gone: &[String]) {
        for name in gone {
            self.claims_gone.entry(name.clone()).or_insert(now);
        }
        for (kind, resource) in [
            ("NodeClaim", resources::CLAIMS),
            ("Node", resources::NODES),
            ("NodePool", resources::POOLS),
            ("AKSNodeClass", resources::CLASSES),
        ] {
            for object in objects.all(resource) {
                if !object.value()["metadata"]["deletionTimestamp"].is_null() {
                    let key = format!("{kind}/{}/{}", object.namespace(), object.name());
                    self.deleting_since.entry(key).or_insert(now);
                }
            }
        }
    }

    /// Whether something that began at `since` is older than the grace.
    pub fn is_overdue(&self, since: Timestamp, now: Timestamp) -> bool {
        Duration::try_from(now.duration_since(since)).is_ok_and(|age| age > self.grace)
    }
}
