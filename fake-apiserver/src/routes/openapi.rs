//! OpenAPI: v3 documents per group version, by which `kubectl` validates, explains and patches, and
//! the one v2 document for clients that know no other.

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use super::{discovery, negotiate, respond};
use crate::registry::{ResourceType, ServedVersion};
use crate::schema::builtin;
use crate::server::ApiServer;
use crate::status::{Result, Status};

/// `/openapi/v2`: everything in one document, as JSON. The protobuf form is not served: clients that
/// accept nothing else go on with v3, as after any 406.
pub(super) fn v2(server: &ApiServer, headers: &HeaderMap) -> Result<Response> {
    negotiate::json(headers)?;
    let machine = server.lock();
    let registry = &machine.registry;
    let body = server.documents().get(registry.epoch, "openapi-v2", || {
        let mut document = Document::default();
        for row in registry.groups().flat_map(|(_, rows)| rows) {
            for served in row.versions.iter().filter(|version| version.served) {
                document.resource(row, served);
            }
        }
        document.finish_v2(&server.version())
    });
    Ok(discovery::cached(headers, "application/json", body))
}

/// `/openapi/v3`: the documents and their hashes.
pub(super) fn index(server: &ApiServer, headers: &HeaderMap) -> Response {
    let machine = server.lock();
    let registry = &machine.registry;
    let epoch = registry.epoch;
    let body = server.documents().get(epoch, "openapi-index", || {
        let mut paths = Map::new();
        for (group, rows) in registry.groups() {
            for row in rows {
                for served in row.versions.iter().filter(|version| version.served) {
                    let name = path_of(group, &served.name);
                    // a built-in document never changes, a custom one with the registry
                    let hash = if row.custom { epoch } else { 0 };
                    let url = format!("/openapi/v3/{name}?hash={hash:016X}");
                    paths.insert(name, json!({"serverRelativeURL": url}));
                }
            }
        }
        json!({"paths": paths})
    });
    discovery::cached(headers, "text/plain; charset=utf-8", body)
}

