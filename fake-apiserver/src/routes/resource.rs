//! Requests on resources.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use fake_apiserver_components::api::PatchType;
use http::{HeaderMap, Method, header};
use serde_json::{Value, json};

use super::negotiate::{self, Format};
use super::path::ResourcePath;
use super::query::Query;
use super::{body, respond, watch};
use crate::auth::rbac::Wish;
use crate::item::{Item, with_type};
use crate::machine::{Answer, Call, WriteOptions};
use crate::ops::Action;
use crate::ops::list::{Page, list_options};
use crate::options::User;
use crate::registry::View;
use crate::server::ApiServer;
use crate::status::{FieldError, Result, Status};
use crate::table::{self, Include};

/// A request on a resource, body apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub server: &'a ApiServer,
    pub user: &'a User,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    pub query: &'a Query,
    pub path: &'a ResourcePath<'a>,
    /// See [`super::AsOf`].
    pub as_of: Option<u64>,
}

pub(super) async fn serve(request: Request<'_>, body: Body) -> Result<Response> {
    let bytes = match *request.method {
        Method::GET | Method::HEAD => Bytes::new(),
        _ => body::read(body).await?,
    };
    let path = request.path;
    let view = request.view()?;
    if view.resource.namespaced {
        if path.namespace.is_empty() && !path.name.is_empty() {
            return Err(Status::no_such_resource());
        }
    } else if !path.namespace.is_empty() {
        return Err(Status::no_such_resource());
    }
    match (request.method, path.name.is_empty()) {
        (&Method::GET | &Method::HEAD, true) => request.collection(&view),
        (&Method::GET | &Method::HEAD, false) if path.watch => request.collection(&view),
        (&Method::GET | &Method::HEAD, false) => {
            request.one(&view, Action::Get, &WriteOptions::of(""))
        }
        (&Method::POST, _) => {
            let kind = expected_kind(&view, path.subresource);
            let parsed = body::object(&bytes, request.headers, kind)?;
            let mut options = request
                .query
                .write_options("CreateOptions", request.agent())?;
            options.duplicates = parsed.duplicates;
            if view.resource.namespaced && path.namespace.is_empty() {
                return Err(Status::method_not_allowed());
            }
            request.one(&view, Action::Create(parsed.value), &options)
        }
        (&Method::PUT, false) => {
            let kind = expected_kind(&view, path.subresource);
            let parsed = body::object(&bytes, request.headers, kind)?;
            let mut options = request
                .query
                .write_options("UpdateOptions", request.agent())?;
            options.duplicates = parsed.duplicates;
            request.one(&view, Action::Update(parsed.value), &options)
        }
        (&Method::PATCH, false) => request.patch(&view, &bytes),
        (&Method::DELETE, false) => {
            let options = request
                .query
                .write_options("DeleteOptions", request.agent())?;
            let body = request.delete_options(&bytes)?;
            request.one(&view, Action::Delete(body), &options)
        }
        (&Method::DELETE, true) => request.delete_collection(&view, &bytes),
        _ => Err(Status::method_not_allowed()),
    }
}

fn expected_kind<'a>(view: &'a View, subresource: &str) -> &'a str {
    let sub = view
        .subresource(subresource)
        .map(|sub| sub.kind.as_str())
        .filter(|kind| !kind.is_empty());
    sub.unwrap_or(&view.resource.kind)
}

