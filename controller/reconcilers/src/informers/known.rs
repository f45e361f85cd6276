//! Which objects of a kind are known, so that a new list tells what is gone.

use std::collections::BTreeSet;

use serde::Deserialize;

/// Takes a kind's objects as text: all that the loop, which is one for every kind, needs to know.
pub(super) trait Feed: Send {
    /// An object as it is now.
    fn apply(&mut self, object: &str) -> serde_json::Result<()>;

    /// An object is gone.
    fn delete(&mut self, namespace: &str, name: &str);
}

/// Who an object is, and its version.
#[derive(Debug, Deserialize)]
pub(super) struct Identity {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(rename = "resourceVersion", default)]
    pub(super) version: String,
}

impl Identity {
    fn key(self) -> (String, String) {
        (self.namespace, self.name)
    }
}

/// The names known of a kind, before what its objects are fed to.
pub(super) struct Known<'s> {
    feed: &'s mut dyn Feed,
    names: BTreeSet<(String, String)>,
    listing: BTreeSet<(String, String)>,
}

impl<'s> Known<'s> {
    pub(super) fn new(feed: &'s mut dyn Feed) -> Self {
        Self {
            feed,
            names: BTreeSet::new(),
            listing: BTreeSet::new(),
        }
    }

    /// A list begins.
    pub(super) fn begin(&mut self) {
        self.listing.clear();
    }

    /// An object of the list.
    pub(super) fn listed(&mut self, identity: Identity, object: &str) {
        self.apply(&identity, object);
        let key = identity.key();
        self.names.insert(key.clone());
        self.listing.insert(key);
    }

    /// The list is complete: what it did not show is gone.
    pub(super) fn end(&mut self) {
        let listed = std::mem::take(&mut self.listing);
        for (namespace, name) in self.names.difference(&listed) {
            self.feed.delete(namespace, name);
        }
        self.names = listed;
    }

    /// An object came or changed.
    pub(super) fn changed(&mut self, identity: Identity, object: &str) {
        self.apply(&identity, object);
        self.names.insert(identity.key());
    }

    /// An object is gone.
    pub(super) fn deleted(&mut self, identity: Identity) {
        let key = identity.key();
        self.feed.delete(&key.0, &key.1);
        self.names.remove(&key);
    }

    /// An object that its kind cannot decode stays what it was; the others do not wait for it.
    fn apply(&mut self, identity: &Identity, object: &str) {
        if let Err(error) = self.feed.apply(object) {
            tracing::error!(
                namespace = identity.namespace,
                name = identity.name,
                version = identity.version,
                %error,
                "object cannot be decoded and is left out"
            );
        }
    }
}
