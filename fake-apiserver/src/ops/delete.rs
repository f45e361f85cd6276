//! Deleting objects (`…/pkg/registry/rest/delete.go`).

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::list::ListOptions;
use super::revision_of;
use super::update::is_finished;
use crate::admission::node_restriction::{self, Transition};
use crate::item::Item;
use crate::machine::{Answer, Call, Machine};
use crate::meta;
use crate::status::{Fault, FieldError, Named, Result, Status};

const DEFAULT_GRACE: i64 = 30;

const PROTECTED_NAMESPACES: [&str; 4] =
    ["default", "kube-node-lease", "kube-public", "kube-system"];

impl Machine {
    pub(super) fn delete(&mut self, call: &mut Call<'_>, options: &Value) -> Result<Answer> {
        let old = self.stored(call.view, call.namespace, call.name)?;
        check_options(options)?;
        check_preconditions(call, &old, options)?;
        let resource = &call.view.resource;
        if resource.is("", "namespaces") && PROTECTED_NAMESPACES.contains(&call.name) {
            return Err(super::refuse(
                call,
                call.name,
                "this namespace may not be deleted",
            ));
        }
        let step = Transition {
            old: Some(old.value()),
            new: None,
        };
        node_restriction::check(call, step)?;
        let dry_run = call.options.dry_run || options["dryRun"][0] == "All";
        let mut new = old.value().clone();
        set_propagation(&mut new, options);
        let grace = if resource.is("", "pods") {
            pod_grace(old.value(), options)
        } else {
            0
        };
        mark_deleted(call, &mut new, grace, resource.is("", "pods"));
        if resource.is("", "namespaces") {
            meta::map_mut(&mut new, "status").insert("phase".into(), "Terminating".into());
        }
        if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
            hold_definition(&mut new);
        }
        if is_finished(resource, &new) {
            let done = deleted_status(call, old.value());
            if !dry_run {
                self.commit_removal(call, &old, old.value().clone());
            }
            return Ok(Answer::Value(200, done));
        }
        if new == *old.value() || dry_run {
            return Ok(Answer::Object(200, Item::new(new)));
        }
        if !meta::is_deleting(old.value())
            && let Some(generation) = old.value()["metadata"]["generation"].as_i64()
        {
            meta::set(&mut new, "generation", generation + 1);
        }
        Ok(Answer::Object(200, self.commit(call, Some(&old), new)))
    }

    /// Deletes everything a list would show, each object by its own rules.
    pub(crate) fn delete_collection(
        &mut self,
        call: &mut Call<'_>,
        list: &ListOptions,
        options: &Value,
    ) -> Result<Vec<Item>> {
        let target = (call.namespace, "", "");
        self.authorize_call(call.user, "deletecollection", call.view, target)?;
        if !call
            .view
            .resource
            .verbs
            .iter()
            .any(|verb| verb == "deletecollection")
        {
            return Err(Status::method_not_allowed());
        }
        check_options(options)?;
        let page = self.page(call.view, call.namespace, list)?;
        for item in &page.items {
            let mut one = Call {
                now: call.now,
                user: call.user,
                view: call.view,
                namespace: item.namespace(),
                name: item.name(),
                subresource: "",
                options: call.options,
                warnings: Vec::new(),
            };
            match self.delete(&mut one, options) {
                Ok(_) => {}
                Err(status) if matches!(status.code, 404 | 409) => {}
                Err(status) => return Err(status),
            }
        }
        Ok(page.items)
    }
}

fn check_options(options: &Value) -> Result<()> {
    let named = Named {
        group: "meta.k8s.io",
        kind: "DeleteOptions",
        name: "",
    };
    let policy = options["propagationPolicy"].as_str();
    let mut errors = Vec::new();
    if policy.is_some() && options["orphanDependents"].is_boolean() {
        errors.push(FieldError::invalid(
            "propagationPolicy",
            &options["propagationPolicy"],
            "orphanDependents and deletionPropagation cannot be both set",
        ));
    }
    if let Some(policy) = policy
        && !matches!(policy, "Background" | "Foreground" | "Orphan")
    {
        errors.push(FieldError::not_supported(
            "propagationPolicy",
            &policy.into(),
            &["Foreground", "Background", "Orphan", "nil"],
        ));
    }
    if let Some(dry_run) = options.get("dryRun").filter(|value| !value.is_null())
        && *dry_run != json!(["All"])
        && *dry_run != json!([])
    {
        errors.push(FieldError::value(
            "dryRun",
            Fault::NotSupported,
            dry_run,
            "supported values: \"All\"",
        ));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(named, &errors))
    }
}