impl Request<'_> {
    fn view(&self) -> Result<View> {
        let path = self.path;
        self.server
            .lock()
            .registry
            .view(path.group, path.version, path.plural)
    }

    /// The field manager of clients that name none.
    fn agent(&self) -> &str {
        let agent = self
            .headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok());
        let agent = agent
            .and_then(|agent| agent.split('/').next())
            .filter(|agent| !agent.is_empty());
        agent.unwrap_or("unknown")
    }

    fn call<'a>(&'a self, view: &'a View, options: &'a WriteOptions) -> Call<'a> {
        Call {
            now: self.server.clock().now(),
            user: self.user,
            view,
            namespace: &self.path.namespace,
            name: &self.path.name,
            subresource: self.path.subresource,
            options,
            warnings: Vec::new(),
        }
    }

    /// One object.
    fn one(&self, view: &View, action: Action, options: &WriteOptions) -> Result<Response> {
        let format = negotiate::format(self.headers)?;
        let mut call = self.call(view, options);
        if let (Action::Get, version) = (&action, self.query.text("resourceVersion"))
            && let Some(wanted) = crate::ops::list::parse_version(&version)?
        {
            let current = self.server.revision();
            if wanted > current {
                return Err(Status::revision_too_large(wanted, current));
            }
        }
        let past = self.as_of.filter(|_| {
            matches!(action, Action::Get)
                && self.path.subresource.is_empty()
                && self.query.text("resourceVersion") == "0"
        });
        let answer = self.server.run(|machine| {
            let answer = match past {
                Some(past) => machine.get_past(&call, past)?,
                None => machine.execute(&mut call, action)?,
            };
            Ok(match answer {
                Answer::Object(code, item) => {
                    Answer::Object(code, crate::machine::present(view, &item)?)
                }
                value @ Answer::Value(..) => value,
            })
        })?;
        let warnings = std::mem::take(&mut call.warnings);
        let mut response = match answer {
            Answer::Object(code, item) => self.encode_object(view, code, &item, format),
            Answer::Value(code, value) if format == Format::Yaml => respond::yaml(code, &value),
            Answer::Value(code, value) => respond::value(code, &value),
        };
        respond::warn(&mut response, &warnings);
        Ok(response)
    }

    fn encode_object(&self, view: &View, code: u16, item: &Item, format: Format) -> Response {
        match format {
            Format::Json => {
                let body = with_type(&view.resource.kind, view.api_version(), &item.encoded());
                respond::json(code, body)
            }
            Format::Yaml => respond::yaml(code, item.value()),
            Format::Partial => respond::value(code, &table::partial(item.value())),
            Format::Table => {
                let version = &item.value()["metadata"]["resourceVersion"];
                let metadata = json!({"resourceVersion": version});
                let now = self.server.clock().now();
                let items = std::slice::from_ref(item);
                respond::value(
                    code,
                    &table::table(view, items, &metadata, (self.include(), now)),
                )
            }
        }
    }

    pub(super) fn include(&self) -> Include {
        match self.query.get("includeObject") {
            Some("Object") => Include::Object,
            Some("None") => Include::None,
            _ => Include::Metadata,
        }
    }

    fn patch(&self, view: &View, bytes: &Bytes) -> Result<Response> {
        let kind = match body::media_type(self.headers) {
            "application/json-patch+json" => PatchType::Json,
            "application/merge-patch+json" => PatchType::Merge,
            "application/strategic-merge-patch+json" => PatchType::StrategicMerge,
            "application/apply-patch+yaml" => PatchType::Apply,
            _ => {
                let mut status = Status::unsupported_media_type("415: Unsupported Media Type");
                status.details = Some(Box::default());
                return Err(status);
            }
        };
        let agent = if kind == PatchType::Apply {
            ""
        } else {
            self.agent()
        };
        let mut options = self.query.write_options("PatchOptions", agent)?;
        let parsed = if kind == PatchType::Apply {
            body::yaml(bytes)?
        } else {
            body::json(bytes)
                .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?
        };
        options.duplicates = parsed.duplicates;
        self.one(view, Action::Patch(kind, parsed.value), &options)
    }

    /// `DeleteOptions` from the body and from the query.
    fn delete_options(&self, bytes: &Bytes) -> Result<Value> {
        let mut options = if bytes.is_empty() {
            json!({})
        } else {
            body::object(bytes, self.headers, "DeleteOptions")?.value
        };
        if !options.is_object() {
            options = json!({});
        }
        if let Some(seconds) = self
            .query
            .get("gracePeriodSeconds")
            .and_then(|s| s.parse::<i64>().ok())
        {
            options["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(policy) = self.query.get("propagationPolicy") {
            options["propagationPolicy"] = policy.into();
        }
        if let Some(orphan) = self.query.flag("orphanDependents") {
            options["orphanDependents"] = orphan.into();
        }
        Ok(options)
    }

    fn delete_collection(&self, view: &View, bytes: &Bytes) -> Result<Response> {
        let options = self.query.write_options("DeleteOptions", self.agent())?;
        let delete = self.delete_options(bytes)?;
        let list = self.query.list_options(view)?;
        let mut call = self.call(view, &options);
        let (items, revision) = self.server.run(|machine| {
            let deleted = machine.delete_collection(&mut call, &list, &delete)?;
            let items: Result<Vec<Item>> = deleted
                .iter()
                .map(|item| crate::machine::present(view, item))
                .collect();
            Ok((items?, machine.store.revision()))
        })?;
        let page = Page {
            items,
            revision,
            continuation: None,
            remaining: None,
        };
        Ok(respond::json(200, encode_list(view, &page)))
    }

    /// A list or a watch.
    fn collection(&self, view: &View) -> Result<Response> {
        let watching = self.path.watch || self.query.flag("watch") == Some(true);
        let selection = self.query.selection(view)?;
        let verb = if watching { "watch" } else { "list" };
        let name = match selection.pinned_name() {
            Some(name) => name,
            None => &self.path.name,
        };
        let resource = &view.resource;
        self.server.lock().authorize(
            self.user,
            Wish::Resource {
                verb,
                group: &resource.group,
                plural: &resource.plural,
                subresource: "",
                namespace: &self.path.namespace,
                name,
            },
        )?;
        if !resource.behaviour.stored || !resource.verbs.iter().any(|own| own == verb) {
            return Err(Status::method_not_allowed());
        }
        if watching {
            return watch::start(self, view, selection);
        }
        if self.query.has("sendInitialEvents") {
            let detail = "sendInitialEvents is forbidden for list";
            return Err(list_options(&[FieldError::forbidden(
                "sendInitialEvents",
                detail,
            )]));
        }
        let format = negotiate::list_format(self.headers)?;
        let mut options = self.query.list_options(view)?;
        options.as_of = self.as_of;
        let page = {
            let machine = self.server.lock();
            let page = machine.page(view, &self.path.namespace, &options)?;
            present_page(view, page)?
        };
        Ok(self.encode_page(view, &page, format))
    }

    fn encode_page(&self, view: &View, page: &Page, format: Format) -> Response {
        match format {
            Format::Json => respond::json(200, encode_list(view, page)),
            Format::Yaml => {
                let text = encode_list(view, page);
                let value: Value = serde_json::from_slice(&text).unwrap_or_default();
                respond::yaml(200, &value)
            }
            Format::Table => {
                let metadata = list_metadata(view, page);
                let now = self.server.clock().now();
                respond::value(
                    200,
                    &table::table(view, &page.items, &metadata, (self.include(), now)),
                )
            }
            Format::Partial => {
                let items: Vec<Value> = page
                    .items
                    .iter()
                    .map(|item| table::partial(item.value()))
                    .collect();
                respond::value(
                    200,
                    &json!({
                        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                        "metadata": list_metadata(view, page), "items": items,
                    }),
                )
            }
        }
    }
}

