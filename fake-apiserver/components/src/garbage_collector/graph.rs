//! Who owns whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Object, Resource};
use crate::object::{Key, is_deleting, items, text};

pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";

/// An owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) blocks: bool,
}

/// An object that exists.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) resource: Resource,
    pub(super) key: Key,
    pub(super) owners: Vec<Owner>,
    pub(super) deleting: bool,
    pub(super) finalizers: Vec<String>,
    pub(super) version: String,
    /// Its deletion has been asked for.
    pub(super) asked: bool,
}

impl Item {
    pub(super) fn read(resource: Resource, object: &Object) -> Self {
        let value = object.value();
        let metadata = &value["metadata"];
        let owner = |owner: &serde_json::Value| Owner {
            api_version: text(&owner["apiVersion"]).to_owned(),
            kind: text(&owner["kind"]).to_owned(),
            name: text(&owner["name"]).to_owned(),
            uid: text(&owner["uid"]).to_owned(),
            blocks: owner["blockOwnerDeletion"] == true,
        };
        Self {
            resource,
            key: Key::of(object),
            owners: items(&metadata["ownerReferences"])
                .iter()
                .map(owner)
                .collect(),
            deleting: is_deleting(value),
            finalizers: items(&metadata["finalizers"])
                .iter()
                .map(|f| text(f).to_owned())
                .collect(),
            version: text(&metadata["resourceVersion"]).to_owned(),
            asked: false,
        }
    }

    pub(super) fn holds(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|held| held == finalizer)
    }

    /// Waits for its dependents.
    pub(super) fn is_foreground(&self) -> bool {
        self.deleting && self.holds(FOREGROUND)
    }

    pub(super) fn is_orphaning(&self) -> bool {
        self.deleting && self.holds(ORPHAN)
    }
}

/// All objects that take part.
#[derive(Debug, Default)]
pub(super) struct Graph {
    items: BTreeMap<String, Item>,
    dependents: BTreeMap<String, BTreeSet<String>>,
    by_namespace: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Item> {
        self.items.get(uid)
    }

    pub(super) fn get_mut(&mut self, uid: &str) -> Option<&mut Item> {
        self.items.get_mut(uid)
    }

    pub(super) fn dependents(&self, uid: &str) -> Vec<String> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Objects of a namespace.
    pub(super) fn within(&self, namespace: &str) -> impl Iterator<Item = (&String, &Item)> {
        self.by_namespace
            .get(namespace)
            .into_iter()
            .flatten()
            .filter_map(|uid| Some((uid, self.items.get(uid)?)))
    }

    pub(super) fn of_resource(&self, resource: Resource) -> Vec<String> {
        self.items
            .iter()
            .filter(|(_, item)| item.resource == resource)
            .map(|(uid, _)| uid.clone())
            .collect()
    }

    /// Puts an object in; answers what was there.
    pub(super) fn insert(&mut self, uid: &str, item: Item) -> Option<Item> {
        let old = self.remove(uid);
        for owner in &item.owners {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(uid.to_owned());
        }
        if !item.key.namespace.is_empty() {
            let namespace = item.key.namespace.clone();
            self.by_namespace
                .entry(namespace)
                .or_default()
                .insert(uid.to_owned());
        }
        self.items.insert(uid.to_owned(), item);
        old
    }

    pub(super) fn remove(&mut self, uid: &str) -> Option<Item> {
        let item = self.items.remove(uid)?;
        for owner in &item.owners {
            take_out(&mut self.dependents, &owner.uid, uid);
        }
        take_out(&mut self.by_namespace, &item.key.namespace, uid);
        Some(item)
    }
}

fn take_out(index: &mut BTreeMap<String, BTreeSet<String>>, key: &str, uid: &str) {
    if let Some(uids) = index.get_mut(key) {
        uids.remove(uid);
        if uids.is_empty() {
            index.remove(key);
        }
    }
}