/// `/openapi/v3/apis/GROUP/VERSION`.
pub(super) fn group_version(server: &ApiServer, name: &str) -> Result<Response> {
    let machine = server.lock();
    let registry = &machine.registry;
    let (group, version) = match name.strip_prefix("apis/") {
        Some(rest) => rest.split_once('/').ok_or_else(Status::no_such_path)?,
        None => (
            "",
            name.strip_prefix("api/").ok_or_else(Status::no_such_path)?,
        ),
    };
    if !registry.serves(group, version) {
        return Err(Status::no_such_path());
    }
    let body: Bytes = server.documents().get(registry.epoch, name, || {
        let mut document = Document::default();
        for (_, rows) in registry.groups().filter(|(own, _)| *own == group) {
            for row in rows {
                let served = row
                    .versions
                    .iter()
                    .find(|own| own.served && own.name == version);
                if let Some(served) = served {
                    document.resource(row, served);
                }
            }
        }
        document.finish()
    });
    let json = HeaderValue::from_static("application/json");
    Ok(respond::bytes(200, json, body))
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

#[derive(Default)]
struct Document {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Document {
    fn resource(&mut self, row: &ResourceType, served: &ServedVersion) {
        let kind = json!({"group": row.group, "version": served.name, "kind": row.kind});
        let component = match &served.raw_schema {
            Some(schema) => self.custom(row, served, schema, &kind),
            None => self.builtin(row, &kind),
        };
        let place = if row.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let base = format!(
            "/{}{place}/{}",
            path_of(&row.group, &served.name),
            row.plural
        );
        let body = component.map(|name| {
            let content = json!({"schema": {"$ref": format!("#/components/schemas/{name}")}});
            json!({"description": "OK", "content": {"application/json": content}})
        });
        let operation = |parameters: &[&str]| {
            let parameters: Vec<Value> = parameters
                .iter()
                .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}))
                .collect();
            json!({
                "parameters": parameters, "x-kubernetes-group-version-kind": kind,
                "responses": {"200": body.clone().unwrap_or_else(|| json!({"description": "OK"}))},
            })
        };
        let write = ["dryRun", "fieldManager", "fieldValidation"];
        let apply = ["dryRun", "fieldManager", "fieldValidation", "force"];
        self.paths.insert(
            base.clone(),
            json!({"get": operation(&[]), "post": operation(&write)}),
        );
        self.paths.insert(
            format!("{base}/{{name}}"),
            json!({
                "get": operation(&[]), "put": operation(&write), "patch": operation(&apply),
                "delete": operation(&["dryRun"]),
            }),
        );
    }

    fn custom(
        &mut self,
        row: &ResourceType,
        served: &ServedVersion,
        schema: &Value,
        kind: &Value,
    ) -> Option<String> {
        let mut group: Vec<&str> = row.group.split('.').collect();
        group.reverse();
        let name = format!("{}.{}.{}", group.join("."), served.name, row.kind);
        let mut schema = schema.clone();
        let meta = builtin::document("", "ConfigMap")?;
        self.definitions(&meta);
        schema["x-kubernetes-group-version-kind"] = json!([kind]);
        if schema["properties"].is_null() {
            schema["properties"] = json!({});
        }
        schema["properties"]["metadata"] = json!({
            "description": "Standard object's metadata.",
            "allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}],
        });
        self.schemas.insert(name.clone(), schema);
        Some(name)
    }

    fn builtin(&mut self, row: &ResourceType, kind: &Value) -> Option<String> {
        let mut document = builtin::document(&row.group, &row.kind)?;
        self.definitions(&document);
        let name = document["title"].as_str()?.to_owned();
        let root = document.as_object_mut()?;
        for field in ["$defs", "$schema", "title"] {
            root.remove(field);
        }
        root.insert("x-kubernetes-group-version-kind".into(), json!([kind]));
        relink(&mut document);
        self.schemas.insert(name.clone(), document);
        Some(name)
    }

    fn definitions(&mut self, document: &Value) {
        for (name, schema) in document["$defs"].as_object().into_iter().flatten() {
            if !self.schemas.contains_key(name) {
                let mut schema = schema.clone();
                relink(&mut schema);
                self.schemas.insert(name.clone(), schema);
            }
        }
    }

    fn finish_v2(self, version: &str) -> Value {
        let mut paths = Value::Object(self.paths);
        let mut definitions = Value::Object(self.schemas);
        downgrade(&mut paths);
        downgrade(&mut definitions);
        json!({
            "swagger": "2.0", "info": {"title": "Kubernetes", "version": version},
            "paths": paths, "definitions": definitions,
        })
    }

    fn finish(self) -> Value {
        json!({
            "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "unversioned"},
            "paths": self.paths, "components": {"schemas": self.schemas},
        })
    }
}

/// References of JSON Schema become those of OpenAPI; a reference with siblings moves into `allOf`,
/// since OpenAPI 3.0 ignores what stands beside `$ref`.
fn relink(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                let target = target.replace("#/$defs/", "#/components/schemas/");
                map.remove("$ref");
                if map.is_empty() {
                    map.insert("$ref".into(), target.into());
                } else {
                    map.insert("allOf".into(), json!([{"$ref": target}]));
                    map.values_mut().for_each(relink);
                }
                return;
            }
            map.values_mut().for_each(relink);
        }
        Value::Array(items) => items.iter_mut().for_each(relink),
        _ => {}
    }
}

/// Rewrites parts of a v3 document as v2 spells them, and drops what v2 has no word for, as the
/// real server does when it publishes schemas of custom resources.
fn downgrade(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for keyword in ["nullable", "oneOf", "anyOf", "not"] {
                map.remove(keyword);
            }
            if let Some(Value::String(target)) = map.get_mut("$ref") {
                *target = target.replace("#/components/schemas/", "#/definitions/");
            }
            if map.get("in").is_some_and(|place| place == "query")
                && let Some(schema) = map.remove("schema")
            {
                map.insert("type".into(), schema["type"].clone());
            }
            if let Some(mut content) = map.remove("content") {
                let schema = content["application/json"]["schema"].take();
                map.insert("schema".into(), schema);
            }
            for (name, value) in map {
                match value {
                    // names of fields, which may be those of keywords
                    Value::Object(fields) if name == "properties" => {
                        fields.values_mut().for_each(downgrade);
                    }
                    value => downgrade(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(downgrade),
        _ => {}
    }
}
