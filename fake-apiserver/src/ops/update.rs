//! Changing objects (`…/pkg/registry/rest/update.go`, `…/pkg/registry/generic/registry/store.go`).

use serde_json::Value;

use super::{revision_of, wanted_revision};
use crate::admission::node_restriction::{self, Transition};
use crate::item::Item;
use crate::machine::{Answer, Call, Machine};
use crate::meta;
use crate::patch::apply::managed;
use crate::registry::ResourceType;
use crate::status::{FieldError, Result, Status};
use crate::{admission, defaulting};

/// Where a new state comes from: preconditions are worded differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Put,
    Patch,
    /// Server-side apply: `managedFields` is already right.
    Apply,
}

impl Machine {
    pub(super) fn update(&mut self, call: &mut Call<'_>, mut body: Value) -> Result<Answer> {
        if call.subresource == "scale" {
            return self.update_scale(call, &body);
        }
        super::accept(call, &mut body, false)?;
        crate::machine::to_stored(call.view, &mut body)?;
        let name = meta::string(&body, "name");
        if !name.is_empty() && name != call.name {
            return Err(Status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                call.name
            )));
        }
        let namespace = meta::string(&body, "namespace");
        if !namespace.is_empty() && namespace != call.namespace && call.view.resource.namespaced {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        match self.stored(call.view, call.namespace, call.name) {
            Ok(old) => {
                let item = self.replace(call, &old, body, Origin::Put)?;
                Ok(Answer::Object(200, item))
            }
            Err(_)
                if call.view.resource.behaviour.create_on_update && call.subresource.is_empty() =>
            {
                let target = (call.namespace, call.name, "");
                self.authorize_call(call.user, "create", call.view, target)?;
                meta::set(&mut body, "name", call.name);
                self.create_object(call, body, false)
                    .map(|item| Answer::Object(201, item))
            }
            Err(missing) => Err(missing),
        }
    }

    /// Puts `new` (in stored form) in the place of `old`, as far as the subresource allows.
    pub(super) fn replace(
        &mut self,
        call: &mut Call<'_>,
        old: &Item,
        mut new: Value,
        origin: Origin,
    ) -> Result<Item> {
        check_preconditions(call, old, &new, origin)?;
        let resource = &call.view.resource;
        keep_system_fields(&mut new, old.value());
        isolate(call, &mut new, old.value());
        if call.subresource.is_empty() {
            defaulting::update(&resource.group, &resource.plural, &mut new);
            admission::update(self, call, old.value(), &mut new)?;
        }
        check_finalizers(call, old.value(), &new)?;
        if call.subresource == "resize" {
            check_resize(call, old.value(), &new)?;
        }
        if call.subresource.is_empty() || resource.custom {
            self.check_new(call, &mut new, Some(old.value()))?;
        }
        let step = Transition {
            old: Some(old.value()),
            new: Some(&new),
        };
        node_restriction::check(call, step)?;
        bump_generation(resource, call.view.has_status(), old.value(), &mut new);
        if origin != Origin::Apply {
            managed::track(self, call, Some(old.value()), &mut new);
        }
        if new == *old.value() {
            return Ok(old.clone());
        }
        if call.options.dry_run {
            return Ok(Item::new(new));
        }
        if is_finished(resource, &new) {
            return Ok(self.commit_removal(call, old, new));
        }
        Ok(self.commit(call, Some(old), new))
    }
}

fn check_preconditions(call: &Call<'_>, old: &Item, new: &Value, origin: Origin) -> Result<()> {
    let resource = &call.view.resource;
    match wanted_revision(new)? {
        Some(wanted) if wanted != revision_of(old) => {
            return Err(Status::stale(resource.named(call.name)));
        }
        None if origin == Origin::Put && !resource.behaviour.unconditional_update => {
            let error = FieldError::shown(
                "metadata.resourceVersion",
                crate::status::Fault::Invalid,
                "0",
                "must be specified for an update",
            );
            // a quirk of custom resources: the resource, not the kind, is named
            let named = if resource.custom {
                resource.named(call.name)
            } else {
                resource.kind_named(call.name)
            };
            return Err(Status::invalid(named, &[error]));
        }
        _ => {}
    }
    let (uid, own) = (meta::string(new, "uid"), meta::string(old.value(), "uid"));
    if uid.is_empty() || uid == own {
        return Ok(());
    }
    if origin == Origin::Put {
        let prefix = if resource.custom {
            format!("{}/", resource.group)
        } else {
            String::new()
        };
        let place = crate::machine::key(call.namespace, call.name);
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{prefix}{}/{place}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {own}",
            resource.plural
        );
        return Err(Status::conflict(resource.named(call.name), &why));
    }
    let error = FieldError::invalid("metadata.uid", &uid.into(), "field is immutable");
    // upstream's update validates metadata twice
    let errors = [error.clone(), error];
    Err(Status::invalid(resource.kind_named(call.name), &errors))
}