fn present_page(view: &View, mut page: Page) -> Result<Page> {
    if !view.is_storage() || view.resource.custom {
        let items: Result<Vec<Item>> = page
            .items
            .iter()
            .map(|item| crate::machine::present(view, item))
            .collect();
        page.items = items?;
    }
    Ok(page)
}

fn list_metadata(view: &View, page: &Page) -> Value {
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some(token) = &page.continuation {
        metadata["continue"] = token.clone().into();
    } else if view.resource.custom {
        metadata["continue"] = "".into();
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}

/// A list, from the cached text of its items.
fn encode_list(view: &View, page: &Page) -> Vec<u8> {
    let resource = &view.resource;
    let mut text = Vec::with_capacity(256 + page.items.len() * 1024);
    text.extend_from_slice(b"{\"kind\":\"");
    text.extend_from_slice(resource.list_kind.as_bytes());
    text.extend_from_slice(b"\",\"apiVersion\":\"");
    text.extend_from_slice(view.api_version().as_bytes());
    text.extend_from_slice(b"\",\"metadata\":");
    text.extend_from_slice(list_metadata(view, page).to_string().as_bytes());
    text.extend_from_slice(b",\"items\":[");
    for (index, item) in page.items.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        if resource.custom {
            text.extend(with_type(
                &resource.kind,
                view.api_version(),
                &item.encoded(),
            ));
        } else {
            text.extend_from_slice(&item.encoded());
        }
    }
    text.extend_from_slice(b"]}");
    text
}
