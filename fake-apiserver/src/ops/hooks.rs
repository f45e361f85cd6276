//! What the server itself does after a write: serve a new CRD, finish a deleted one, sign a
//! certificate. Everything else that follows from writes is the work of components.

use serde_json::{Value, json};

use crate::item::Item;
use crate::machine::{Call, Machine};
use crate::meta;
use crate::registry::{View, custom};

impl Machine {
    pub(super) fn after_write(&mut self, call: &Call<'_>, old: Option<&Item>, new: Option<&Item>) {
        let resource = &call.view.resource;
        if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
            self.definition_changed(call, old, new);
        } else if resource.is("certificates.k8s.io", "certificatesigningrequests") {
            if let Some(item) = new {
                self.advance_request(call, item);
            }
        } else if resource.custom && new.is_none() {
            self.instance_removed(call, &resource.group, &resource.plural);
        }
    }

    fn definition_changed(&mut self, call: &Call<'_>, old: Option<&Item>, new: Option<&Item>) {
        let Some(item) = new else {
            if let Some(old) = old {
                let spec = &old.value()["spec"];
                let names = (&spec["group"], &spec["names"]["plural"]);
                if let (Some(group), Some(plural)) = (names.0.as_str(), names.1.as_str()) {
                    self.registry.remove_custom(group, plural);
                }
            }
            return;
        };
        let crd = item.value();
        if meta::is_deleting(crd) {
            let newly = old.is_none_or(|old| !meta::is_deleting(old.value()));
            if newly {
                self.clean_up(call, item);
            }
            return;
        }
        let unchanged = old.is_some_and(|old| old.value()["spec"] == crd["spec"]);
        if unchanged && custom::is_established(crd) {
            return;
        }
        let status = custom::status(crd, &self.registry, &meta::time(call.now));
        let mut established = crd.clone();
        if let Some(map) = established.as_object_mut() {
            map.insert("status".into(), keep_times(status, &crd["status"]));
        }
        if custom::is_established(&established) {
            custom::accept(&mut self.registry, &established);
        }
        if established["status"] != crd["status"] {
            // same spec, so that this ends after one more round
            self.commit(call, Some(item), established);
        }
    }

    /// Deletes the objects of a deleted CRD, then the CRD.
    fn clean_up(&mut self, call: &Call<'_>, crd: &Item) {
        let spec = &crd.value()["spec"];
        let (group, plural) = (
            spec["group"].as_str().unwrap_or_default(),
            spec["names"]["plural"].as_str().unwrap_or_default(),
        );
        let Some(view) = self
            .registry
            .stored(group, plural)
            .filter(|view| view.resource.custom)
        else {
            self.finish_definition(call, crd);
            return;
        };
        let space = view.resource.space;
        let items: Vec<Item> = self
            .store
            .range(space, "", None)
            .map(|(_, found)| found.value.clone())
            .collect();
        if items.is_empty() {
            self.finish_definition(call, crd);
            return;
        }
        for item in items {
            self.delete_instance(call, &view, &item);
        }
    }

    fn delete_instance(&mut self, call: &Call<'_>, view: &View, item: &Item) {
        let mut one = Call {
            view,
            namespace: item.namespace(),
            name: item.name(),
            subresource: "",
            warnings: Vec::new(),
            ..*call
        };
        if let Err(status) = self.delete(&mut one, &json!({})) {
            tracing::warn!(
                name = item.name(),
                why = status.message,
                "object of a deleted CRD stays"
            );
        }
    }

    fn instance_removed(&mut self, call: &Call<'_>, group: &str, plural: &str) {
        let name = format!("{plural}.{group}");
        let Some(crd) = self.builtin(
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "",
            &name,
        ) else {
            return;
        };
        if meta::is_deleting(crd.value()) && self.store.is_empty(call.view.resource.space) {
            self.finish_definition(call, &crd);
        }
    }

    fn finish_definition(&mut self, call: &Call<'_>, crd: &Item) {
        let Some(view) = self
            .registry
            .stored("apiextensions.k8s.io", "customresourcedefinitions")
        else {
            return;
        };
        let mut last = crd.value().clone();
        let own: Vec<String> = meta::finalizers(&last)
            .filter(|name| *name != "customresourcecleanup.apiextensions.k8s.io")
            .map(str::to_owned)
            .collect();
        let call = Call {
            view: &view,
            namespace: "",
            name: crd.name(),
            subresource: "",
            warnings: Vec::new(),
            ..*call
        };
        if own.is_empty() {
            meta::remove(&mut last, "finalizers");
            self.commit_removal(&call, crd, last);
        } else {
            meta::set(&mut last, "finalizers", own);
            self.commit(&call, Some(crd), last);
        }
    }
}

/// Keeps the transition time of a condition that did not change.
fn keep_times(mut status: Value, old: &Value) -> Value {
    let before = old["conditions"].as_array().cloned().unwrap_or_default();
    if let Some(conditions) = status["conditions"].as_array_mut() {
        for condition in conditions {
            let same = before.iter().find(|own| {
                own["type"] == condition["type"] && own["status"] == condition["status"]
            });
            if let Some(own) = same {
                condition["lastTransitionTime"] = own["lastTransitionTime"].clone();
            }
        }
    }
    status
}
