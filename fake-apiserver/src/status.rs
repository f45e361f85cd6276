//! The API machinery's error body, and the only place that knows its codes and texts.
//!
//! Messages follow `kubernetes/kubernetes staging/src/k8s.io/apimachinery/pkg/api/errors` and
//! `…/pkg/util/validation/field`: clients match on them.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// An answer of the server that is not an object: almost always an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason; empty where the real server sends none.
    pub reason: &'static str,
    /// Human-readable message.
    pub message: String,
    /// `details`, when present.
    pub details: Option<Box<Map<String, Value>>>,
    /// `metadata.continue`, sent with an expired continue token.
    pub continuation: Option<String>,
    /// The `Retry-After` header and `details.retryAfterSeconds`.
    pub retry_after_seconds: Option<u32>,
    /// Plain text instead of a JSON body (unknown paths).
    pub plain: bool,
}

/// The result of an API operation.
pub type Result<T> = std::result::Result<T, Status>;

/// A kind as error texts name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// API group, empty for the core group.
    pub group: &'a str,
    /// Plural resource name, or the Kind where the text wants that.
    pub kind: &'a str,
    /// Object name, possibly empty.
    pub name: &'a str,
}

impl Named<'_> {
    fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    fn details(&self) -> Map<String, Value> {
        let mut details = Map::new();
        if !self.name.is_empty() {
            details.insert("name".into(), self.name.into());
        }
        if !self.group.is_empty() {
            details.insert("group".into(), self.group.into());
        }
        details.insert("kind".into(), self.kind.into());
        details
    }
}

/// Why a field is wrong; spelled as `field.ErrorType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Must be there.
    Required,
    /// Malformed.
    Invalid,
    /// Of the wrong JSON type.
    TypeInvalid,
    /// Not one of the allowed values.
    NotSupported,
    /// Well-formed but not allowed.
    Forbidden,
    /// Occurs twice.
    Duplicate,
    /// A string that is too long.
    TooLong,
    /// A list that is too long.
    TooMany,
    /// Refers to something absent.
    NotFound,
}

impl Fault {
    fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }
}

/// One wrong field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// For example `spec.containers[0].name`.
    pub path: String,
    /// The class of the error.
    pub fault: Fault,
    /// `Required value: …`, without the path.
    pub text: String,
}

impl FieldError {
    /// An error that shows the offending value (JSON spelling; strings quoted).
    pub fn value(path: impl Into<String>, fault: Fault, value: &Value, detail: &str) -> Self {
        Self::shown(path, fault, &value.to_string(), detail)
    }

    /// An error that shows the value in a spelling of its own.
    pub fn shown(path: impl Into<String>, fault: Fault, value: &str, detail: &str) -> Self {
        let mut text = format!("{}: {value}", fault.text());
        if !detail.is_empty() {
            text.push_str(": ");
            text.push_str(detail);
        }
        Self {
            path: path.into(),
            fault,
            text,
        }
    }

    /// An error that shows no value (`Required`, `Forbidden`, `TooLong`).
    pub fn bare(path: impl Into<String>, fault: Fault, detail: &str) -> Self {
        let mut text = fault.text().to_owned();
        if !detail.is_empty() {
            text.push_str(": ");
            text.push_str(detail);
        }
        Self {
            path: path.into(),
            fault,
            text,
        }
    }

    /// `Required value: detail`.
    pub fn required(path: impl Into<String>, detail: &str) -> Self {
        Self::bare(path, Fault::Required, detail)
    }

    /// `Forbidden: detail`.
    pub fn forbidden(path: impl Into<String>, detail: &str) -> Self {
        Self::bare(path, Fault::Forbidden, detail)
    }

    /// `Invalid value: value: detail`.
    pub fn invalid(path: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::value(path, Fault::Invalid, value, detail)
    }

