//! The garbage collector, and the namespace controller on the same graph (kubernetes/kubernetes
//! `pkg/controller/garbagecollector`, `pkg/controller/namespace`).

mod graph;
mod namespaces;
mod resources;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::graph::{FOREGROUND, Graph, Item, ORPHAN, Owner};
use self::namespaces::Namespaces;
use self::resources::Resources;
use crate::api::{
    Change, Component, Event, Identity, Object, Operation, Request, Resource, Status,
};
use crate::kinds::{CRDS, NAMESPACES, identities};
use crate::options::Timings;
use crate::outbox::{Outbox, Target, delete_uid, merge, strategic};

/// Pause before a refused deletion is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How many owners are remembered as absent. Uids are never used twice, so this only bounds memory:
/// who is forgotten is looked up again.
const ABSENT_MAX: usize = 4096;

#[derive(Debug)]
enum Asked {
    /// Is this owner there? Which objects wait for the answer.
    Owner(String),
    Delete(String),
    /// A dependent let go of an owner that orphans.
    Release {
        owner: String,
    },
    Namespace(namespaces::Asked),
}

/// Both controllers.
#[derive(Debug)]
pub(crate) struct GarbageCollector {
    out: Outbox,
    resources: Resources,
    graph: Graph,
    namespaces: Namespaces,
    dirty: BTreeSet<String>,
    timers: BTreeSet<(Timestamp, String)>,
    /// Owners known not to exist.
    absent: BTreeSet<String>,
    /// Owners being looked up, with the objects that wait for it.
    lookups: BTreeMap<String, BTreeSet<String>>,
    /// Answers an orphaning owner waits for.
    releases: BTreeMap<String, usize>,
    asked: BTreeMap<u64, Asked>,
    now: Timestamp,
}

/// What the owners of an object are.
#[derive(Default)]
struct Owners {
    solid: usize,
    /// Uids of owners that do not exist.
    dangling: Vec<String>,
    /// Uids of owners that wait for their dependents to go.
    waiting: Vec<String>,
    /// Some owner is not known to be there or not.
    unknown: bool,
}

