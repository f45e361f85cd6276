//! The state of the server and the entry point of every request, without any transport.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fake_apiserver_components::api::Resource;
use fake_apiserver_store::{Expect, SpaceId, Store};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::Notify;

use crate::auth::bootstrap;
use crate::auth::ca::CertificateAuthority;
use crate::auth::rbac::{Access, Wish};
use crate::auth::tokens::{Tokens, bootstrap_user, service_account};
use crate::item::Item;
use crate::journal::{Journal, JournalError};
use crate::meta;
use crate::options::{Options, Tracking, User};
use crate::random::{Random, derive};
use crate::registry::{Conversion, Registry, View, custom};
use crate::schema::cel;
use crate::status::{Result, Status};

/// Everything the server knows.
#[derive(Debug)]
pub(crate) struct Machine {
    pub store: Store<Item>,
    pub registry: Registry,
    pub random: Random,
    pub rules: cel::Environment,
    pub access: Access,
    pub tokens: Tokens,
    pub ca: CertificateAuthority,
    pub tracking: Tracking,
    pub anonymous: bool,
    /// What in-process clients have listed, by space: a change of a space concerns these.
    pub followed: RefCell<BTreeMap<SpaceId, Vec<Resource>>>,
    pub journal: Option<Journal>,
    waiters: Vec<Arc<Notify>>,
    /// `(time, revision)` marks for compaction.
    marks: (Timestamp, u64),
}

/// How a write is to be done.
#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    pub dry_run: bool,
    pub manager: String,
    pub validation: FieldValidation,
    /// Present only on patches.
    pub force: Option<bool>,
    /// Duplicate fields found in the body's text.
    pub duplicates: Vec<String>,
}

/// What happens to fields the kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Strict,
    Warn,
    Ignore,
}

impl WriteOptions {
    pub(crate) fn of(manager: &str) -> Self {
        Self {
            dry_run: false,
            manager: manager.to_owned(),
            validation: FieldValidation::Ignore,
            force: None,
            duplicates: Vec::new(),
        }
    }
}

/// One request, after authentication.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub now: Timestamp,
    pub user: &'a User,
    pub view: &'a View,
    pub namespace: &'a str,
    pub name: &'a str,
    pub subresource: &'a str,
    pub options: &'a WriteOptions,
    /// `Warning` headers of the answer.
    pub warnings: Vec<String>,
}

/// What a request that succeeded gives back.
#[derive(Debug)]
pub(crate) enum Answer {
    /// An object of the request's kind, in stored form.
    Object(u16, Item),
    /// A tree that is not a stored object (scale, review, list of deleted objects).
    Value(u16, Value),
}

/// etcd's compaction interval under kube-apiserver (`--etcd-compaction-interval`).
const COMPACTION_MINUTES: i64 = 5;

/// kube-apiserver's `--event-ttl`. Expiry is looked at together with compaction.
const EVENT_TTL_HOURS: i64 = 1;

impl Machine {
    /// A fresh cluster, or the one a journal tells of.
    pub(crate) fn new(
        options: &Options,
        journal: Option<&Path>,
    ) -> std::result::Result<Self, JournalError> {
        let now = options.clock.now();
        let ca = options.ca.clone().unwrap_or_else(|| {
            let secret = derive(options.seed, "ca");
            CertificateAuthority::new(secret, now).expect("an Ed25519 key of 32 bytes is valid")
        });
        let mut registry = Registry::new();
        let mut store = Store::new();
        let journal = match journal {
            Some(path) => Some(Journal::open(path, &mut registry, &mut store)?),
            None => None,
        };
        let revision = store.revision();
        let mut machine = Self {
            store,
            access: Access::new(&registry),
            registry,
            // uids given out before are not given out again
            random: Random::new(options.seed.wrapping_add(revision)),
            rules: cel::Environment::new(),
            tokens: Tokens::new(
                &options.tokens,
                derive(options.seed, "service-account-tokens"),
            ),
            ca,
            tracking: options.tracking,
            anonymous: options.anonymous,
            followed: RefCell::default(),
            journal,
            waiters: Vec::new(),
            marks: (now, 0),
        };
        if revision > 0 {
            machine.serve_definitions();
        }
        for (group, plural, object) in bootstrap::objects(machine.ca.pem()) {
            machine.install(group, plural, object, now);
        }
        machine.record_since(revision);
        Ok(machine)
    }

    /// Serves the custom resources of a restored cluster.
    fn serve_definitions(&mut self) {
        let group = "apiextensions.k8s.io";
        let space = self.registry.space(group, "customresourcedefinitions");
        for (_, found) in self.store.range(space, "", None) {
            let definition = found.value.value();
            if custom::is_established(definition) {
                custom::accept(&mut self.registry, definition);
            }
        }
    }

    /// Stores an object of the fresh cluster, without admission.
    fn install(&mut self, group: &str, plural: &str, mut object: Value, now: Timestamp) {
        let space = self.registry.space(group, plural);
        let key = key(
            meta::string(&object, "namespace"),
            meta::string(&object, "name"),
        );
        if self.store.get(space, &key).is_some() {
            return;
        }
        let revision = self.store.next_revision();
        let uid = self.random.uid();
        let metadata = meta::metadata_mut(&mut object);
        metadata.insert("uid".into(), uid.into());
        metadata.insert("resourceVersion".into(), revision.to_string().into());
        metadata.insert("creationTimestamp".into(), meta::time(now).into());
        self.store
            .put(space, &key, Expect::Absent, Item::new(object))
            .expect("absent, as was seen just above");
    }

