//! Patching objects (`…/pkg/endpoints/handlers/patch.go`).

use fake_apiserver_components::api::PatchType;
use serde_json::Value;

use super::update::Origin;
use crate::item::Item;
use crate::machine::{Answer, Call, Machine};
use crate::meta;
use crate::patch::{apply, json as json_patch, merge, strategic};
use crate::status::{FieldError, Named, Result, Status};

impl Machine {
    pub(super) fn patch(
        &mut self,
        call: &mut Call<'_>,
        kind: PatchType,
        body: &Value,
    ) -> Result<Answer> {
        check_options(call, kind)?;
        if call.subresource == "scale" {
            return self.patch_scale(call, kind, body);
        }
        if kind == PatchType::Apply {
            return self.apply(call, body);
        }
        let old = self.stored(call.view, call.namespace, call.name)?;
        let shown = crate::machine::present(call.view, &old)?;
        let mut new = shown.value().clone();
        patch_tree(call, kind, &mut new, body)?;
        let uid_before = meta::string(shown.value(), "uid");
        if meta::string(&new, "uid").is_empty() {
            meta::set(&mut new, "uid", uid_before);
        }
        if meta::string(&new, "name") != call.name {
            return Err(Status::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({})",
                meta::string(&new, "name"),
                call.name
            )));
        }
        super::accept(call, &mut new, true)?;
        crate::machine::to_stored(call.view, &mut new)?;
        let item = self.replace(call, &old, new, Origin::Patch)?;
        Ok(Answer::Object(200, item))
    }

    fn apply(&mut self, call: &mut Call<'_>, body: &Value) -> Result<Answer> {
        let mut config = body.clone();
        let resource = &call.view.resource;
        apply::check_known(call, &config)?;
        if config["metadata"]
            .get("managedFields")
            .is_some_and(|fields| !fields.is_null())
        {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        super::check_type(
            &mut config,
            &resource.kind,
            call.view.api_version(),
            resource.custom,
        )?;
        let name = meta::string(&config, "name");
        if !name.is_empty() && name != call.name {
            return Err(Status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                call.name
            )));
        }
        meta::set(&mut config, "name", call.name);
        if resource.namespaced {
            meta::set(&mut config, "namespace", call.namespace);
        }
        let old = self.stored(call.view, call.namespace, call.name);
        match old {
            Ok(old) => {
                let shown = crate::machine::present(call.view, &old)?;
                let mut new = apply::apply(call, Some(shown.value()), &config)?;
                super::accept(call, &mut new, true)?;
                crate::machine::to_stored(call.view, &mut new)?;
                let item = self.replace(call, &old, new, Origin::Apply)?;
                Ok(Answer::Object(200, item))
            }
            Err(_) if call.subresource.is_empty() => self
                .apply_new(call, config)
                .map(|item| Answer::Object(201, item)),
            Err(missing) => Err(missing),
        }
    }

    fn apply_new(&mut self, call: &mut Call<'_>, mut config: Value) -> Result<Item> {
        let uid = meta::string(&config, "uid");
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(Status::conflict(call.view.resource.named(call.name), &why));
        }
        let target = (call.namespace, call.name, "");
        self.authorize_call(call.user, "create", call.view, target)?;
        meta::remove(&mut config, "resourceVersion");
        let mut new = apply::apply(call, None, &config)?;
        super::accept(call, &mut new, true)?;
        crate::machine::to_stored(call.view, &mut new)?;
        self.create_object(call, new, true)
    }
}

fn check_options(call: &Call<'_>, kind: PatchType) -> Result<()> {
    let named = Named {
        group: "meta.k8s.io",
        kind: "PatchOptions",
        name: "",
    };
    if kind == PatchType::Apply && call.options.manager.is_empty() {
        let error = FieldError::required("fieldManager", "is required for apply patch");
        return Err(Status::invalid(named, &[error]));
    }
    if kind != PatchType::Apply && call.options.force.is_some() {
        let error = FieldError::forbidden("force", "may not be specified for non-apply patch");
        return Err(Status::invalid(named, &[error]));
    }
    Ok(())
}

/// Applies a patch that is not server-side apply.
fn patch_tree(call: &Call<'_>, kind: PatchType, tree: &mut Value, body: &Value) -> Result<()> {
    match kind {
        PatchType::Json => json_patch::apply(tree, body),
        PatchType::Merge => merge::apply(tree, body),
        PatchType::StrategicMerge => {
            let schema = call.view.schema().filter(|_| !call.view.resource.custom);
            let Some(schema) = schema else {
                return Err(Status::unsupported_media_type(format!(
                    "application/strategic-merge-patch+json is not supported by {}, Kind={}: the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
                    call.view.api_version(),
                    call.view.resource.kind,
                )));
            };
            strategic::apply(tree, body, &schema)
        }
        PatchType::Apply => Err(Status::unprocessable()),
    }
}
