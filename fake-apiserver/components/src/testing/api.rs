//! An API server in memory: names, uids, versions, conflicts, finalizers, grace periods, the
//! subresources and patches the components use, and the history they watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{
    Api, Change, Identity, Object, Operation, PatchType, Request, Resource, Status, WatchEvent,
};
use crate::kinds::PODS;
use crate::object::{Key, items, text};
use crate::time::{micro, rfc3339};

type Place = (Resource, Key);

/// The server. Every request is noted in `log`.
#[derive(Debug, Default)]
pub(crate) struct MemoryApi {
    objects: BTreeMap<Place, Value>,
    history: Vec<WatchEvent>,
    revision: u64,
    uids: u64,
    /// Changes up to this revision are forgotten.
    pub(crate) floor: u64,
    /// Status updates are acknowledged but not kept: a server nobody can come to rest with.
    pub(crate) forgets_status: bool,
    /// `user verb resource[/sub] namespace/name code body`.
    pub(crate) log: Vec<String>,
}

fn status(code: u16, reason: &str, message: &str) -> Status {
    Status {
        code,
        reason: reason.to_owned(),
        message: message.to_owned(),
        retry_after_seconds: None,
    }
}

fn conflict() -> Status {
    status(409, "Conflict", "the object has been modified")
}