fn check_preconditions(call: &Call<'_>, old: &Item, options: &Value) -> Result<()> {
    let wanted = &options["preconditions"];
    let resource = &call.view.resource;
    // the real server names the Kind here, without its group
    let named = Named {
        group: "",
        kind: &resource.kind,
        name: call.name,
    };
    if let Some(uid) = wanted["uid"].as_str() {
        let own = meta::string(old.value(), "uid");
        if uid != own {
            let why = format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({own}). The object might have been deleted and then recreated"
            );
            return Err(Status::conflict(named, &why));
        }
    }
    if let Some(revision) = wanted["resourceVersion"].as_str() {
        let own = revision_of(old).to_string();
        if revision != own {
            let why = format!(
                "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record ({own}). The object might have been modified"
            );
            return Err(Status::conflict(named, &why));
        }
    }
    Ok(())
}

/// Finalizers that make the garbage collector treat dependents as asked.
fn set_propagation(new: &mut Value, options: &Value) {
    let orphan = options["orphanDependents"].as_bool();
    let wanted = match (options["propagationPolicy"].as_str(), orphan) {
        (Some("Foreground"), _) => Some("foregroundDeletion"),
        (Some("Orphan"), _) | (None, Some(true)) => Some("orphan"),
        (Some("Background"), _) | (None, Some(false)) => None,
        // unset: what is there stays
        _ => return,
    };
    let own: Vec<String> = meta::finalizers(new)
        .filter(|name| !matches!(*name, "foregroundDeletion" | "orphan"))
        .map(str::to_owned)
        .chain(wanted.map(str::to_owned))
        .collect();
    if own.is_empty() {
        meta::remove(new, "finalizers");
    } else {
        meta::set(new, "finalizers", own);
    }
}

fn pod_grace(pod: &Value, options: &Value) -> i64 {
    let spec = &pod["spec"];
    let asked = options["gracePeriodSeconds"].as_i64();
    let period = asked
        .or(spec["terminationGracePeriodSeconds"].as_i64())
        .unwrap_or(DEFAULT_GRACE);
    let unscheduled = spec["nodeName"].as_str().unwrap_or_default().is_empty();
    let finished = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    if unscheduled || finished {
        0
    } else if period < 0 {
        1
    } else {
        period
    }
}

/// Sets or shortens the deletion; a longer period than the running one changes nothing.
fn mark_deleted(call: &Call<'_>, new: &mut Value, grace: i64, graceful: bool) {
    let metadata = &new["metadata"];
    let running = metadata["deletionGracePeriodSeconds"].as_i64();
    let since = if let Some(deadline) = metadata["deletionTimestamp"].as_str() {
        let running = running.unwrap_or(0);
        if !graceful || grace >= running {
            return;
        }
        // the period counts from the first request
        meta::parse_time(deadline)
            .and_then(|deadline| {
                deadline
                    .checked_sub(SignedDuration::from_secs(running))
                    .ok()
            })
            .unwrap_or(call.now)
    } else {
        call.now
    };
    let deadline = since
        .checked_add(SignedDuration::from_secs(grace))
        .unwrap_or(since);
    let metadata = meta::metadata_mut(new);
    metadata.insert("deletionTimestamp".into(), meta::time(deadline).into());
    // namespaces have a deletion of their own (`pkg/registry/core/namespace/storage`)
    if !call.view.resource.is("", "namespaces") {
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    }
}

/// A CRD goes when its objects are gone.
fn hold_definition(new: &mut Value) {
    const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
    let mut own: Vec<String> = meta::finalizers(new).map(str::to_owned).collect();
    if !own.iter().any(|name| name == CLEANUP) {
        own.push(CLEANUP.to_owned());
        meta::set(new, "finalizers", own);
    }
}

fn deleted_status(call: &Call<'_>, old: &Value) -> Value {
    let resource = &call.view.resource;
    let mut details = serde_json::Map::new();
    details.insert("name".into(), call.name.into());
    if !resource.group.is_empty() {
        details.insert("group".into(), resource.group.clone().into());
    }
    details.insert("kind".into(), resource.plural.clone().into());
    details.insert("uid".into(), meta::string(old, "uid").into());
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details,
    })
}
