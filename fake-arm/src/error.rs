//! Error answers of this crate itself: `/_control`, and requests that never reach the cloud.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use fake_arm_cloud::ControlError;
use http::StatusCode;
use serde_json::json;

/// `{"error":{"code","message"}}`, as ARM spells it.
fn envelope(status: StatusCode, code: &str, message: &str) -> Response {
    (
        status,
        Json(json!({"error": {"code": code, "message": message}})),
    )
        .into_response()
}

pub(crate) fn unreadable_body(
    failure: &(dyn std::error::Error + Send + Sync + 'static),
) -> Response {
    if failure.is::<http_body_util::LengthLimitError>() {
        return envelope(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestContentTooLarge",
            "The request content length exceeds the maximum of 4194304 bytes.",
        );
    }
    envelope(
        StatusCode::BAD_REQUEST,
        "InvalidRequestContent",
        &failure.to_string(),
    )
}

pub(crate) fn bad_answer(failure: &http::Error) -> Response {
    envelope(
        StatusCode::BAD_REQUEST,
        "BadRequest",
        &format!("A header value was refused: {failure}."),
    )
}

pub(crate) fn not_loopback() -> Response {
    envelope(
        StatusCode::FORBIDDEN,
        "Forbidden",
        "/_control answers loopback addresses only; run curl on the machine of the emulator.",
    )
}

/// A query parameter that is missing or cannot be read.
pub(crate) fn parameter(name: &str, problem: &str) -> Response {
    envelope(
        StatusCode::BAD_REQUEST,
        "InvalidParameter",
        &format!("Query parameter '{name}' {problem}."),
    )
}

pub(crate) fn control(failure: &ControlError) -> Response {
    match failure {
        ControlError::Invalid(_) => envelope(
            StatusCode::BAD_REQUEST,
            "InvalidParameter",
            &failure.to_string(),
        ),
        ControlError::UnknownVm(_) => envelope(
            StatusCode::NOT_FOUND,
            "ResourceNotFound",
            &failure.to_string(),
        ),
        ControlError::NotSpot(_) | ControlError::NotAllocated(_) => envelope(
            StatusCode::CONFLICT,
            "OperationNotAllowed",
            &failure.to_string(),
        ),
    }
}
