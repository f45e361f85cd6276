//! Events on objects, with upstream's reasons.

use std::time::Duration;

use controller_operator::events::RateLimit;
use controller_operator::{Event, EventKind, Recorder};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;

/// Nominations of all pods together (`pkg/controllers/provisioning/scheduling/events.go`).
const NOMINATIONS: RateLimit = RateLimit {
    per_second: 5.0,
    burst: 10.0,
};

/// What happened, before it is known to whom.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    kind: EventKind,
    reason: &'static str,
    pub(crate) message: String,
    dedupe: Dedupe,
    window: Option<Duration>,
    limit: Option<RateLimit>,
}

#[derive(Clone, Debug)]
enum Dedupe {
    /// No two are the same.
    Never,
    /// By the object.
    Object,
    /// By the object and a value.
    Value(String),
}

impl Note {
    pub(crate) fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(EventKind::Normal, reason, message.into())
    }

    pub(crate) fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(EventKind::Warning, reason, message.into())
    }

    fn new(kind: EventKind, reason: &'static str, message: String) -> Self {
        Self {
            kind,
            reason,
            message,
            dedupe: Dedupe::Never,
            window: None,
            limit: None,
        }
    }

    /// Not repeated for an object for a while, whatever the message.
    pub(crate) fn once_per_object(mut self) -> Self {
        self.dedupe = Dedupe::Object;
        self
    }

    /// Not repeated for an object and this value for a while.
    pub(crate) fn once_per(mut self, value: String) -> Self {
        self.dedupe = Dedupe::Value(value);
        self
    }

    /// How long that while is.
    pub(crate) fn every(mut self, window: Duration) -> Self {
        self.window = Some(window);
        self
    }

    /// One of the nominations, which are limited together.
    pub(crate) fn nomination(mut self) -> Self {
        self.limit = Some(NOMINATIONS);
        self
    }
}

/// Publishes notes; what is not written is only not told.
#[derive(Clone, Debug)]
pub(crate) struct Events(Recorder);

impl Events {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self(recorder)
    }

    pub(crate) fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, note: Note) {
        self.publish_to(object.object_ref(&()), note);
    }

    pub(crate) fn publish_to(&self, object: ObjectReference, note: Note) {
        let identity = object
            .uid
            .clone()
            .or_else(|| object.name.clone())
            .unwrap_or_default();
        let dedupe = match note.dedupe {
            Dedupe::Never => Vec::new(),
            Dedupe::Object => vec![identity],
            Dedupe::Value(value) => vec![identity, value],
        };
        let mut event = Event::new(object, note.kind, note.reason, note.message).dedupe(dedupe);
        if let Some(window) = note.window {
            event = event.window(window);
        }
        if let Some(limit) = note.limit {
            event = event.limit(limit);
        }
        // Suppressed and dropped events are counted by the recorder.
        let _is_written: bool = self.0.publish(event);
    }
}

/// A reference to a pod.
pub(crate) fn pod_reference(namespace: &str, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}
