//! Kubernetes Events as the components write them.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kinds::EVENTS;
use crate::outbox::{Outbox, Target, merge};
use crate::{api::Identity, object::text, time};

/// Entries of the correlator; client-go `record.maxLruCacheEntries`.
const REMEMBERED: usize = 4096;

/// The object an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct About {
    api_version: &'static str,
    kind: &'static str,
    namespace: String,
    name: String,
    uid: String,
}

impl About {
    /// Reads name and uid from an object of a known kind.
    pub(crate) fn new(api_version: &'static str, kind: &'static str, object: &Value) -> Self {
        let metadata = &object["metadata"];
        Self {
            api_version,
            kind,
            namespace: text(&metadata["namespace"]).to_owned(),
            name: text(&metadata["name"]).to_owned(),
            uid: text(&metadata["uid"]).to_owned(),
        }
    }

    pub(crate) fn pod(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            api_version: "v1",
            kind: "Pod",
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    /// Components report nodes with the node's name as uid where they know no better.
    pub(crate) fn node(name: &str, uid: &str) -> Self {
        Self {
            api_version: "v1",
            kind: "Node",
            namespace: String::new(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    /// Events about cluster-scoped objects live in `default`.
    fn event_namespace(&self) -> &str {
        if self.namespace.is_empty() {
            "default"
        } else {
            &self.namespace
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note<'a> {
    /// `Normal` or `Warning`.
    pub(crate) kind: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: &'a str,
}

pub(crate) fn normal<'a>(reason: &'static str, message: &'a str) -> Note<'a> {
    Note {
        kind: "Normal",
        reason,
        message,
    }
}

pub(crate) fn warning<'a>(reason: &'static str, message: &'a str) -> Note<'a> {
    Note {
        kind: "Warning",
        reason,
        message,
    }
}

type Memory = (About, &'static str, String);

/// Writes Events; a repetition raises `count` (client-go `tools/record`).
#[derive(Debug)]
pub(crate) struct Recorder {
    component: &'static str,
    written: u64,
    seen: BTreeMap<Memory, (String, u64)>,
    order: VecDeque<Memory>,
}

impl Recorder {
    pub(crate) fn new(component: &'static str) -> Self {
        Self {
            component,
            written: 0,
            seen: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(crate) fn write(
        &mut self,
        out: &mut Outbox,
        now: Timestamp,
        about: &About,
        note: Note<'_>,
    ) {
        let identity = out.identity().clone();
        self.write_as(&identity, out, now, about, note);
    }

    pub(crate) fn write_as(
        &mut self,
        identity: &Identity,
        out: &mut Outbox,
        now: Timestamp,
        about: &About,
        note: Note<'_>,
    ) {
        let memory = (about.clone(), note.reason, note.message.to_owned());
        let namespace = about.event_namespace();
        if let Some((name, count)) = self.seen.get_mut(&memory) {
            *count += 1;
            let patch = json!({ "count": *count, "lastTimestamp": time::rfc3339(now) });
            out.tell_as(
                identity.clone(),
                Target::new(EVENTS, namespace, name),
                merge(patch),
            );
            return;
        }
        let name = event_name(&about.name, now, &mut self.written);
        let body = self.body(now, &name, about, note);
        out.tell_as(
            identity.clone(),
            Target::new(EVENTS, namespace, ""),
            crate::api::Operation::Create(body),
        );
        self.remember(memory, name);
    }

    fn body(&self, now: Timestamp, name: &str, about: &About, note: Note<'_>) -> Value {
        let at = time::rfc3339(now);
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": name, "namespace": about.event_namespace() },
            "involvedObject": regarding(about),
            "reason": note.reason,
            "message": note.message,
            "source": { "component": self.component },
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "type": note.kind,
            "eventTime": null,
            "reportingComponent": self.component,
            "reportingInstance": "",
        })
    }

    fn remember(&mut self, memory: Memory, name: String) {
        self.seen.insert(memory.clone(), (name, 1));
        self.order.push_back(memory);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }
}

/// The reference to an object inside an Event.
pub(crate) fn regarding(about: &About) -> Value {
    let mut reference = json!({
        "apiVersion": about.api_version,
        "kind": about.kind,
        "name": about.name,
        "uid": about.uid,
    });
    if !about.namespace.is_empty() {
        reference["namespace"] = json!(about.namespace);
    }
    reference
}

/// `<object>.<hex nanoseconds>`, kept apart within one instant by a counter.
pub(crate) fn event_name(object: &str, now: Timestamp, written: &mut u64) -> String {
    *written += 1;
    format!("{object}.{:x}", now.as_nanosecond() + i128::from(*written))
}