    /// Who a bearer token stands for.
    pub(crate) fn authenticate(&self, token: &str, now: Timestamp) -> Result<User> {
        if let Some(user) = self.tokens.static_user(token) {
            return Ok(user.clone());
        }
        if let Some(claims) = self.tokens.verify(token, now) {
            let key = key(&claims.namespace, &claims.name);
            let space = self.registry.space("", "serviceaccounts");
            let account = self
                .store
                .get(space, &key)
                .ok_or_else(Status::unauthorized)?;
            if meta::string(account.value.value(), "uid") == claims.uid {
                return Ok(service_account(&claims));
            }
        }
        if let Some((id, secret)) = token.split_once('.') {
            let key = format!("kube-system/bootstrap-token-{id}");
            let space = self.registry.space("", "secrets");
            if let Some(found) = self.store.get(space, &key)
                && let Some(user) = bootstrap_user(found.value.value(), id, secret, now)
            {
                return Ok(user);
            }
        }
        Err(Status::unauthorized())
    }

    /// Answers 403 unless the user may do this.
    pub(crate) fn authorize(&mut self, user: &User, wish: Wish<'_>) -> Result<()> {
        self.access.refresh(&self.store);
        self.access.check(user, wish)
    }

    /// Authorizes a request on a resource.
    pub(crate) fn authorize_call(
        &mut self,
        user: &User,
        verb: &str,
        view: &View,
        (namespace, name, subresource): (&str, &str, &str),
    ) -> Result<()> {
        let resource = &view.resource;
        // the namespace of a Namespace is itself (requestInfo of the real server)
        let namespace = if resource.is("", "namespaces") {
            name
        } else {
            namespace
        };
        self.authorize(
            user,
            Wish::Resource {
                verb,
                group: &resource.group,
                plural: &resource.plural,
                subresource,
                namespace,
                name,
            },
        )
    }

    /// The notification of a space; fired after every change in it.
    pub(crate) fn waiter(&mut self, space: SpaceId) -> Arc<Notify> {
        let index = space.0 as usize;
        while self.waiters.len() <= index {
            self.waiters.push(Arc::new(Notify::new()));
        }
        Arc::clone(
            self.waiters
                .get(index)
                .expect("grown to the index just above"),
        )
    }

    pub(crate) fn wake(&self, space: SpaceId) {
        if let Some(waiter) = self.waiters.get(space.0 as usize) {
            waiter.notify_waiters();
        }
    }

    /// The stored object of a call.
    pub(crate) fn stored(&self, view: &View, namespace: &str, name: &str) -> Result<Item> {
        let found = self.store.get(view.resource.space, &key(namespace, name));
        let item = found.ok_or_else(|| Status::not_found(view.resource.named(name)))?;
        Ok(item.value.clone())
    }

    /// Removes events nobody wrote to for their time to live.
    fn expire_events(&mut self, now: Timestamp) {
        let space = self.registry.space("", "events");
        let horizon = now - SignedDuration::from_hours(EVENT_TTL_HOURS);
        let old: Vec<Item> = self
            .store
            .range(space, "", None)
            .map(|(_, found)| &found.value)
            .filter(|event| crate::events::last_seen(event.value()).is_none_or(|at| at < horizon))
            .cloned()
            .collect();
        for event in old {
            let mut last = event.value().clone();
            meta::set(
                &mut last,
                "resourceVersion",
                self.store.next_revision().to_string(),
            );
            let key = key(event.namespace(), event.name());
            self.store
                .delete(space, &key, Expect::Any, Item::new(last))
                .expect("the event was read from the store just above");
            self.wake(space);
        }
    }

    /// Forgets history older than two compaction intervals at most, one at least.
    pub(crate) fn compact_old(&mut self, now: Timestamp) {
        let (marked, revision) = self.marks;
        if now.duration_since(marked) >= SignedDuration::from_mins(COMPACTION_MINUTES) {
            self.store.compact(revision);
            self.expire_events(now);
            self.marks = (now, self.store.revision());
        }
    }
}

/// The store key of an object.
pub(crate) fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

/// A stored object in the form of a view.
pub(crate) fn present(view: &View, item: &Item) -> Result<Item> {
    if view.is_storage() {
        return Ok(item.clone());
    }
    let mut value = item.value().clone();
    match view.resource.behaviour.conversion {
        Conversion::Events => crate::events::from_core(&mut value),
        Conversion::Webhook => {
            return Err(Status::internal(&format!(
                "conversion webhook for {}, Kind={} failed: conversion webhooks are not supported by this server",
                view.api_version(),
                view.resource.kind,
            )));
        }
        Conversion::None => {
            if value["apiVersion"] == view.api_version() {
                return Ok(item.clone());
            }
            if let Some(schema) = view.schema().filter(|_| view.resource.custom) {
                crate::schema::decode::prune(&mut value, &schema, &view.resource.kind, false);
                crate::schema::defaults::apply(&mut value, &schema);
            }
        }
    }
    value["apiVersion"] = view.api_version().into();
    Ok(Item::new(value))
}

/// Turns a body in the form of a view into the stored form.
pub(crate) fn to_stored(view: &View, value: &mut Value) -> Result<()> {
    match view.resource.behaviour.conversion {
        Conversion::Events => crate::events::to_core(value),
        Conversion::Webhook if view.version != view.resource.storage => {
            return Err(Status::internal(
                "conversion webhooks are not supported by this server",
            ));
        }
        _ => {
            let stored = view.resource.versions.get(view.resource.storage);
            let stored = stored.map_or(view.api_version(), |version| &version.api_version);
            value["apiVersion"] = stored.into();
        }
    }
    Ok(())
}
