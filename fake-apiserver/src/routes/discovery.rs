//! Discovery: legacy and aggregated documents out of the registry.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{negotiate, respond};
use crate::registry::{Registry, ResourceType, ServedVersion, Subresource};
use crate::server::ApiServer;
use crate::status::{Result, Status};

/// Documents that change only with the registry, cached under its epoch.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<(u64, Vec<(String, Bytes)>)>);

impl Documents {
    /// The document `name`, made when absent or outdated.
    pub(super) fn get(&self, epoch: u64, name: &str, make: impl FnOnce() -> Value) -> Bytes {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.0 != epoch {
            *cache = (epoch, Vec::new());
        }
        if let Some((_, bytes)) = cache.1.iter().find(|(own, _)| own == name) {
            return bytes.clone();
        }
        let bytes = Bytes::from(make().to_string());
        cache.1.push((name.to_owned(), bytes.clone()));
        bytes
    }
}

/// A document with a strong `ETag`; 304 when the client has it.
pub(super) fn cached(headers: &HeaderMap, content: &'static str, body: Bytes) -> Response {
    let tag = etag(&body);
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let fresh = known.is_some_and(|known| known.contains(&tag));
    let mut response = if fresh {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        respond::bytes(200, HeaderValue::from_static(content), body)
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// The hash of a document, in hex.
pub(super) fn etag(body: &[u8]) -> String {
    let mut tag = String::with_capacity(64);
    for byte in Sha256::digest(body) {
        write!(tag, "{byte:02X}").expect("writing to a String cannot fail");
    }
    tag
}

/// `/version`.
pub(super) fn version(git: &str) -> Value {
    let mut numbers = git.trim_start_matches('v').split('.');
    let major = numbers.next().unwrap_or("1");
    let minor = numbers.next().unwrap_or("0");
    let previous = minor
        .parse::<u32>()
        .map_or(0, |minor| minor.saturating_sub(1));
    json!({
        "major": major, "minor": minor, "emulationMajor": major, "emulationMinor": minor,
        "minCompatibilityMajor": major, "minCompatibilityMinor": previous.to_string(),
        "gitVersion": git, "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.26.6",
        "compiler": "gc", "platform": "linux/amd64",
    })
}

/// `/`: the paths served.
pub(super) fn root(server: &ApiServer) -> Value {
    let machine = server.lock();
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in groups_of(&machine.registry) {
        paths.push(format!("/apis/{group}"));
        paths.extend(
            versions
                .iter()
                .map(|version| format!("/apis/{group}/{version}")),
        );
    }
    for path in [
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ] {
        paths.push(path.to_owned());
    }
    json!({"paths": paths})
}

/// `/api`.
pub(super) fn core(server: &ApiServer, headers: &HeaderMap) -> Response {
    if let Some(version) = negotiate::aggregated(headers) {
        return aggregated(server, headers, version, true);
    }
    let address = server.address();
    respond::value(
        200,
        &json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        }),
    )
}

/// `/apis`.
pub(super) fn groups(server: &ApiServer, headers: &HeaderMap) -> Response {
    if let Some(version) = negotiate::aggregated(headers) {
        return aggregated(server, headers, version, false);
    }
    let machine = server.lock();
    let groups: Vec<Value> = groups_of(&machine.registry)
        .map(|(group, versions)| api_group(group, &versions))
        .collect();
    respond::value(
        200,
        &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
    )
}

/// `/apis/GROUP`.
pub(super) fn group(server: &ApiServer, wanted: &str) -> Result<Response> {
    let machine = server.lock();
    let found = groups_of(&machine.registry).find(|(group, _)| *group == wanted);
    let (group, versions) = found.ok_or_else(Status::no_such_path)?;
    let mut document = api_group(group, &versions);
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Ok(respond::value(200, &document))
}

/// `/api/v1` or `/apis/GROUP/VERSION`.
pub(super) fn group_version(server: &ApiServer, group: &str, version: &str) -> Result<Response> {
    let machine = server.lock();
    if !machine.registry.serves(group, version) {
        return Err(Status::no_such_path());
    }
    let mut resources = Vec::new();
    let mut name = version.to_owned();
    for (own, rows) in machine.registry.groups().filter(|(own, _)| *own == group) {
        if !own.is_empty() {
            name = format!("{own}/{version}");
        }
        for row in rows {
            let served = row
                .versions
                .iter()
                .find(|own| own.served && own.name == version);
            if let Some(served) = served {
                legacy_rows(row, served, &mut resources);
            }
        }
    }
    Ok(respond::value(
        200,
        &json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources,
        }),
    ))
}

