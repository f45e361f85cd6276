//! The server as a client sees it, in process.

#![expect(clippy::too_many_lines, reason = "tables of cases")]
#![expect(clippy::needless_pass_by_value, reason = "cases are written in place")]

use axum::body::Body;
use http::{Method, Request, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{ApiServer, Clock, Options};

mod access;
mod crud;
mod custom;
mod history;
mod persistence;
mod replay;
mod semantics;
mod watch;

/// A server at a fixed time, with an administrator's token.
fn server() -> ApiServer {
    let epoch = "2026-01-01T00:00:00Z".parse().unwrap();
    let clock = Clock::new(epoch, tokio::time::Instant::now(), 1.0);
    let options = Options::new(clock, 7)
        .with_token("admin", "admin", &["system:masters"])
        .with_token("alice", "alice", &[]);
    ApiServer::new(options)
}

struct Answer {
    code: u16,
    body: Value,
}

impl Answer {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    #[track_caller]
    fn ok(self) -> Value {
        assert!(self.code < 300, "{} {}", self.code, self.body);
        self.body
    }
}

async fn send_as(
    server: &ApiServer,
    token: &str,
    (method, path): (Method, &str),
    content: &str,
    body: Value,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"));
    let mut bytes = Body::empty();
    if !body.is_null() {
        request = request.header(header::CONTENT_TYPE, content);
        bytes = Body::from(body.to_string());
    }
    let response = server
        .router()
        .oneshot(request.body(bytes).unwrap())
        .await
        .unwrap();
    let code = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let body =
        serde_json::from_slice(&text).unwrap_or_else(|_| String::from_utf8_lossy(&text).into());
    Answer { code, body }
}

async fn send(server: &ApiServer, method: Method, path: &str, body: Value) -> Answer {
    send_as(server, "admin", (method, path), "application/json", body).await
}

async fn get(server: &ApiServer, path: &str) -> Answer {
    send(server, Method::GET, path, Value::Null).await
}

async fn post(server: &ApiServer, path: &str, body: Value) -> Answer {
    send(server, Method::POST, path, body).await
}

async fn patch(server: &ApiServer, path: &str, kind: &str, body: Value) -> Answer {
    let content = match kind {
        "apply" => "application/apply-patch+yaml".to_owned(),
        kind => format!("application/{kind}+json"),
    };
    send_as(server, "admin", (Method::PATCH, path), &content, body).await
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "x:1", "resources": {"limits": {"cpu": 1}}}]},
    })
}

const PODS: &str = "/api/v1/namespaces/default/pods";
