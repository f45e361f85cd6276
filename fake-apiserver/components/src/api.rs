//! The seam between simulated components and the API server.
//!
//! `fake-apiserver` implements [`Api`] with the same validation, admission, authorization and
//! versioning as over HTTP; nothing here encodes or decodes JSON text. Components never hold an
//! `Api`: they return [`Request`]s from `step` and see the answers as [`Event::Reply`].

use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Who sends a request: a user name and its groups, as authentication would have found them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// For example `system:kube-scheduler` or `system:node:aks-general-purpose-x1`.
    pub user: Arc<str>,
    /// `system:authenticated` is implied and need not be listed.
    pub groups: Arc<[Arc<str>]>,
}

impl Identity {
    /// An identity from plain strings.
    pub fn new(user: &str, groups: &[&str]) -> Self {
        Self {
            user: user.into(),
            groups: groups.iter().map(|group| Arc::from(*group)).collect(),
        }
    }
}

/// Group, version and plural name of a kind; the core group is the empty string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
}

/// An object as the server holds it: shared, never changed in place.
#[derive(Clone, Debug, PartialEq)]
pub struct Object(Arc<Value>);

impl Object {
    /// Wraps a whole object (`apiVersion`, `kind`, `metadata`, …).
    pub fn new(value: Arc<Value>) -> Self {
        Self(value)
    }

    /// The untyped tree.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// A typed copy; fails only when the object does not have the shape of `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&*self.0)
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.metadata("name")
    }

    /// `metadata.namespace`; empty for cluster-scoped kinds.
    pub fn namespace(&self) -> &str {
        self.metadata("namespace")
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.metadata("uid")
    }

    fn metadata(&self, field: &str) -> &str {
        self.0["metadata"][field].as_str().unwrap_or_default()
    }
}

/// An error body as the API machinery spells it (`k8s.io/apimachinery` `metav1.Status`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, for example `NotFound`, `Conflict`, `TooManyRequests`.
    pub reason: String,
    /// Human-readable message.
    pub message: String,
    /// `details.retryAfterSeconds`, when the server asks the client to come back.
    pub retry_after_seconds: Option<u32>,
}

/// How a patch body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    Json,
    Merge,
    StrategicMerge,
    /// Server-side apply; the request names its field manager.
    Apply,
}

/// What a request does. Bodies are whole trees, so that no text is parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    Get,
    Create(Value),
    /// Replace; carries `metadata.resourceVersion` for optimistic locking.
    Update(Value),
    Patch {
        kind: PatchType,
        body: Value,
    },
    /// Body: `DeleteOptions`.
    Delete(Value),
    /// All objects of the resource in the namespace. Body: `DeleteOptions`.
    DeleteCollection(Value),
}

impl Operation {
    /// The verb as authorization and audit spell it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create(_) => "create",
            Self::Update(_) => "update",
            Self::Patch { .. } => "patch",
            Self::Delete(_) => "delete",
            Self::DeleteCollection(_) => "deletecollection",
        }
    }
}

/// One request of one component.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Chosen by the component; returned with the answer.
    pub id: u64,
    pub identity: Identity,
    pub resource: Resource,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// Empty for a create with `generateName` or a name in the body.
    pub name: String,
    /// `status`, `binding`, `eviction`, `scale`, …; empty for the object itself.
    pub subresource: &'static str,
    pub operation: Operation,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Modified,
    Deleted,
}

/// One step of an object's history, in the order of the server's revisions.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchEvent {
    pub revision: u64,
    pub resource: Resource,
    pub change: Change,
    pub object: Object,
}

/// What the server offers to components in the same process.
pub trait Api {
    /// Carries out one request at `now`, exactly as the HTTP route would.
    fn call(&mut self, now: Timestamp, request: &Request) -> Result<Object, Status>;

    /// All objects of a resource and the revision they were read at.
    fn list(&self, who: &Identity, resource: Resource) -> Result<(Vec<Object>, u64), Status>;

    /// The changes of `resource` after revision `since`, oldest first.
    ///
    /// Answers 410 `Expired` when `since` is older than the compaction floor: list again.
    fn changes(
        &self,
        who: &Identity,
        resource: Resource,
        since: u64,
    ) -> Result<Vec<WatchEvent>, Status>;

    /// The newest revision; equal revisions mean that nothing was written.
    fn revision(&self) -> u64;

    /// The resources written after revision `since`, for clients that follow many of them and
    /// would otherwise ask for the changes of each. Only resources that were listed before count.
    /// `None`: not known, ask for each.
    fn touched(&self, _since: u64) -> Option<Vec<Resource>> {
        None
    }
}

/// What a component reacts to.
#[derive(Clone, Debug)]
pub enum Event {
    /// The first list of a resource, or a new one after a 410: everything known before is void.
    Listed {
        resource: Resource,
        objects: Vec<Object>,
    },
    /// A change of a watched resource.
    Watch(WatchEvent),
    /// The answer to a request of this component.
    Reply {
        id: u64,
        result: Result<Object, Status>,
    },
    /// `wake_at` has come.
    Wake,
}

/// A simulated component: a state machine that reads nothing but its arguments.
pub trait Component: Send {
    /// The name used in traces, for example `kube-scheduler`.
    fn name(&self) -> &str;

    /// Who lists and watches; each request carries its own identity.
    fn identity(&self) -> &Identity;

    /// The resources whose lists and changes this component receives.
    fn watches(&self) -> &[Resource];

    /// Takes one event and answers with the requests it causes, in order.
    fn step(&mut self, now: Timestamp, event: Event) -> Vec<Request>;

    /// When `step(Event::Wake)` is wanted next.
    fn wake_at(&self) -> Option<Timestamp>;
}