impl MemoryApi {
    pub(crate) fn get(&self, resource: Resource, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(resource, Key::new(namespace, name)))
    }

    pub(crate) fn all(&self, resource: Resource) -> impl Iterator<Item = &Value> {
        self.objects
            .iter()
            .filter(move |((r, _), _)| *r == resource)
            .map(|(_, value)| value)
    }

    fn record(&mut self, place: &Place, change: Change) {
        let value = match change {
            Change::Deleted => self.objects.remove(place).expect("it was there"),
            _ => {
                self.revision += 1;
                let revision = self.revision.to_string();
                let value = self.objects.get_mut(place).expect("it is there");
                value["metadata"]["resourceVersion"] = json!(revision);
                value.clone()
            }
        };
        if change == Change::Deleted {
            self.revision += 1;
        }
        self.history.push(WatchEvent {
            revision: self.revision,
            resource: place.0,
            change,
            object: Object::new(Arc::new(value)),
        });
    }

    fn create(&mut self, now: Timestamp, request: &Request, body: &Value) -> Result<Value, Status> {
        let mut value = body.clone();
        self.uids += 1;
        let name = match text(&value["metadata"]["name"]) {
            "" => format!(
                "{}{:05}",
                text(&value["metadata"]["generateName"]),
                self.uids
            ),
            name => name.to_owned(),
        };
        let place = (request.resource, Key::new(&request.namespace, &name));
        if self.objects.contains_key(&place) {
            return Err(status(
                409,
                "AlreadyExists",
                &format!("{name} already exists"),
            ));
        }
        let metadata = &mut value["metadata"];
        metadata["name"] = json!(name);
        if !request.namespace.is_empty() {
            metadata["namespace"] = json!(request.namespace);
        }
        metadata["uid"] = json!(format!("uid-{}", self.uids));
        metadata["generation"] = json!(1);
        metadata["creationTimestamp"] = json!(rfc3339(now));
        if request.resource == PODS {
            value["status"]["phase"] = json!("Pending");
        }
        self.objects.insert(place.clone(), value);
        self.record(&place, Change::Added);
        Ok(self.objects[&place].clone())
    }

    /// Stores a new state; answers the old one when nothing changed.
    fn store(&mut self, now: Timestamp, place: &Place, mut value: Value) -> Value {
        let old = &self.objects[place];
        prune(&mut value);
        if old["spec"] != value["spec"] {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
            value["metadata"]["generation"] = json!(generation + 1);
        }
        value["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if *old == value {
            return value;
        }
        self.objects.insert(place.clone(), value);
        self.record(place, Change::Modified);
        let stored = self.objects[place].clone();
        self.end_if_free(now, place);
        stored
    }

    /// A deleted object without finalizers or grace is gone.
    fn end_if_free(&mut self, _now: Timestamp, place: &Place) {
        let Some(value) = self.objects.get(place) else {
            return;
        };
        let metadata = &value["metadata"];
        let grace = metadata["deletionGracePeriodSeconds"]
            .as_i64()
            .unwrap_or_default();
        let held = !items(&metadata["finalizers"]).is_empty()
            || !items(&value["spec"]["finalizers"]).is_empty();
        if metadata["deletionTimestamp"].is_string() && grace == 0 && !held {
            self.record(place, Change::Deleted);
        }
    }

    fn delete(&mut self, now: Timestamp, place: &Place, options: &Value) -> Result<Value, Status> {
        let value = self.objects.get(place).ok_or_else(|| not_found(place))?;
        let uid = &options["preconditions"]["uid"];
        if uid.is_string() && *uid != value["metadata"]["uid"] {
            return Err(conflict());
        }
        let mut value = value.clone();
        let bound = place.0 == PODS && value["spec"]["nodeName"].is_string();
        let default = value["spec"]["terminationGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(30);
        let grace = if bound {
            options["gracePeriodSeconds"].as_i64().unwrap_or(default)
        } else {
            0
        };
        let metadata = &mut value["metadata"];
        let finalizer = match text(&options["propagationPolicy"]) {
            "Foreground" => Some("foregroundDeletion"),
            "Orphan" => Some("orphan"),
            _ => None,
        };
        if let Some(finalizer) = finalizer {
            let mut held = items(&metadata["finalizers"]).to_vec();
            held.push(json!(finalizer));
            metadata["finalizers"] = json!(held);
        }
        if !metadata["deletionTimestamp"].is_string() {
            metadata["deletionTimestamp"] = json!(rfc3339(now));
        }
        metadata["deletionGracePeriodSeconds"] = json!(grace);
        Ok(self.store(now, place, value))
    }

    fn bind(&mut self, now: Timestamp, place: &Place, body: &Value) -> Result<Value, Status> {
        let mut value = self
            .objects
            .get(place)
            .ok_or_else(|| not_found(place))?
            .clone();
        if value["spec"]["nodeName"].is_string() {
            return Err(conflict());
        }
        value["spec"]["nodeName"] = body["target"]["name"].clone();
        let generation = value["metadata"]["generation"].clone();
        let scheduled = json!({ "status": { "conditions": [
            { "type": "PodScheduled", "status": "True", "reason": null, "message": null },
        ] } });
        strategic(&mut value, &scheduled);
        let stored = self.store(now, place, value);
        self.objects.get_mut(place).expect("stored")["metadata"]["generation"] = generation;
        Ok(stored)
    }

    fn execute(&mut self, now: Timestamp, request: &Request) -> Result<Value, Status> {
        let place = (
            request.resource,
            Key::new(&request.namespace, &request.name),
        );
        match &request.operation {
            Operation::Create(body) if request.subresource == "binding" => {
                self.bind(now, &place, body)
            }
            Operation::Create(body) => self.create(now, request, body),
            Operation::Delete(options) => self.delete(now, &place, options),
            Operation::DeleteCollection(options) => {
                let within = |(resource, key): &&Place| {
                    *resource == request.resource && key.namespace == request.namespace
                };
                let places: Vec<Place> = self.objects.keys().filter(within).cloned().collect();
                for place in places {
                    self.delete(now, &place, options)?;
                }
                Ok(Value::Null)
            }
            Operation::Get => self
                .objects
                .get(&place)
                .cloned()
                .ok_or_else(|| not_found(&place)),
            Operation::Update(body) => {
                let old = self.objects.get(&place).ok_or_else(|| not_found(&place))?;
                if body["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"] {
                    return Err(conflict());
                }
                let mut value = old.clone();
                match request.subresource {
                    "status" if self.forgets_status => {
                        value["metadata"]["forgotten"] = json!(self.revision);
                    }
                    "status" => {
                        value["status"] = body["status"].clone();
                        value["metadata"]["annotations"] = body["metadata"]["annotations"].clone();
                    }
                    _ => value = body.clone(),
                }
                Ok(self.store(now, &place, value))
            }
            Operation::Patch { kind, body } => {
                let old = self.objects.get(&place).ok_or_else(|| not_found(&place))?;
                let mut value = old.clone();
                let expected = &body["metadata"]["resourceVersion"];
                if expected.is_string() && *expected != value["metadata"]["resourceVersion"] {
                    return Err(conflict());
                }
                match kind {
                    PatchType::Merge => merge(&mut value, body),
                    _ => strategic(&mut value, body),
                }
                Ok(self.store(now, &place, value))
            }
        }
    }
}

