//! What every namespace has: the `ServiceAccount` `default` and the `ConfigMap` `kube-root-ca.crt`
//! (`pkg/controller/serviceaccount`, `pkg/controller/certificates/rootcacertpublisher`).

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{Change, Component, Event, Identity, Object, Operation, Request, Resource};
use crate::kinds::{CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, identities};
use crate::object::is_deleting;
use crate::outbox::{Outbox, Target};

const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver \
    when using internal endpoints such as the internal service IP or \
    kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
    clusters.";

/// A controller that keeps one object in every namespace.
#[derive(Debug)]
pub(crate) struct EachNamespace {
    title: &'static str,
    out: Outbox,
    watches: [Resource; 2],
    /// Without its namespace.
    object: Value,
    object_name: &'static str,
    namespaces: BTreeSet<String>,
    /// Namespaces that have the object.
    present: BTreeSet<String>,
    dirty: BTreeSet<String>,
    now: Timestamp,
}

impl EachNamespace {
    /// Keeps the `ServiceAccount` `default`.
    pub(crate) fn service_account() -> Self {
        let object = json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": "default" },
        });
        Self::new(
            "service-account-controller",
            SERVICE_ACCOUNTS,
            "default",
            object,
        )
    }

    /// Keeps the certificate of the cluster's authority.
    pub(crate) fn root_certificate(pem: &str) -> Self {
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "kube-root-ca.crt",
                "annotations": { "kubernetes.io/description": DESCRIPTION },
            },
            "data": { "ca.crt": pem },
        });
        Self::new(
            "root-ca-cert-publisher",
            CONFIG_MAPS,
            "kube-root-ca.crt",
            object,
        )
    }

    fn new(
        controller: &'static str,
        resource: Resource,
        name: &'static str,
        object: Value,
    ) -> Self {
        Self {
            title: controller,
            out: Outbox::new(identities::controller(controller)),
            watches: [resource, NAMESPACES],
            object,
            object_name: name,
            namespaces: BTreeSet::new(),
            present: BTreeSet::new(),
            dirty: BTreeSet::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn see(&mut self, resource: Resource, change: Change, object: &Object) {
        let gone = change == Change::Deleted || is_deleting(object.value());
        let (namespace, set) = if resource == NAMESPACES {
            (object.name(), &mut self.namespaces)
        } else if object.name() == self.object_name {
            if !gone && object.value()["data"] != self.object["data"] {
                let mut body = object.value().clone();
                body["data"] = self.object["data"].clone();
                let target = Target::new(resource, object.namespace(), self.object_name);
                self.out.tell(target, Operation::Update(body));
            }
            (object.namespace(), &mut self.present)
        } else {
            return;
        };
        if gone {
            set.remove(namespace);
        } else {
            set.insert(namespace.to_owned());
        }
        self.dirty.insert(namespace.to_owned());
    }

    fn sync(&mut self, namespace: &str) {
        let missing =
            self.namespaces.contains(namespace) && self.present.insert(namespace.to_owned());
        if missing {
            let mut body = self.object.clone();
            body["metadata"]["namespace"] = json!(namespace);
            let target = Target::new(self.watches[0], namespace, "");
            self.out.tell(target, Operation::Create(body));
        }
    }
}

impl Component for EachNamespace {
    fn name(&self) -> &str {
        self.title
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        &self.watches
    }

    fn step(&mut self, now: Timestamp, event: Event) -> Vec<Request> {
        match event {
            Event::Listed { resource, objects } => {
                let set = if resource == NAMESPACES {
                    &mut self.namespaces
                } else {
                    &mut self.present
                };
                set.clear();
                for object in &objects {
                    self.see(resource, Change::Added, object);
                }
                self.dirty.extend(self.namespaces.iter().cloned());
            }
            Event::Watch(event) => self.see(event.resource, event.change, &event.object),
            Event::Reply { .. } => {}
            Event::Wake => {
                for namespace in std::mem::take(&mut self.dirty) {
                    self.sync(&namespace);
                }
            }
        }
        self.now = now;
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        (!self.dirty.is_empty()).then_some(self.now)
    }
}
