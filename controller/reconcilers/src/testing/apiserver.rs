//! A small API server: any kind, merge patches, finalizers, watches. It validates nothing.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use controller_ports::{Body, BoxError, Clock, HttpService, Transport, full_body};
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};

use super::TestClock;

/// The server. Clones are the same server.
#[derive(Clone, Debug)]
pub(crate) struct ApiServer(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    clock: Arc<TestClock>,
    /// By path, such as `/api/v1/nodes/n1`.
    objects: BTreeMap<String, Value>,
    watches: Vec<(String, UnboundedSender<Bytes>)>,
    version: u64,
    writes: Vec<String>,
    /// Writes that are let through; everything after them hangs.
    writes_max: usize,
}

/// Collection, name and subresource of a request's path.
#[derive(Debug)]
struct Target {
    collection: String,
    name: Option<String>,
    subresource: Option<String>,
}

impl Target {
    fn parse(path: &str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let prefix = if parts[0] == "api" { 2 } else { 3 };
        let rest = &parts[prefix..];
        let namespaced = rest.len() >= 3 && rest[0] == "namespaces";
        let (collection_len, rest) = if namespaced {
            (prefix + 3, rest.get(3..).unwrap_or_default())
        } else {
            (prefix + 1, &rest[1..])
        };
        let collection_len = collection_len.min(parts.len());
        Self {
            collection: format!("/{}", parts[..collection_len].join("/")),
            name: rest.first().map(ToString::to_string),
            subresource: rest.get(1).map(ToString::to_string),
        }
    }
}

impl ApiServer {
    pub(crate) fn new(clock: Arc<TestClock>) -> Self {
        Self(Arc::new(Mutex::new(State {
            clock,
            objects: BTreeMap::new(),
            watches: Vec::new(),
            version: 1,
            writes: Vec::new(),
            writes_max: usize::MAX,
        })))
    }

    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(Transport::new(self.clone()), "default")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("not poisoned")
    }

    /// Creates an object as some other client would.
    pub(crate) fn create(&self, collection: &str, object: Value) {
        let (status, body) = self.state().create(collection, object);
        assert_eq!(status, 201, "{body}");
    }

    /// Merge-patches an object as some other client would.
    pub(crate) fn patch(&self, path: &str, patch: &Value) {
        let (status, body) = self.state().patch(path, patch);
        assert_eq!(status, 200, "{body}");
    }

    /// Deletes an object as some other client would.
    pub(crate) fn delete(&self, path: &str) {
        let (status, body) = self.state().delete(path);
        assert_eq!(status, 200, "{body}");
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// Objects of a collection (of all namespaces), by path.
    pub(crate) fn list(&self, collection: &str) -> Vec<Value> {
        self.state().list(collection)
    }

    /// Lets so many writes through, and then answers nothing any more.
    pub(crate) fn hang_after(&self, writes: usize) {
        self.state().writes_max = writes;
    }

    /// Whether the last write that was let through has been made.
    pub(crate) fn is_hanging(&self) -> bool {
        let state = self.state();
        state.writes.len() >= state.writes_max
    }

    /// Requests that changed something (events aside), as `verb path`.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.state().writes.clone()
    }

    fn handle(&self, method: &Method, uri: &http::Uri, body: &[u8]) -> Response<Body> {
        let target = Target::parse(uri.path());
        let query = uri.query().unwrap_or_default();
        let mut state = self.state();
        let path = match &target.name {
            Some(name) => format!("{}/{name}", target.collection),
            None => target.collection.clone(),
        };
        if *method != Method::GET && !target.collection.ends_with("/events") {
            state.writes.push(format!("{method} {}", uri.path()));
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let (status, answer) = match (method.as_str(), &target.subresource) {
            ("GET", _) if query.contains("watch=true") => {
                return state.watch(&target.collection, query);
            }
            ("GET", _) if target.name.is_none() => {
                let items = state.list(&target.collection);
                let version = state.version.to_string();
                (
                    200,
                    json!({"kind": "List", "apiVersion": "v1",
                    "metadata": {"resourceVersion": version}, "items": items}),
                )
            }
            ("GET", _) => match state.objects.get(&path) {
                Some(object) => (200, object.clone()),
                None => missing(&path),
            },
            ("POST", Some(subresource)) if subresource == "eviction" => {
                state.delete(&path);
                (
                    201,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
                )
            }
            ("POST", _) => state.create(&target.collection, body),
            ("PATCH", _) => state.patch(&path, &body),
            ("DELETE", _) => state.delete(&path),
            _ => failure(405, "MethodNotAllowed", "no such method"),
        };
        respond(status, &answer)
    }
}

impl HttpService for ApiServer {
    fn call(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            if this.is_hanging() {
                return std::future::pending().await;
            }
            Ok(this.handle(&parts.method, &parts.uri, &body))
        })
    }
}

