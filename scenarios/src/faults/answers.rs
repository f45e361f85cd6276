//! What servers answer when they are unwell, in each server's own form.

use bytes::Bytes;
use controller_ports::{Body, full_body};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::class::Verb;
use crate::world::ports::Target;

/// A refusal with this status; `wait` in seconds goes into `Retry-After`.
pub(super) fn refusal(
    target: Target,
    verb: Verb,
    status: u16,
    wait: Option<u64>,
) -> Response<Body> {
    let body = match (target, verb) {
        (Target::Kube, _) => kube(status, wait),
        (Target::Arm, Verb::Token) => entra(status),
        (Target::Arm, _) => arm(status),
    };
    let mut answer = Response::new(full_body(body.to_string()));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status of the table");
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(wait) = wait {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait));
    }
    answer
}

/// Texts: kubernetes/kubernetes staging/src/k8s.io/apimachinery/pkg/api/errors and
/// staging/src/k8s.io/apiserver/pkg/util/flowcontrol.
fn kube(status: u16, wait: Option<u64>) -> Value {
    let (reason, message) = match status {
        429 => (
            "TooManyRequests",
            "Too many requests, please try again later.",
        ),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        504 => (
            "Timeout",
            "Timeout: request did not complete within the allotted timeout",
        ),
        410 => (
            "Expired",
            "The provided continue parameter is too old to display a consistent list result. You \
             can start a new list without the continue parameter, or use the continue token in \
             this response to retrieve the remainder of the results.",
        ),
        _ => (
            "InternalError",
            "Internal error occurred: etcdserver: leader changed",
        ),
    };
    let mut object = status_of(status, reason, message);
    if let Some(wait) = wait {
        object["details"] = json!({"retryAfterSeconds": wait});
    }
    object
}

fn status_of(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    })
}

/// Codes: learn.microsoft.com azure-resource-manager/troubleshooting/common-deployment-errors and
/// management/request-limits-and-throttling.
fn arm(status: u16) -> Value {
    let (code, message) = match status {
        429 => (
            "TooManyRequests",
            "The request is being throttled. Please try after the time in Retry-After.",
        ),
        503 => (
            "ServiceUnavailable",
            "The service is temporarily unavailable. Please try again later.",
        ),
        504 => (
            "GatewayTimeout",
            "The gateway did not receive a response from the resource provider within the \
             specified time period.",
        ),
        _ => (
            "InternalServerError",
            "The server encountered an internal error. Please retry the request.",
        ),
    };
    json!({"error": {"code": code, "message": message}})
}

/// RFC 6749 section 5.2, as Entra spells it.
fn entra(_status: u16) -> Value {
    json!({
        "error": "temporarily_unavailable",
        "error_description": "AADSTS90033: A transient error has occurred. Please try again.",
        "error_codes": [90033],
    })
}

/// The stream of a watch that starts too far back.
pub(super) fn expired_watch() -> Response<Body> {
    let object = status_of(410, "Expired", "too old resource version");
    let event = json!({"type": "ERROR", "object": object});
    let mut answer = Response::new(full_body(Bytes::from(format!("{event}\n"))));
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
