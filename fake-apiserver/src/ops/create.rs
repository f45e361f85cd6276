//! Creating objects (`…/pkg/registry/rest/create.go`).

use serde_json::{Value, json};

use crate::admission::node_restriction::{self, Transition};
use crate::admission::quota;
use crate::item::Item;
use crate::machine::{Answer, Call, Machine, key};
use crate::meta;
use crate::patch::apply::managed;
use crate::registry::View;
use crate::schema::{defaults, validate};
use crate::status::{FieldError, Result, Status};
use crate::{admission, defaulting, validation};

/// A base is cut so that base and suffix fit a label.
const GENERATED_BASE_MAX: usize = 58;

/// Upstream's retries of a generated name that is taken.
const GENERATED_ATTEMPTS: usize = 8;

impl Machine {
    pub(super) fn create(&mut self, call: &mut Call<'_>, mut body: Value) -> Result<Answer> {
        if !call.subresource.is_empty() {
            return self.create_special(call, &body);
        }
        if !call.view.resource.behaviour.stored {
            return self.create_unstored(call, body);
        }
        super::accept(call, &mut body, false)?;
        crate::machine::to_stored(call.view, &mut body)?;
        self.create_object(call, body, false)
            .map(|item| Answer::Object(201, item))
    }

    /// Creates an object given in stored form.
    ///
    /// `tracked`: server-side apply has already written `managedFields`.
    pub(super) fn create_object(
        &mut self,
        call: &mut Call<'_>,
        mut object: Value,
        tracked: bool,
    ) -> Result<Item> {
        let resource = &call.view.resource;
        let namespace = place(call, &mut object)?;
        let metadata = meta::metadata_mut(&mut object);
        for field in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "uid",
        ] {
            metadata.remove(field);
        }
        let revision = metadata.remove("resourceVersion");
        let revision = revision
            .as_ref()
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !matches!(revision, "" | "0") {
            return Err(Status::plain_error(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        if resource.behaviour.generation {
            metadata.insert("generation".into(), 1.into());
        }
        let name = self.name_new(call, &mut object, &namespace)?;
        meta::set(&mut object, "creationTimestamp", meta::time(call.now));
        let uid = self.random.uid();
        meta::set(&mut object, "uid", uid);
        if !namespace.is_empty() {
            self.check_namespace(call, &namespace, &name)?;
        }
        if resource.custom
            && call.view.has_status()
            && let Some(map) = object.as_object_mut()
        {
            map.remove("status");
        }
        defaulting::create(&resource.group, &resource.plural, &mut object);
        admission::create(self, call, &mut object)?;
        self.check_new(call, &mut object, None)?;
        let step = Transition {
            old: None,
            new: Some(&object),
        };
        node_restriction::check(call, step)?;
        if !tracked {
            managed::track(self, call, None, &mut object);
        }
        let key = key(&namespace, &name);
        if self.store.get(resource.space, &key).is_some() {
            return Err(Status::already_exists(resource.named(&name)));
        }
        quota::check(self, call, &object)?;
        if call.options.dry_run {
            return Ok(Item::new(object));
        }
        Ok(self.commit(call, None, object))
    }

    fn name_new(&mut self, call: &Call<'_>, object: &mut Value, namespace: &str) -> Result<String> {
        let resource = &call.view.resource;
        let name = meta::string(object, "name");
        if !name.is_empty() {
            return Ok(name.to_owned());
        }
        let base = meta::string(object, "generateName").to_owned();
        if base.is_empty() {
            let error = FieldError::required("metadata.name", "name or generateName is required");
            return Err(Status::invalid(resource.kind_named(""), &[error]));
        }
        let base: String = base.chars().take(GENERATED_BASE_MAX).collect();
        let mut name = String::new();
        for _ in 0..GENERATED_ATTEMPTS {
            name = format!("{base}{}", self.random.suffix());
            if self
                .store
                .get(resource.space, &key(namespace, &name))
                .is_none()
            {
                break;
            }
        }
        meta::set(object, "name", name.clone());
        Ok(name)
    }

    /// `NamespaceLifecycle`: the namespace exists and is not going away.
    fn check_namespace(&self, call: &Call<'_>, namespace: &str, name: &str) -> Result<()> {
        let view = self
            .registry
            .stored("", "namespaces")
            .ok_or_else(Status::no_such_resource)?;
        let found = self.stored(&view, "", namespace)?;
        if !meta::is_deleting(found.value()) {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut status = super::refuse(call, name, &why);
        status.details.get_or_insert_default().insert(
            "causes".into(),
            json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            }]),
        );
        Err(status)
    }

    /// Defaults and validation, for new and changed objects alike; 422 with every mistake.
    pub(super) fn check_new(
        &self,
        call: &Call<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<()> {
        let resource = &call.view.resource;
        let mut errors = validation::metadata(object, resource);
        if resource.custom {
            if let Some(schema) = call.view.schema() {
                defaults::apply(object, &schema);
                errors.append(&mut validate::check(&schema, object, old));
                errors.extend(scale_error(call.view, object));
                if schema.has_rules && errors.is_empty() {
                    errors.append(&mut self.rules.check(&schema, object, old));
                } else if schema.has_rules {
                    errors.push(FieldError::invalid(
                        "<nil>",
                        &Value::Null,
                        "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
                    ));
                }
            }
        } else {
            errors.append(&mut validation::object(object, old, resource));
        }
        if errors.is_empty() {
            return Ok(());
        }
        let name = meta::string(object, "name").to_owned();
        Err(Status::invalid(resource.kind_named(&name), &errors))
    }
}

/// The replicas of a custom resource that scales.
fn scale_error(view: &View, object: &Value) -> Option<FieldError> {
    let path = &view.served().scale.as_ref()?.spec;
    let replicas = path.split('.').fold(object, |value, step| &value[step]);
    let negative = replicas.as_i64().is_some_and(|replicas| replicas < 0);
    let detail = "should be a non-negative integer";
    negative.then(|| FieldError::invalid(format!(".{path}"), replicas, detail))
}

/// The namespace of a new object: of the path, which the body must not contradict.
fn place(call: &Call<'_>, object: &mut Value) -> Result<String> {
    if !call.view.resource.namespaced {
        meta::remove(object, "namespace");
        return Ok(String::new());
    }
    let own = meta::string(object, "namespace");
    if !own.is_empty() && own != call.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    meta::set(object, "namespace", call.namespace);
    Ok(call.namespace.to_owned())
}