    /// `Unsupported value: value: supported values: …`.
    pub fn not_supported(path: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported
            .iter()
            .map(|value| format!("\"{value}\""))
            .collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        Self::value(path, Fault::NotSupported, value, &detail)
    }
}

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            continuation: None,
            retry_after_seconds: None,
            plain: false,
        }
    }

    fn with_details(mut self, details: Map<String, Value>) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    fn with_causes(mut self, causes: Vec<Value>) -> Self {
        self.details
            .get_or_insert_default()
            .insert("causes".into(), Value::Array(causes));
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self.details
            .get_or_insert_default()
            .insert("retryAfterSeconds".into(), seconds.into());
        self
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 for a resource; `why` follows the colon.
    pub fn forbidden(what: Named<'_>, why: &str) -> Self {
        let object = if what.name.is_empty() {
            String::new()
        } else {
            format!(" \"{}\"", what.name)
        };
        Self::new(
            403,
            "Forbidden",
            format!("{}{object} is forbidden: {why}", what.qualified()),
        )
        .with_details(what.details())
    }

    /// 403 for a path that is no resource.
    pub fn forbidden_path(user: &str, verb: &str, path: &str) -> Self {
        Self::new(
            403,
            "Forbidden",
            format!("forbidden: User \"{user}\" cannot {verb} path \"{path}\""),
        )
        .with_details(Map::new())
    }

    /// 404 for an object.
    pub fn not_found(what: Named<'_>) -> Self {
        Self::new(
            404,
            "NotFound",
            format!("{} \"{}\" not found", what.qualified(), what.name),
        )
        .with_details(what.details())
    }

    /// 404 for a resource or subresource this server does not have.
    pub fn no_such_resource() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with_details(Map::new())
    }

    /// 404 in plain text, for paths and groups that are not served.
    pub fn no_such_path() -> Self {
        let mut status = Self::new(404, "NotFound", "404 page not found\n");
        status.plain = true;
        status
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(Map::new())
    }

    /// 406 when no offered representation is acceptable.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, "NotAcceptable", message).with_details(Map::new())
    }

    /// 409 on create.
    pub fn already_exists(what: Named<'_>) -> Self {
        Self::new(
            409,
            "AlreadyExists",
            format!("{} \"{}\" already exists", what.qualified(), what.name),
        )
        .with_details(what.details())
    }

    /// 409 because the object is not in the state the request needs.
    pub fn conflict(what: Named<'_>, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{}\": {why}",
            what.qualified(),
            what.name
        );
        Self::new(409, "Conflict", message).with_details(what.details())
    }

    /// 409 because the resource version is stale.
    pub fn stale(what: Named<'_>) -> Self {
        Self::conflict(
            what,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 of server-side apply: `(manager as shown, field)` per conflict.
    pub fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let mut message = format!(
            "Apply failed with {} conflict{}:",
            conflicts.len(),
            if conflicts.len() == 1 { "" } else { "s" }
        );
        if let [(manager, field)] = conflicts {
            message = format!("{message} conflict with {manager}: {field}");
        } else {
            let mut last = None;
            for (manager, field) in conflicts {
                if last != Some(manager) {
                    let separator = if last.is_some() { "\n" } else { " " };
                    message = format!("{message}{separator}conflicts with {manager}:");
                    last = Some(manager);
                }
                message = format!("{message}\n- {field}");
            }
        }
        let causes = conflicts
            .iter()
            .map(|(manager, field)| {
                json!({
                    "reason": "FieldManagerConflict",
                    "message": format!("conflict with {manager}"),
                    "field": field,
                })
            })
            .collect();
        Self::new(409, "Conflict", message).with_causes(causes)
    }
    /// 410: history is gone.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
        .with_details(Map::new())
    }

    /// 415.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 422 with the list of wrong fields; `what.kind` is the Kind.
    pub fn invalid(what: Named<'_>, errors: &[FieldError]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for error in errors {
            // causes keep what upstream finds twice, the message does not
            let text = format!("{}: {}", error.path, error.text);
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let joined = if texts.len() == 1 {
            texts.concat()
        } else {
            format!("[{}]", texts.join(", "))
        };
        let causes = errors
            .iter()
            .map(|error| {
                json!({"reason": error.fault.reason(), "message": error.text, "field": error.path})
            })
            .collect();
        let message = format!(
            "{} \"{}\" is invalid: {joined}",
            what.qualified(),
            what.name
        );
        Self::new(422, "Invalid", message)
            .with_details(what.details())
            .with_causes(causes)
    }

    /// 422 of a patch that cannot be applied.
    pub fn unprocessable() -> Self {
        Self::new(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
        )
        .with_details(Map::new())
    }

    /// 422 in free words.
    pub fn invalid_text(message: impl Into<String>, errors: &[FieldError]) -> Self {
        let causes = errors
            .iter()
            .map(|error| {
                json!({"reason": error.fault.reason(), "message": error.text, "field": error.path})
            })
            .collect();
        Self::new(422, "Invalid", message).with_causes(causes)
    }

    /// 429 of a blocked eviction; `cause` says which budget and why.
    pub fn disruption_budget(cause: &str, retry_after_seconds: Option<u32>) -> Self {
        let causes = vec![json!({"reason": "DisruptionBudget", "message": cause})];
        let status = Self::new(
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.",
        )
        .with_causes(causes);
        match retry_after_seconds {
            Some(seconds) => status.retry_after(seconds),
            None => status,
        }
    }

    /// 500 without a reason, as errors that are no Status become.
    pub fn plain_error(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 500 with reason `InternalError`.
    pub fn internal(message: &str) -> Self {
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
        .with_causes(vec![json!({"message": message})])
    }

    /// 504 for a resource version this server has not reached.
    pub fn revision_too_large(wanted: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        let cause =
            json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        Self::new(504, "Timeout", message)
            .with_causes(vec![cause])
            .retry_after(1)
    }

    /// The JSON body.
    pub fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("kind".into(), "Status".into());
        body.insert("apiVersion".into(), "v1".into());
        let metadata = match &self.continuation {
            Some(token) => json!({"continue": token}),
            None => json!({}),
        };
        body.insert("metadata".into(), metadata);
        let outcome = if self.code < 300 {
            "Success"
        } else {
            "Failure"
        };
        body.insert("status".into(), outcome.into());
        if !self.message.is_empty() {
            body.insert("message".into(), self.message.clone().into());
        }
        if !self.reason.is_empty() {
            body.insert("reason".into(), self.reason.into());
        }
        if let Some(details) = &self.details {
            body.insert("details".into(), Value::Object((**details).clone()));
        }
        body.insert("code".into(), self.code.into());
        Value::Object(body)
    }

    /// One line for logs and for the components' seam.
    pub fn summary(&self) -> String {
        let mut text = self.message.clone();
        if let Some(causes) = self
            .details
            .as_ref()
            .and_then(|details| details.get("causes"))
            && let Some(first) = causes.get(0).and_then(|cause| cause["message"].as_str())
            && !text.contains(first)
        {
            write!(text, " {first}").expect("writing to a String cannot fail");
        }
        text
    }
}