/// Fields no client may change.
fn keep_system_fields(new: &mut Value, old: &Value) {
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ] {
        meta::restore(new, old, field);
    }
    meta::remove(new, "selfLink");
}

/// The main endpoint changes no status, `/status` nothing else, and so on.
fn isolate(call: &Call<'_>, new: &mut Value, old: &Value) {
    let resource = &call.view.resource;
    match call.subresource {
        "" => {
            if call.view.has_status() {
                meta::restore_top(new, old, "status");
            }
            if resource.is("", "namespaces") {
                keep_path(new, old, "spec", "finalizers");
            }
        }
        "status" => {
            keep_only(new, old, &["status", "metadata"]);
            if resource.custom {
                let managed = new["metadata"].get("managedFields").cloned();
                meta::restore_top(new, old, "metadata");
                put_metadata(new, "managedFields", managed);
            } else if resource.is("", "pods") {
                let owners = old["metadata"].get("ownerReferences").cloned();
                put_metadata(new, "ownerReferences", owners);
            }
        }
        // spec changes only: resize, ephemeralcontainers, finalize
        "resize" | "ephemeralcontainers" | "finalize" => {
            keep_only(new, old, &["spec"]);
        }
        "approval" => {
            let conditions = new["status"].get("conditions").cloned();
            *new = old.clone();
            if let Some(conditions) = conditions {
                meta::map_mut(new, "status").insert("conditions".into(), conditions);
            }
        }
        _ => {}
    }
}

/// Everything but these fields is what it was.
fn keep_only(new: &mut Value, old: &Value, fields: &[&str]) {
    let (Some(new), Some(old)) = (new.as_object_mut(), old.as_object()) else {
        return;
    };
    let is_kept = |field: &str| fields.contains(&field);
    new.retain(|field, _| is_kept(field));
    let others = old.iter().filter(|(field, _)| !is_kept(field));
    new.extend(others.map(|(field, value)| (field.clone(), value.clone())));
}

fn put_metadata(object: &mut Value, field: &str, value: Option<Value>) {
    let metadata = meta::metadata_mut(object);
    match value {
        Some(value) => metadata.insert(field.to_owned(), value),
        None => metadata.remove(field),
    };
}

fn keep_path(new: &mut Value, old: &Value, parent: &str, field: &str) {
    if let Some(value) = old[parent].get(field) {
        meta::map_mut(new, parent).insert(field.to_owned(), value.clone());
    }
}

/// A resize keeps the class of service (`ValidatePodResize`).
fn check_resize(call: &Call<'_>, old: &Value, new: &Value) -> Result<()> {
    let (was, is) = (defaulting::qos(&old["spec"]), defaulting::qos(&new["spec"]));
    if was == is {
        return Ok(());
    }
    let detail = "Pod QOS Class may not change as a result of resizing";
    let error = FieldError::invalid("spec", &was.into(), detail);
    Err(Status::invalid(
        call.view.resource.kind_named(call.name),
        &[error],
    ))
}

fn check_finalizers(call: &Call<'_>, old: &Value, new: &Value) -> Result<()> {
    if !meta::is_deleting(old) {
        return Ok(());
    }
    let own: Vec<&str> = meta::finalizers(old).collect();
    let added: Vec<String> = meta::finalizers(new)
        .filter(|name| !own.contains(name))
        .map(|name| format!("\"{name}\""))
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    let error = FieldError::forbidden("metadata.finalizers", &detail);
    let errors = [error.clone(), error];
    Err(Status::invalid(
        call.view.resource.kind_named(call.name),
        &errors,
    ))
}

fn bump_generation(resource: &ResourceType, has_status: bool, old: &Value, new: &mut Value) {
    if !resource.behaviour.generation {
        return;
    }
    let counted = |name: &String| match name.as_str() {
        "apiVersion" | "kind" | "metadata" => false,
        "status" => resource.custom && !has_status,
        _ => true,
    };
    let changed = match (old.as_object(), new.as_object()) {
        (Some(old), Some(new)) => {
            let count =
                |map: &serde_json::Map<String, Value>| map.keys().filter(|n| counted(n)).count();
            new.iter()
                .any(|(name, value)| counted(name) && old.get(name) != Some(value))
                || count(old) != count(new)
        }
        _ => true,
    };
    if changed {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
        meta::set(new, "generation", generation);
    }
}

/// A deleted object without anything left to wait for.
pub(super) fn is_finished(resource: &ResourceType, object: &Value) -> bool {
    let waits_for_namespace = resource.is("", "namespaces")
        && object["spec"]["finalizers"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
    meta::is_deleting(object)
        && meta::finalizers(object).next().is_none()
        && object["metadata"]["deletionGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(0)
            == 0
        && !waits_for_namespace
}