fn respond(status: u16, body: &Value) -> Response<Body> {
    let bytes = Bytes::from(body.to_string());
    Response::builder()
        .status(status)
        .body(full_body(bytes))
        .expect("a response")
}

fn failure(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": message});
    (code, status)
}

fn missing(path: &str) -> (u16, Value) {
    failure(404, "NotFound", &format!("{path} not found"))
}

impl State {
    /// Items of a collection; a cluster-wide path covers all namespaces.
    fn list(&self, collection: &str) -> Vec<Value> {
        let items = self
            .objects
            .iter()
            .filter(|(path, _)| belongs(path, collection));
        items.map(|(_, object)| object.clone()).collect()
    }

    fn create(&mut self, collection: &str, mut object: Value) -> (u16, Value) {
        self.version += 1;
        let meta = &mut object["metadata"];
        if meta["name"].is_null() {
            let prefix = meta["generateName"].as_str().unwrap_or("x-").to_owned();
            meta["name"] = format!("{prefix}{}", self.version).into();
        }
        let path = format!("{collection}/{}", meta["name"].as_str().unwrap_or_default());
        if self.objects.contains_key(&path) {
            return failure(409, "AlreadyExists", &format!("{path} already exists"));
        }
        if let Some((_, rest)) = collection.split_once("/namespaces/") {
            meta["namespace"] = rest.split('/').next().unwrap_or_default().into();
        }
        meta["uid"] = format!("uid-{}", self.version).into();
        meta["creationTimestamp"] = self.now();
        meta["generation"] = 1.into();
        self.store(&path, object, "ADDED")
    }

    fn patch(&mut self, path: &str, patch: &Value) -> (u16, Value) {
        let Some(old) = self.objects.get(path).cloned() else {
            return missing(path);
        };
        let guard = &patch["metadata"]["resourceVersion"];
        if !guard.is_null() && *guard != old["metadata"]["resourceVersion"] {
            return failure(409, "Conflict", "the object has been modified");
        }
        let mut new = old.clone();
        json_patch::merge(&mut new, patch);
        if new == old {
            return (200, old);
        }
        self.version += 1;
        self.settle(path, new)
    }

    fn delete(&mut self, path: &str) -> (u16, Value) {
        let Some(mut object) = self.objects.get(path).cloned() else {
            return missing(path);
        };
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = self.now();
        }
        self.version += 1;
        self.settle(path, object)
    }

    /// Stores a change, or removes what is being deleted and has no finalizers.
    fn settle(&mut self, path: &str, object: Value) -> (u16, Value) {
        let meta = &object["metadata"];
        let is_held = meta["finalizers"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
        if meta["deletionTimestamp"].is_null() || is_held {
            return self.store(path, object, "MODIFIED");
        }
        let answer = self.store(path, object, "DELETED");
        self.objects.remove(path);
        (200, answer.1)
    }

    fn store(&mut self, path: &str, mut object: Value, event: &str) -> (u16, Value) {
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        let line = format!("{}\n", json!({"type": event, "object": object}));
        self.watches.retain(|(collection, sender)| {
            !belongs(path, collection) || sender.unbounded_send(line.clone().into()).is_ok()
        });
        (if event == "ADDED" { 201 } else { 200 }, object)
    }

    /// Streams changes; what happened since the version asked for comes first.
    fn watch(&mut self, collection: &str, query: &str) -> Response<Body> {
        let since = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="));
        let since: u64 = since.and_then(|text| text.parse().ok()).unwrap_or_default();
        let (sender, receiver) = unbounded();
        for object in self.list(collection) {
            let version = object["metadata"]["resourceVersion"]
                .as_str()
                .unwrap_or_default();
            if version.parse::<u64>().unwrap_or_default() > since {
                let line = format!("{}\n", json!({"type": "MODIFIED", "object": object}));
                sender
                    .unbounded_send(line.into())
                    .expect("the receiver is here");
            }
        }
        self.watches.push((collection.to_owned(), sender));
        let frames = receiver.map(|bytes| Ok::<_, BoxError>(Frame::data(bytes)));
        let body = StreamBody::new(frames).boxed_unsync();
        Response::builder()
            .status(200)
            .body(body)
            .expect("a response")
    }

    fn now(&self) -> Value {
        let now = self.clock.now();
        jiff::Timestamp::from_second(now.as_second())
            .expect("in range")
            .to_string()
            .into()
    }
}

fn belongs(path: &str, collection: &str) -> bool {
    if let Some(name) = path
        .strip_prefix(collection)
        .and_then(|rest| rest.strip_prefix('/'))
    {
        return !name.contains('/');
    }
    // `/api/v1/pods` covers `/api/v1/namespaces/default/pods/p`.
    let Some((group, resource)) = collection.rsplit_once('/') else {
        return false;
    };
    let Some(rest) = path.strip_prefix(&format!("{group}/namespaces/")) else {
        return false;
    };
    let parts: Vec<&str> = rest.split('/').collect();
    parts.len() == 3 && parts[1] == resource
}