/// What a reader of the log wants to see of a body.
fn essence(request: &Request, body: &Value) -> Value {
    match (request.resource.plural, request.subresource) {
        (_, "status") => body["status"].clone(),
        ("replicasets", _) if body["spec"].is_object() => {
            let metadata = &body["metadata"];
            json!({ "annotations": metadata["annotations"], "replicas": body["spec"]["replicas"] })
        }
        ("pods", "") if body["spec"].is_object() => Value::Null,
        ("nodes", "") if body["spec"].is_object() => body["spec"].clone(),
        _ => body.clone(),
    }
}

fn not_found((resource, key): &Place) -> Status {
    status(
        404,
        "NotFound",
        &format!("{} \"{}\" not found", resource.plural, key.name),
    )
}

/// JSON merge patch.
fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        merge(&mut target[key], value);
    }
}

/// Lists that strategic merge patches merge, with their keys.
fn merge_key(field: &str) -> Option<&'static str> {
    match field {
        "conditions" | "addresses" => Some("type"),
        "ownerReferences" => Some("uid"),
        "podIPs" => Some("ip"),
        _ => None,
    }
}

fn strategic(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (field, value) in fields {
        let (Some(key), Some(elements)) = (merge_key(field), value.as_array()) else {
            strategic(&mut target[field], value);
            continue;
        };
        let mut list = items(&target[field]).to_vec();
        for element in elements {
            let position = list.iter().position(|known| known[key] == element[key]);
            match (position, text(&element["$patch"])) {
                (Some(index), "delete") => {
                    list.remove(index);
                }
                (None, "delete") => {}
                (Some(index), _) => strategic(&mut list[index], element),
                (None, _) => list.push(element.clone()),
            }
        }
        target[field] = Value::Array(list);
    }
}

/// Takes nulls away, as storage does.
fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(prune);
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        _ => {}
    }
}

impl Api for MemoryApi {
    fn call(&mut self, now: Timestamp, request: &Request) -> Result<Object, Status> {
        let result = self.execute(now, request);
        let code = result.as_ref().map_or_else(|status| status.code, |_| 200);
        let name = match &result {
            Ok(value) => text(&value["metadata"]["name"]).to_owned(),
            Err(_) => request.name.clone(),
        };
        let sub = match request.subresource {
            "" => String::new(),
            sub => format!("/{sub}"),
        };
        let body = match &request.operation {
            Operation::Get => &Value::Null,
            Operation::Create(body)
            | Operation::Update(body)
            | Operation::Delete(body)
            | Operation::DeleteCollection(body) => body,
            Operation::Patch { body, .. } => body,
        };
        let body = essence(request, body);
        let who = request.identity.user.rsplit(':').next().unwrap_or_default();
        let verb = request.operation.verb();
        let at = micro(now)
            .get(14..23)
            .expect("a timestamp has as many characters")
            .to_owned();
        self.log.push(format!(
            "{at} {who} {verb} {}{sub} {name} {code} {body}",
            request.resource.plural
        ));
        result.map(|value| Object::new(Arc::new(value)))
    }

    fn list(&self, _who: &Identity, resource: Resource) -> Result<(Vec<Object>, u64), Status> {
        let objects = self
            .all(resource)
            .map(|value| Object::new(Arc::new(value.clone())));
        Ok((objects.collect(), self.revision))
    }

    fn changes(
        &self,
        _who: &Identity,
        resource: Resource,
        since: u64,
    ) -> Result<Vec<WatchEvent>, Status> {
        if since < self.floor {
            return Err(status(410, "Expired", "too old resource version"));
        }
        let first = self
            .history
            .partition_point(|event| event.revision <= since);
        let events = self.history.iter().skip(first);
        Ok(events
            .filter(|event| event.resource == resource)
            .cloned()
            .collect())
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}