fn legacy_rows(row: &ResourceType, served: &ServedVersion, resources: &mut Vec<Value>) {
    let mut entry = json!({
        "name": row.plural, "singularName": row.singular, "namespaced": row.namespaced,
        "kind": row.kind, "verbs": row.verbs,
    });
    if !row.short_names.is_empty() {
        entry["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        entry["categories"] = json!(row.categories);
    }
    resources.push(entry);
    for sub in &served.subresources {
        let mut entry = json!({
            "name": format!("{}/{}", row.plural, sub.name), "singularName": "",
            "namespaced": row.namespaced, "kind": sub_kind(row, sub), "verbs": sub.verbs,
        });
        if !sub.version.is_empty() {
            entry["group"] = sub.group.clone().into();
            entry["version"] = sub.version.clone().into();
        }
        resources.push(entry);
    }
}

fn sub_kind<'a>(row: &'a ResourceType, sub: &'a Subresource) -> &'a str {
    if sub.kind.is_empty() {
        &row.kind
    } else {
        &sub.kind
    }
}

/// Named groups with their served versions, the preferred one first.
fn groups_of(registry: &Registry) -> impl Iterator<Item = (&str, Vec<&str>)> {
    registry
        .groups()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, rows)| {
            let mut versions: Vec<&str> = Vec::new();
            for row in rows {
                for served in row.versions.iter().filter(|version| version.served) {
                    if !versions.contains(&served.name.as_str()) {
                        versions.push(&served.name);
                    }
                }
            }
            versions.sort_by(|left, right| rank(right).cmp(&rank(left)).then(left.cmp(right)));
            (group, versions)
        })
}

/// Kubernetes version priority: GA over beta over alpha, higher numbers first.
fn rank(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    let (stage, name) = if rest.contains("alpha") {
        (1, "alpha")
    } else if rest.contains("beta") {
        (2, "beta")
    } else {
        (3, "\0")
    };
    let (major, minor) = rest.split_once(name).unwrap_or((rest, "0"));
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => (stage, major, minor),
        _ => (0, 0, 0),
    }
}

fn api_group(group: &str, versions: &[&str]) -> Value {
    let of =
        |version: &&str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({
        "name": group, "versions": versions.iter().map(of).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(of),
    })
}

fn aggregated(server: &ApiServer, headers: &HeaderMap, version: &str, core: bool) -> Response {
    let machine = server.lock();
    let registry = &machine.registry;
    let name = if core {
        "aggregated-core"
    } else {
        "aggregated-groups"
    };
    let body = server
        .documents()
        .get(registry.epoch, &format!("{name}-{version}"), || {
            let items: Vec<Value> = if core {
                vec![aggregated_group(registry, "", &["v1"])]
            } else {
                groups_of(registry)
                    .map(|(group, versions)| aggregated_group(registry, group, &versions))
                    .collect()
            };
            json!({
                "kind": "APIGroupDiscoveryList",
                "apiVersion": format!("apidiscovery.k8s.io/{version}"),
                "metadata": {}, "items": items,
            })
        });
    let content = if version == "v2" {
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    } else {
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    };
    cached(headers, content, body)
}

fn aggregated_group(registry: &Registry, group: &str, versions: &[&str]) -> Value {
    let rows: Vec<_> = registry
        .groups()
        .filter(|(own, _)| *own == group)
        .flat_map(|(_, rows)| rows)
        .collect();
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let resources: Vec<Value> = rows
                .iter()
                .filter_map(|row| {
                    let served = row
                        .versions
                        .iter()
                        .find(|own| own.served && own.name == *version)?;
                    Some(aggregated_row(row, served))
                })
                .collect();
            json!({"version": version, "freshness": "Current", "resources": resources})
        })
        .collect();
    let metadata = if group.is_empty() {
        json!({})
    } else {
        json!({"name": group})
    };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_row(row: &ResourceType, served: &ServedVersion) -> Value {
    let (group, version) = (row.group.as_str(), served.name.as_str());
    let mut entry = json!({
        "resource": row.plural,
        "responseKind": {"group": group, "version": version, "kind": row.kind},
        "scope": if row.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular, "verbs": row.verbs,
    });
    if !row.short_names.is_empty() {
        entry["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        entry["categories"] = json!(row.categories);
    }
    let subresources: Vec<Value> = served
        .subresources
        .iter()
        .map(|sub| {
            let (group, version) = if sub.version.is_empty() {
                (group, version)
            } else {
                (sub.group.as_str(), sub.version.as_str())
            };
            json!({
                "subresource": sub.name, "verbs": sub.verbs,
                "responseKind": {"group": group, "version": version, "kind": sub_kind(row, sub)},
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}
