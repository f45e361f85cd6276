//! A copy of the objects that runs are judged by, kept up to date from the store's history.

use std::collections::BTreeMap;
use std::sync::Arc;

use fake_apiserver_components::api::{Api, Change, Identity, Object, Resource, Status};
use serde_json::json;

use crate::observe::evaluate::conditions_of;

/// The resources that are mirrored.
pub mod resources {
    use fake_apiserver_components::api::Resource;

    const fn of(group: &'static str, version: &'static str, plural: &'static str) -> Resource {
        Resource {
            group,
            version,
            plural,
        }
    }

    /// Pods.
    pub const PODS: Resource = of("", "v1", "pods");
    /// Nodes.
    pub const NODES: Resource = of("", "v1", "nodes");
    /// Events of the core group.
    pub const EVENTS: Resource = of("", "v1", "events");
    /// Deployments.
    pub const DEPLOYMENTS: Resource = of("apps", "v1", "deployments");
    /// Disruption budgets of pods.
    pub const PDBS: Resource = of("policy", "v1", "poddisruptionbudgets");
    /// NodeClaims.
    pub const CLAIMS: Resource = of("karpenter.sh", "v1", "nodeclaims");
    /// NodePools.
    pub const POOLS: Resource = of("karpenter.sh", "v1", "nodepools");
    /// AKSNodeClasses.
    pub const CLASSES: Resource = of("karpenter.azure.com", "v1beta1", "aksnodeclasses");

    /// All, in the order in which they are read.
    pub const ALL: [Resource; 8] = [
        POOLS,
        CLASSES,
        CLAIMS,
        NODES,
        DEPLOYMENTS,
        PDBS,
        PODS,
        EVENTS,
    ];
}

/// One change, with what was there before.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Revision of the store.
    pub revision: u64,
    /// Which resource.
    pub resource: Resource,
    /// What happened.
    pub change: Change,
    /// What was there before.
    pub before: Option<Object>,
    /// What is there now; for a deletion, the last state.
    pub object: Object,
}

#[derive(Debug, Default)]
struct Shelf {
    since: Option<u64>,
    objects: BTreeMap<(String, String), Object>,
}

/// Objects by resource, namespace and name.
#[derive(Debug)]
pub struct Mirror {
    who: Identity,
    shelves: BTreeMap<Resource, Shelf>,
    revision: Option<u64>,
    /// Pods that were evicted, reduced to what filters ask for.
    evicted: Vec<Object>,
}

impl Default for Mirror {
    fn default() -> Self {
        Self::new()
    }
}

impl Mirror {
    /// Empty: nothing has been read.
    pub fn new() -> Self {
        let shelves = resources::ALL
            .into_iter()
            .map(|resource| (resource, Shelf::default()));
        Self {
            who: Identity::new("system:scenario", &["system:masters"]),
            shelves: shelves.collect(),
            revision: None,
            evicted: Vec::new(),
        }
    }

    /// Reads what has changed, oldest first.
    ///
    /// # Errors
    ///
    /// When the server refuses to list: the world is not set up as it should be.
    pub fn refresh(&mut self, api: &dyn Api) -> Result<Vec<Seen>, Status> {
        let newest = api.revision();
        if self.revision == Some(newest) {
            return Ok(Vec::new());
        }
        let mut seen = Vec::new();
        for resource in resources::ALL {
            let shelf = self.shelves.entry(resource).or_default();
            match shelf.since {
                None => shelf.list(api, &self.who, resource, &mut seen)?,
                Some(since) => shelf.follow(api, &self.who, resource, since, &mut seen)?,
            }
            if let Some(since) = &mut shelf.since {
                *since = (*since).max(newest);
            }
        }
        seen.sort_by_key(|change| change.revision);
        self.revision = Some(newest);
        let evicted = seen.iter().filter(|change| is_eviction(change));
        self.evicted
            .extend(evicted.map(|change| reduced(&change.object)));
        Ok(seen)
    }

    /// Pods that were ever evicted through the eviction API, with name, labels and node.
    pub fn evicted(&self) -> impl Iterator<Item = &Object> {
        self.evicted.iter()
    }

    /// The newest revision that was read.
    pub fn revision(&self) -> u64 {
        self.revision.unwrap_or_default()
    }

    /// All objects of a resource, by namespace and name.
    pub fn all(&self, resource: Resource) -> impl Iterator<Item = &Object> {
        self.shelves
            .get(&resource)
            .into_iter()
            .flat_map(|shelf| shelf.objects.values())
    }

    /// One object.
    pub fn get(&self, resource: Resource, namespace: &str, name: &str) -> Option<&Object> {
        let key = (namespace.to_owned(), name.to_owned());
        self.shelves.get(&resource)?.objects.get(&key)
    }
}

