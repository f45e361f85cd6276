//! The scale subresource: `autoscaling/v1 Scale` over any kind that has replicas.

use fake_apiserver_components::api::PatchType;
use serde_json::{Value, json};

use super::update::Origin;
use crate::item::Item;
use crate::machine::{Answer, Call, Machine};
use crate::meta;
use crate::patch::{json as json_patch, merge};
use crate::registry::ScalePaths;
use crate::status::{FieldError, Named, Result, Status};

impl Machine {
    pub(super) fn get_scale(&mut self, call: &Call<'_>) -> Result<Answer> {
        let item = self.stored(call.view, call.namespace, call.name)?;
        Ok(Answer::Value(200, scale_of(call, item.value())))
    }

    pub(super) fn update_scale(&mut self, call: &mut Call<'_>, body: &Value) -> Result<Answer> {
        let old = self.stored(call.view, call.namespace, call.name)?;
        self.write_scale(call, &old, body)
    }

    pub(super) fn patch_scale(
        &mut self,
        call: &mut Call<'_>,
        kind: PatchType,
        body: &Value,
    ) -> Result<Answer> {
        let old = self.stored(call.view, call.namespace, call.name)?;
        let mut scale = scale_of(call, old.value());
        match kind {
            PatchType::Json => json_patch::apply(&mut scale, body)?,
            // a Scale has no lists: strategic and applied configurations merge like any other
            _ => merge::apply(&mut scale, body)?,
        }
        self.write_scale(call, &old, &scale)
    }

    fn write_scale(&mut self, call: &mut Call<'_>, old: &Item, scale: &Value) -> Result<Answer> {
        let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        if replicas < 0 {
            let error = FieldError::invalid(
                "spec.replicas",
                &replicas.into(),
                "must be greater than or equal to 0",
            );
            let named = Named {
                group: "autoscaling",
                kind: "Scale",
                name: call.name,
            };
            return Err(Status::invalid(named, &[error]));
        }
        let mut new = old.value().clone();
        set_path(&mut new, &paths(call).spec, replicas.into());
        match scale["metadata"].get("resourceVersion") {
            Some(version) => meta::set(&mut new, "resourceVersion", version.clone()),
            None => meta::remove(&mut new, "resourceVersion"),
        }
        let item = self.replace(call, old, new, Origin::Patch)?;
        Ok(Answer::Value(200, scale_of(call, item.value())))
    }
}

fn paths(call: &Call<'_>) -> ScalePaths {
    call.view
        .served()
        .scale
        .clone()
        .unwrap_or_else(|| ScalePaths {
            spec: "spec.replicas".into(),
            status: "status.replicas".into(),
            selector: None,
        })
}

fn scale_of(call: &Call<'_>, object: &Value) -> Value {
    let paths = paths(call);
    let at = |path: &str| path.split('.').fold(object, |value, step| &value[step]);
    let selector = match &paths.selector {
        Some(path) => at(path).as_str().unwrap_or_default().to_owned(),
        None if call.view.resource.custom => String::new(),
        None => selector_text(&object["spec"]["selector"]),
    };
    let metadata = &object["metadata"];
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": at(&paths.spec).as_i64().unwrap_or(0)},
        "status": {"replicas": at(&paths.status).as_i64().unwrap_or(0), "selector": selector},
    })
}

/// A label selector in the text form of `metav1.FormatLabelSelector`.
pub(crate) fn selector_text(selector: &Value) -> String {
    let exact = selector["matchLabels"].as_object().into_iter().flatten();
    let exact = exact.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten();
    let expressions = expressions.map(|expression| {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = expression["values"].as_array().into_iter().flatten();
        let mut values: Vec<&str> = values.filter_map(Value::as_str).collect();
        values.sort_unstable();
        match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        }
    });
    let mut terms: Vec<String> = exact.chain(expressions).collect();
    terms.sort();
    terms.join(",")
}

fn set_path(object: &mut Value, path: &str, value: Value) {
    let mut slot = object;
    for step in path.split('.') {
        if !slot.is_object() {
            *slot = json!({});
        }
        slot = &mut slot[step];
    }
    *slot = value;
}
