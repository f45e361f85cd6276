//! Errors as ARM writes them, and as callers react to them.

use std::fmt;
use std::time::Duration;

use controller_ports::{BoxError, ProviderError};
use http::HeaderMap;
use serde_json::Value;

/// An answer that says no: its status, code and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceError {
    /// HTTP status; of a failed operation, the status of the poll that told (200).
    pub(crate) status: u16,
    /// `error.code`, or what comes closest.
    pub(crate) code: String,
    /// `error.message`.
    pub(crate) message: String,
    /// The whole body: some facts stand only in nested details.
    pub(crate) body: String,
    /// How long to wait, when the server says so.
    pub(crate) retry_after: Option<Duration>,
}

impl ServiceError {
    /// Reads an answer. Most providers wrap the error, AKS and Compute's throttling do not
    /// (`Azure/azure-sdk-for-go` `sdk/azcore/internal/exported/response_error.go`).
    pub(crate) fn from_response(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body).into_owned();
        let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let mut error = Self::from_json(&json, status);
        if let Some(code) = headers
            .get("x-ms-error-code")
            .and_then(|value| value.to_str().ok())
        {
            code.clone_into(&mut error.code);
        }
        if error.code.is_empty() {
            error.code = format!("Http{status}");
        }
        error.body = text;
        error.retry_after = retry_after(headers);
        error
    }

    /// Reads an error object, or an object that has one as `error`.
    pub(crate) fn from_json(json: &Value, status: u16) -> Self {
        let error = json
            .get("error")
            .filter(|error| error.is_object())
            .unwrap_or(json);
        let text = |key: &str| {
            error
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        // Entra's errors: the code is the value of `error`.
        let oauth = json.get("error").and_then(Value::as_str);
        let message = match oauth {
            Some(_) => json
                .get("error_description")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            None => text("message"),
        };
        Self {
            status,
            code: oauth.map_or_else(|| text("code"), str::to_owned),
            message,
            body: json.to_string(),
            retry_after: None,
        }
    }

    /// The code, compared as clients do: exactly.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether the text appears anywhere in the answer.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        self.message.contains(text) || self.body.contains(text)
    }

    /// The resource or a parent of it does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == 404
    }

    /// Too many requests; Compute's code for it is also that of quota errors, so the status decides.
    pub(crate) fn is_throttled(&self) -> bool {
        self.status == 429
    }

    /// Worth another try: the statuses every Azure SDK retries.
    pub(crate) fn is_retriable(&self) -> bool {
        matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504)
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            // A failed operation: the request for its status did not fail.
            200 => write!(f, "{}: {}", self.code, self.message),
            status => write!(f, "{} ({status}): {}", self.code, self.message),
        }
    }
}

impl std::error::Error for ServiceError {}

/// Why a call brought no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArmError {
    /// The service answered no.
    #[error("{0}")]
    Service(ServiceError),
    /// No answer, or none in time.
    #[error("no answer from {target}")]
    Transport {
        target: String,
        #[source]
        source: BoxError,
    },
    /// An answer that is not what the API describes.
    #[error("unreadable answer from {target}")]
    Unreadable {
        target: String,
        #[source]
        source: BoxError,
    },
    /// No access token.
    #[error("no access token: {message}")]
    Credential { message: String },
}

impl ArmError {
    pub(crate) fn unreadable(target: &str, source: impl Into<BoxError>) -> Self {
        Self::Unreadable {
            target: target.to_owned(),
            source: source.into(),
        }
    }

    pub(crate) fn service(&self) -> Option<&ServiceError> {
        match self {
            Self::Service(error) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.service().is_some_and(ServiceError::is_not_found)
    }

    /// May have been acted upon although no answer arrived, or may work later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Service(error) => error.is_retriable(),
            Self::Transport { .. } => true,
            Self::Unreadable { .. } | Self::Credential { .. } => false,
        }
    }
}

/// Waiting time when a 429 does not name one.
pub(crate) const THROTTLE_DEFAULT: Duration = Duration::from_secs(10);

impl From<ArmError> for ProviderError {
    fn from(error: ArmError) -> Self {
        match error {
            ArmError::Service(error) if error.is_not_found() => Self::NotFound,
            ArmError::Service(error) if error.is_throttled() => Self::Throttled {
                retry_after: error.retry_after.unwrap_or(THROTTLE_DEFAULT),
            },
            ArmError::Service(error) => Self::Refused(error.to_string()),
            other => Self::Transport(Box::new(other)),
        }
    }
}

/// `Retry-After` in seconds, or its millisecond forms; dates are not used by ARM.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number =
        |name: &str| -> Option<u64> { headers.get(name)?.to_str().ok()?.trim().parse().ok() };
    number("retry-after-ms")
        .or_else(|| number("x-ms-retry-after-ms"))
        .map(Duration::from_millis)
        .or_else(|| number("retry-after").map(Duration::from_secs))
}