impl GarbageCollector {
    pub(crate) fn new(timings: &Timings) -> Self {
        Self {
            out: Outbox::new(identities::controller("generic-garbage-collector")),
            resources: Resources::new(),
            graph: Graph::default(),
            namespaces: Namespaces::new(timings.namespace_pass),
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            absent: BTreeSet::new(),
            lookups: BTreeMap::new(),
            releases: BTreeMap::new(),
            asked: BTreeMap::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn see(&mut self, now: Timestamp, resource: Resource, change: Change, object: &Object) {
        if resource == CRDS && change != Change::Deleted {
            self.resources.learn(object.value());
        }
        if resource == NAMESPACES {
            self.namespaces.see(now, change, object);
        }
        let uid = object.uid();
        if change == Change::Deleted {
            self.gone(uid);
            return;
        }
        let mut item = Item::read(resource, object);
        // Whoever waits to go is looked at after every change: a patch may have met a conflict.
        let mut interesting = item.is_foreground() || item.is_orphaning();
        match self.graph.get(uid) {
            Some(old) => {
                item.asked = old.asked && old.deleting == item.deleting;
                interesting |= old.owners != item.owners || old.deleting != item.deleting;
            }
            None => interesting |= !item.owners.is_empty(),
        }
        self.graph.insert(uid, item);
        if interesting {
            self.dirty.insert(uid.to_owned());
        }
    }

    /// An object is gone: its dependents may have to follow, its owners may stop waiting.
    fn gone(&mut self, uid: &str) {
        let dependents = self.graph.dependents(uid);
        if !dependents.is_empty() {
            self.remember_absent(uid);
        }
        self.dirty.extend(dependents);
        self.dirty.remove(uid);
        self.releases.remove(uid);
        let Some(item) = self.graph.remove(uid) else {
            return;
        };
        for owner in &item.owners {
            if self.graph.get(&owner.uid).is_some_and(Item::is_foreground) {
                self.dirty.insert(owner.uid.clone());
            }
        }
        if !item.key.namespace.is_empty() {
            self.namespaces.object_gone(&item.key.namespace);
        }
    }

    fn attempt(&mut self, uid: &str) {
        let Some(item) = self.graph.get(uid).cloned() else {
            return;
        };
        if item.is_orphaning() {
            self.orphan_dependents(uid, &item);
            return;
        }
        if item.is_foreground() {
            self.wait_for_dependents(uid, &item);
            return;
        }
        if item.deleting || item.owners.is_empty() || item.asked {
            return;
        }
        let owners = self.classify(uid, &item);
        if owners.unknown {
            return;
        }
        let mut stale = owners.dangling.clone();
        stale.extend(owners.waiting.iter().cloned());
        if owners.solid > 0 {
            if !stale.is_empty() {
                self.let_go(uid, &item, &stale);
            }
            return;
        }
        // Foreground owners hand their way of going down to dependents that own others.
        let policy = if !owners.waiting.is_empty() && !self.graph.dependents(uid).is_empty() {
            "Foreground"
        } else if item.holds(ORPHAN) {
            "Orphan"
        } else if item.holds(FOREGROUND) {
            "Foreground"
        } else {
            "Background"
        };
        if let Some(item) = self.graph.get_mut(uid) {
            item.asked = true;
        }
        let target = Target::new(item.resource, &item.key.namespace, &item.key.name);
        let id = self.out.ask(target, delete_uid(uid, Some(policy)));
        self.asked.insert(id, Asked::Delete(uid.to_owned()));
    }

    fn classify(&mut self, uid: &str, item: &Item) -> Owners {
        let mut owners = Owners::default();
        for owner in &item.owners {
            if let Some(known) = self.graph.get(&owner.uid) {
                // A namespaced owner cannot own anything outside its namespace.
                let foreign =
                    !known.key.namespace.is_empty() && known.key.namespace != item.key.namespace;
                if foreign {
                    owners.dangling.push(owner.uid.clone());
                } else if known.is_foreground() {
                    owners.waiting.push(owner.uid.clone());
                } else {
                    owners.solid += 1;
                }
            } else if self.absent.contains(&owner.uid) {
                owners.dangling.push(owner.uid.clone());
            } else {
                owners.unknown = true;
                self.look_up(uid, item, owner);
            }
        }
        owners
    }

    /// Asks the server for an owner the graph does not hold.
    fn look_up(&mut self, uid: &str, item: &Item, owner: &Owner) {
        if let Some(waiting) = self.lookups.get_mut(&owner.uid) {
            waiting.insert(uid.to_owned());
            return;
        }
        // Of a kind nobody has defined it cannot be known whether the owner exists.
        let Some((resource, namespaced)) = self.resources.of_kind(&owner.api_version, &owner.kind)
        else {
            return;
        };
        self.lookups
            .insert(owner.uid.clone(), BTreeSet::from([uid.to_owned()]));
        let namespace = if namespaced {
            item.key.namespace.as_str()
        } else {
            ""
        };
        let target = Target::new(resource, namespace, &owner.name);
        let id = self.out.ask(target, Operation::Get);
        self.asked.insert(id, Asked::Owner(owner.uid.clone()));
    }

    fn owner_found(&mut self, owner: &str, result: &Result<Object, Status>) {
        let waiting = self.lookups.remove(owner).unwrap_or_default();
        let there = match result {
            Ok(object) => object.uid() == owner,
            Err(status) => status.code != 404,
        };
        if there {
            // Its own event is on the way and will be looked at together with these.
            return;
        }
        self.remember_absent(owner);
        self.dirty.extend(waiting);
    }

    fn remember_absent(&mut self, uid: &str) {
        if self.absent.len() >= ABSENT_MAX {
            self.absent.clear();
        }
        self.absent.insert(uid.to_owned());
    }

    /// Takes owners out of an object that has others.
    fn let_go(&mut self, uid: &str, item: &Item, stale: &[String]) {
        let target = Target::new(item.resource, &item.key.namespace, &item.key.name);
        self.out.tell(target, release(uid, item, stale));
    }

    fn orphan_dependents(&mut self, uid: &str, item: &Item) {
        if self.releases.contains_key(uid) {
            return;
        }
        let stale = vec![uid.to_owned()];
        let mut awaited = 0;
        for dependent in self.graph.dependents(uid) {
            let Some(other) = self.graph.get(&dependent).cloned() else {
                continue;
            };
            let target = Target::new(other.resource, &other.key.namespace, &other.key.name);
            let id = self.out.ask(target, release(&dependent, &other, &stale));
            self.asked.insert(
                id,
                Asked::Release {
                    owner: uid.to_owned(),
                },
            );
            awaited += 1;
        }
        if awaited == 0 {
            self.drop_finalizer(item, ORPHAN);
        } else {
            self.releases.insert(uid.to_owned(), awaited);
        }
    }

    fn released(&mut self, owner: &str) {
        let Some(awaited) = self.releases.get_mut(owner) else {
            return;
        };
        *awaited = awaited.saturating_sub(1);
        if *awaited == 0 {
            self.releases.remove(owner);
            self.dirty.insert(owner.to_owned());
        }
    }

    fn wait_for_dependents(&mut self, uid: &str, item: &Item) {
        let dependents = self.graph.dependents(uid);
        let blocks = |dependent: &String| {
            self.graph.get(dependent).is_some_and(|other| {
                other
                    .owners
                    .iter()
                    .any(|owner| owner.uid == uid && owner.blocks)
            })
        };
        if dependents.iter().any(blocks) {
            self.dirty
                .extend(dependents.into_iter().filter(|dependent| {
                    self.graph
                        .get(dependent)
                        .is_some_and(|other| !other.deleting)
                }));
            return;
        }
        self.drop_finalizer(item, FOREGROUND);
        self.dirty.extend(dependents);
    }

    fn drop_finalizer(&mut self, item: &Item, finalizer: &str) {
        let left: Vec<&String> = item
            .finalizers
            .iter()
            .filter(|held| *held != finalizer)
            .collect();
        let left = if left.is_empty() {
            Value::Null
        } else {
            json!(left)
        };
        let body = json!({
            "metadata": { "resourceVersion": item.version, "finalizers": left },
        });
        // A conflict means that a newer state is on its way and will be looked at.
        let target = Target::new(item.resource, &item.key.namespace, &item.key.name);
        self.out.tell(target, merge(body));
    }

    fn reply(&mut self, now: Timestamp, id: u64, result: Result<Object, Status>) {
        match self.asked.remove(&id) {
            Some(Asked::Owner(owner)) => self.owner_found(&owner, &result),
            Some(Asked::Release { owner }) => self.released(&owner),
            Some(Asked::Delete(uid)) => {
                let Err(status) = result else { return };
                if let Some(item) = self.graph.get_mut(&uid) {
                    item.asked = false;
                }
                // 404 and 409: gone, or another of the same name; its event says so.
                if status.code != 404 && status.code != 409 {
                    self.timers.insert((now + RETRY, uid));
                }
            }
            Some(Asked::Namespace(asked)) => {
                self.namespaces.reply(now, &asked, &result);
            }
            None => {}
        }
    }

    fn listed(&mut self, now: Timestamp, resource: Resource, objects: &[Object]) {
        let listed: BTreeSet<&str> = objects.iter().map(Object::uid).collect();
        for uid in self.graph.of_resource(resource) {
            if !listed.contains(uid.as_str()) {
                self.gone(&uid);
            }
        }
        for object in objects {
            self.see(now, resource, Change::Added, object);
        }
    }

    fn work(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
        {
            if let Some((_, uid)) = self.timers.pop_first() {
                self.dirty.insert(uid);
            }
        }
        for uid in std::mem::take(&mut self.dirty) {
            self.attempt(&uid);
        }
        for (id, asked) in self.namespaces.work(now, &self.graph, &mut self.out) {
            self.asked.insert(id, Asked::Namespace(asked));
        }
    }
}

/// The patch that takes owners out of an object.
fn release(uid: &str, item: &Item, stale: &[String]) -> Operation {
    if Resources::is_built_in(item.resource) {
        let gone: Vec<Value> = stale
            .iter()
            .map(|owner| json!({ "$patch": "delete", "uid": owner }))
            .collect();
        return strategic(json!({ "metadata": { "uid": uid, "ownerReferences": gone } }));
    }
    let left: Vec<Value> = item
        .owners
        .iter()
        .filter(|owner| !stale.contains(&owner.uid))
        .map(|owner| {
            json!({
                "apiVersion": owner.api_version,
                "kind": owner.kind,
                "name": owner.name,
                "uid": owner.uid,
                "blockOwnerDeletion": owner.blocks,
            })
        })
        .collect();
    let left = if left.is_empty() {
        Value::Null
    } else {
        Value::Array(left)
    };
    merge(json!({ "metadata": { "resourceVersion": item.version, "ownerReferences": left } }))
}

impl Component for GarbageCollector {
    fn name(&self) -> &'static str {
        "generic-garbage-collector"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        self.resources.list()
    }

    fn step(&mut self, now: Timestamp, event: Event) -> Vec<Request> {
        match event {
            Event::Listed { resource, objects } => self.listed(now, resource, &objects),
            Event::Watch(event) => self.see(now, event.resource, event.change, &event.object),
            Event::Reply { id, result } => self.reply(now, id, result),
            Event::Wake => self.work(now),
        }
        self.now = now;
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        // Objects are judged once all that waits has been taken in: an owner may be among it.
        if !self.dirty.is_empty() {
            return Some(self.now);
        }
        let timer = self.timers.first().map(|(at, _)| *at);
        [timer, self.namespaces.wake_at(self.now)]
            .into_iter()
            .flatten()
            .min()
    }
}
