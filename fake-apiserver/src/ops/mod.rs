//! What requests do: one file per verb, all over [`Machine`].

mod certificates;
mod create;
mod delete;
mod eviction;
mod hooks;
pub(crate) mod list;
mod patch;
mod reviews;
mod scale;
pub(crate) use scale::selector_text;
mod special;
mod update;

use fake_apiserver_components::api::PatchType;
use fake_apiserver_store::Expect;
use serde_json::Value;

use crate::item::Item;
use crate::machine::{Answer, Call, FieldValidation, Machine, key};
use crate::meta;
use crate::schema::decode;
use crate::status::{Named, Result, Status};

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Action {
    Get,
    Create(Value),
    Update(Value),
    Patch(PatchType, Value),
    Delete(Value),
}

impl Action {
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create(_) => "create",
            Self::Update(_) => "update",
            Self::Patch(..) => "patch",
            Self::Delete(_) => "delete",
        }
    }
}

impl Machine {
    /// Authorizes and carries out one request on one object (or a create).
    pub(crate) fn execute(&mut self, call: &mut Call<'_>, action: Action) -> Result<Answer> {
        let verb = action.verb();
        let target = (call.namespace, call.name, call.subresource);
        self.authorize_call(call.user, verb, call.view, target)?;
        check_method(call, verb)?;
        self.compact_old(call.now);
        match action {
            Action::Get => self.get(call),
            Action::Create(body) => self.create(call, body),
            Action::Update(body) => self.update(call, body),
            Action::Patch(kind, body) => self.patch(call, kind, &body),
            Action::Delete(options) => self.delete(call, &options),
        }
    }

    fn get(&mut self, call: &Call<'_>) -> Result<Answer> {
        match call.subresource {
            "scale" => self.get_scale(call),
            "" | "status" | "approval" | "resize" | "ephemeralcontainers" => {
                let item = self.stored(call.view, call.namespace, call.name)?;
                Ok(Answer::Object(200, item))
            }
            _ => self.get_special(call),
        }
    }

    /// The object as it was at a revision; as it is when that is forgotten.
    pub(crate) fn get_past(&mut self, call: &Call<'_>, revision: u64) -> Result<Answer> {
        let target = (call.namespace, call.name, call.subresource);
        self.authorize_call(call.user, "get", call.view, target)?;
        let resource = &call.view.resource;
        let key = key(call.namespace, call.name);
        let Ok(state) = self.store.at(resource.space, &key, revision) else {
            return self.get(call);
        };
        let found = state.get(key.as_str());
        let found = found.ok_or_else(|| Status::not_found(resource.named(call.name)))?;
        Ok(Answer::Object(200, found.value.clone()))
    }

    /// Writes an object under a fresh revision and runs what follows from it.
    fn commit(&mut self, call: &Call<'_>, old: Option<&Item>, mut value: Value) -> Item {
        let space = call.view.resource.space;
        let revision = self.store.next_revision();
        meta::set(&mut value, "resourceVersion", revision.to_string());
        let item = Item::new(value);
        let key = key(item.namespace(), item.name());
        self.store
            .put(space, &key, Expect::Any, item.clone())
            .expect("any state of the key is accepted");
        self.wake(space);
        self.after_write(call, old, Some(&item));
        item
    }

    /// Removes an object; watchers see `last` under the revision of the removal.
    fn commit_removal(&mut self, call: &Call<'_>, old: &Item, mut last: Value) -> Item {
        let space = call.view.resource.space;
        let before = meta::string(&last, "resourceVersion").to_owned();
        let revision = self.store.next_revision();
        meta::set(&mut last, "resourceVersion", revision.to_string());
        let key = key(old.namespace(), old.name());
        let event = Item::new(last.clone());
        self.store
            .delete(space, &key, Expect::Any, event)
            .expect("the object was read from the store in this request");
        self.wake(space);
        self.after_write(call, Some(old), None);
        // the answer shows the last stored revision, the event the one of the removal
        meta::set(&mut last, "resourceVersion", before);
        Item::new(last)
    }
}

