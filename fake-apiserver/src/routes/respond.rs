//! Building responses.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::status::Status;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PRIVATE: HeaderValue = HeaderValue::from_static("no-cache, private");

pub(super) fn bytes(code: u16, content: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, PRIVATE);
    headers.insert(header::CONTENT_TYPE, content);
    response
}

pub(super) fn json(code: u16, body: impl Into<Bytes>) -> Response {
    bytes(code, JSON, body.into())
}

pub(super) fn value(code: u16, value: &Value) -> Response {
    json(code, value.to_string())
}

pub(super) fn yaml(code: u16, value: &Value) -> Response {
    // JSON is YAML; a writer that sorts and quotes like Go's is not needed by any client
    let text = serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string());
    bytes(code, HeaderValue::from_static("application/yaml"), text)
}

pub(super) fn text(code: u16, text: String) -> Response {
    let mut response = bytes(
        code,
        HeaderValue::from_static("text/plain; charset=utf-8"),
        text,
    );
    let nosniff = HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

pub(super) fn status(status: &Status) -> Response {
    if status.plain {
        return text(status.code, status.message.clone());
    }
    let mut response = value(status.code, &status.body());
    if let Some(seconds) = status.retry_after_seconds {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Adds `Warning` headers (RFC 7234, code 299).
pub(super) fn warn(response: &mut Response, warnings: &[String]) {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}
