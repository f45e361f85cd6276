//! Requests a step collects.

use serde_json::{Value, json};

use crate::api::{Identity, Operation, PatchType, Request, Resource};

/// Requests with this id are not answered: what they say matters to nobody, as with Events.
pub(crate) const NO_REPLY: u64 = 0;

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) resource: Resource,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) subresource: &'static str,
}

impl<'a> Target<'a> {
    pub(crate) fn new(resource: Resource, namespace: &'a str, name: &'a str) -> Self {
        Self {
            resource,
            namespace,
            name,
            subresource: "",
        }
    }

    pub(crate) fn status(self) -> Self {
        self.sub("status")
    }

    pub(crate) fn sub(self, subresource: &'static str) -> Self {
        Self {
            subresource,
            ..self
        }
    }
}

/// Collects the requests of one step and numbers those whose answer is wanted.
#[derive(Debug)]
pub(crate) struct Outbox {
    identity: Identity,
    last_id: u64,
    requests: Vec<Request>,
}

impl Outbox {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            last_id: NO_REPLY,
            requests: Vec::new(),
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The collected requests, in order.
    pub(crate) fn take(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    /// A request whose answer comes back under the returned id.
    pub(crate) fn ask(&mut self, target: Target<'_>, operation: Operation) -> u64 {
        let identity = self.identity.clone();
        self.ask_as(identity, target, operation)
    }

    /// A request whose answer does not matter.
    pub(crate) fn tell(&mut self, target: Target<'_>, operation: Operation) {
        let identity = self.identity.clone();
        self.tell_as(identity, target, operation);
    }

    pub(crate) fn ask_as(
        &mut self,
        identity: Identity,
        target: Target<'_>,
        operation: Operation,
    ) -> u64 {
        self.last_id += 1;
        self.push(self.last_id, identity, target, operation);
        self.last_id
    }

    pub(crate) fn tell_as(&mut self, identity: Identity, target: Target<'_>, operation: Operation) {
        self.push(NO_REPLY, identity, target, operation);
    }

    fn push(&mut self, id: u64, identity: Identity, target: Target<'_>, operation: Operation) {
        self.requests.push(Request {
            id,
            identity,
            resource: target.resource,
            namespace: target.namespace.to_owned(),
            name: target.name.to_owned(),
            subresource: target.subresource,
            operation,
        });
    }
}

/// A strategic merge patch.
pub(crate) fn strategic(body: Value) -> Operation {
    Operation::Patch {
        kind: PatchType::StrategicMerge,
        body,
    }
}

/// A JSON merge patch.
pub(crate) fn merge(body: Value) -> Operation {
    Operation::Patch {
        kind: PatchType::Merge,
        body,
    }
}

/// `DeleteOptions` bound to one incarnation of an object.
pub(crate) fn delete_uid(uid: &str, propagation: Option<&str>) -> Operation {
    let mut options = delete_options();
    options["preconditions"] = json!({ "uid": uid });
    if let Some(policy) = propagation {
        options["propagationPolicy"] = json!(policy);
    }
    Operation::Delete(options)
}

/// `DeleteOptions` that take an object away at once; with a uid, only that incarnation.
pub(crate) fn delete_now(uid: Option<&str>) -> Operation {
    let mut options = delete_options();
    options["gracePeriodSeconds"] = json!(0);
    if let Some(uid) = uid {
        options["preconditions"] = json!({ "uid": uid });
    }
    Operation::Delete(options)
}

/// `DeleteOptions` without any wish.
pub(crate) fn delete_plain() -> Operation {
    Operation::Delete(delete_options())
}

/// All objects of a resource in a namespace.
pub(crate) fn delete_all() -> Operation {
    Operation::DeleteCollection(delete_options())
}

fn delete_options() -> Value {
    json!({ "apiVersion": "v1", "kind": "DeleteOptions" })
}