impl Shelf {
    fn list(
        &mut self,
        api: &dyn Api,
        who: &Identity,
        resource: Resource,
        seen: &mut Vec<Seen>,
    ) -> Result<(), Status> {
        let (objects, revision) = match api.list(who, resource) {
            Ok(listed) => listed,
            // The custom resource is not defined (yet).
            Err(status) if status.code == 404 => return Ok(()),
            Err(status) => return Err(status),
        };
        self.since = Some(revision);
        let mut old = std::mem::take(&mut self.objects);
        for object in objects {
            let key = key_of(&object);
            let before = old.remove(&key);
            self.objects.insert(key, object.clone());
            if before.as_ref() == Some(&object) {
                continue;
            }
            let change = if before.is_some() {
                Change::Modified
            } else {
                Change::Added
            };
            seen.push(Seen {
                revision: revision_of(&object).unwrap_or(revision),
                resource,
                change,
                before,
                object,
            });
        }
        // What a new list does not show is gone; the history that told when is compacted.
        seen.extend(old.into_values().map(|object| Seen {
            revision,
            resource,
            change: Change::Deleted,
            before: Some(object.clone()),
            object,
        }));
        Ok(())
    }

    fn follow(
        &mut self,
        api: &dyn Api,
        who: &Identity,
        resource: Resource,
        since: u64,
        seen: &mut Vec<Seen>,
    ) -> Result<(), Status> {
        let changes = match api.changes(who, resource, since) {
            Ok(changes) => changes,
            Err(status) if status.code == 404 => {
                *self = Self::default();
                return Ok(());
            }
            // History was compacted.
            Err(status) if status.code == 410 => return self.list(api, who, resource, seen),
            Err(status) => return Err(status),
        };
        for event in changes {
            let key = key_of(&event.object);
            let before = match event.change {
                Change::Deleted => self.objects.remove(&key),
                Change::Added | Change::Modified => self.objects.insert(key, event.object.clone()),
            };
            seen.push(Seen {
                revision: event.revision,
                resource,
                change: event.change,
                before,
                object: event.object,
            });
        }
        Ok(())
    }
}

/// Whether the change is the mark that the eviction API leaves on a pod.
fn is_eviction(change: &Seen) -> bool {
    let marked = |object: &Object| {
        conditions_of(object).any(|condition| {
            condition["type"] == "DisruptionTarget"
                && condition["reason"] == "EvictionByEvictionAPI"
        })
    };
    change.resource == resources::PODS
        && marked(&change.object)
        && !change.before.as_ref().is_some_and(marked)
}

fn reduced(pod: &Object) -> Object {
    let value = pod.value();
    Object::new(Arc::new(json!({
        "metadata": {
            "namespace": pod.namespace(),
            "name": pod.name(),
            "labels": value["metadata"]["labels"],
        },
        "spec": {"nodeName": value["spec"]["nodeName"]},
    })))
}

fn key_of(object: &Object) -> (String, String) {
    (object.namespace().to_owned(), object.name().to_owned())
}

fn revision_of(object: &Object) -> Option<u64> {
    object.value()["metadata"]["resourceVersion"]
        .as_str()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use fake_apiserver_components::api::{Request, WatchEvent};
    use jiff::Timestamp;
    use serde_json::Value;

    use super::*;

    /// A server that remembers no history.
    struct Forgetful {
        pods: Vec<Object>,
        revision: u64,
    }

    impl Api for Forgetful {
        fn call(&mut self, _: Timestamp, _: &Request) -> Result<Object, Status> {
            unreachable!("a mirror only reads")
        }

        fn list(&self, _: &Identity, resource: Resource) -> Result<(Vec<Object>, u64), Status> {
            let is_pods = resource == resources::PODS;
            let pods = self.pods.iter().filter(|_| is_pods).cloned().collect();
            Ok((pods, self.revision))
        }

        fn changes(&self, _: &Identity, _: Resource, _: u64) -> Result<Vec<WatchEvent>, Status> {
            Err(Status {
                code: 410,
                reason: "Expired".to_owned(),
                message: String::new(),
                retry_after_seconds: None,
            })
        }

        fn revision(&self) -> u64 {
            self.revision
        }
    }

    fn pod(name: &str, revision: u64) -> Object {
        let value: Value = json!({"metadata": {
            "namespace": "default", "name": name, "resourceVersion": revision.to_string(),
        }});
        Object::new(Arc::new(value))
    }

    #[test]
    fn a_compacted_history_hides_no_change_and_makes_none_up() {
        let mut mirror = Mirror::new();
        let mut seen = |pods: Vec<Object>, revision| {
            let api = Forgetful { pods, revision };
            let seen = mirror.refresh(&api).expect("listed");
            let line = |it: &Seen| {
                format!(
                    "{} {:?} {} before {}",
                    it.revision,
                    it.change,
                    it.object.name(),
                    it.before.is_some()
                )
            };
            seen.iter().map(line).collect::<Vec<_>>()
        };
        let first = vec![pod("gone", 1), pod("same", 2), pod("other", 3)];
        assert_eq!(
            seen(first, 5),
            [
                "1 Added gone before false",
                "2 Added same before false",
                "3 Added other before false"
            ]
        );
        let second = vec![pod("same", 2), pod("other", 7), pod("new", 8)];
        assert_eq!(
            seen(second, 9),
            [
                "7 Modified other before true",
                "8 Added new before false",
                "9 Deleted gone before true"
            ]
        );
    }
}