/// 400 unless the body's type is the expected one; a missing type is filled in.
pub(crate) fn check_type(
    body: &mut Value,
    kind: &str,
    api_version: &str,
    custom: bool,
) -> Result<()> {
    let Some(map) = body.as_object_mut() else {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type struct"
        )));
    };
    let text = |field: &str| map.get(field).and_then(Value::as_str).unwrap_or_default();
    let (found_kind, found_version) = (text("kind"), text("apiVersion"));
    if !found_version.is_empty() && found_version != api_version {
        if custom {
            return Err(Status::bad_request(format!(
                "the API version in the data ({found_version}) does not match the expected API version ({api_version})"
            )));
        }
        let version = found_version.rsplit('/').next().unwrap_or_default();
        let why = format!(
            "no kind \"{found_kind}\" is registered for version \"{found_version}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        );
        return Err(cannot_be_handled(found_kind, version, kind, &why));
    }
    if !found_kind.is_empty() && found_kind != kind {
        let version = found_version.rsplit('/').next().unwrap_or_default();
        let why =
            format!("converting ({version}.{found_kind}) to (core.{kind}): unknown conversion");
        return Err(cannot_be_handled(found_kind, version, kind, &why));
    }
    map.insert("kind".into(), kind.into());
    map.insert("apiVersion".into(), api_version.into());
    Ok(())
}

fn cannot_be_handled(found: &str, api_version: &str, kind: &str, why: &str) -> Status {
    let version = api_version.rsplit('/').next().unwrap_or_default();
    Status::bad_request(format!(
        "{found} in version \"{version}\" cannot be handled as a {kind}: {why}"
    ))
}

/// Reads `metadata.resourceVersion` of a body as a precondition.
fn wanted_revision(object: &Value) -> Result<Option<u64>> {
    let text = meta::string(object, "resourceVersion");
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let parsed = text.parse().map_err(|_text| {
        Status::plain_error(format!(
            "strconv.ParseUint: parsing \"{text}\": invalid syntax"
        ))
    })?;
    Ok(Some(parsed))
}

fn revision_of(item: &Item) -> u64 {
    meta::string(item.value(), "resourceVersion")
        .parse()
        .unwrap_or_default()
}

/// 403 of admission: `pods "x" is forbidden: why`.
fn refuse(call: &Call<'_>, name: &str, why: &str) -> Status {
    let resource = &call.view.resource;
    Status::forbidden(
        Named {
            group: &resource.group,
            kind: &resource.plural,
            name,
        },
        why,
    )
}

fn check_method(call: &Call<'_>, verb: &str) -> Result<()> {
    let has = |verbs: &[String]| verbs.iter().any(|own| own == verb);
    let allowed = if call.subresource.is_empty() {
        has(&call.view.resource.verbs) && (call.name.is_empty() || verb != "create")
    } else {
        let sub = call
            .view
            .subresource(call.subresource)
            .ok_or_else(Status::no_such_resource)?;
        has(&sub.verbs)
    };
    if allowed {
        Ok(())
    } else {
        Err(Status::method_not_allowed())
    }
}

/// Reads a body as the call's kind: checks its type, drops unknown fields as told.
fn accept(call: &mut Call<'_>, body: &mut Value, patched: bool) -> Result<()> {
    let resource = &call.view.resource;
    let kind = resource.kind.as_str();
    check_type(body, kind, call.view.api_version(), resource.custom)?;
    let Some(schema) = call.view.schema() else {
        return Ok(());
    };
    let report = decode::prune(body, &schema, kind, !resource.custom);
    if let Some(error) = report.type_error {
        return Err(cannot_be_handled(
            kind,
            call.view.api_version(),
            kind,
            &error,
        ));
    }
    let unknown = report
        .unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""));
    let duplicate = call
        .options
        .duplicates
        .iter()
        .map(|path| format!("duplicate field \"{path}\""));
    let problems: Vec<String> = unknown.chain(duplicate).collect();
    if problems.is_empty() {
        return Ok(());
    }
    match call.options.validation {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            call.warnings.extend(problems);
            Ok(())
        }
        FieldValidation::Strict if patched => {
            let error = format!("strict decoding error: {}", problems.join(", "));
            let error =
                crate::status::FieldError::invalid("patch", &Value::from(body.to_string()), &error);
            let message = format!("The request is invalid: {}: {}", error.path, error.text);
            Err(Status::invalid_text(message, &[error]))
        }
        FieldValidation::Strict => {
            let error = format!("strict decoding error: {}", problems.join(", "));
            Err(cannot_be_handled(
                kind,
                call.view.api_version(),
                kind,
                &error,
            ))
        }
    }
}
