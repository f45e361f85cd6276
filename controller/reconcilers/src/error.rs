//! What can go wrong in a reconcile, and what follows from it.

use std::time::Duration;

use controller_ports::ProviderError;

/// Why a reconcile did not finish.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Somebody else wrote the object first: read it again and start over.
    #[error("object has changed")]
    Conflict,
    /// The API server refused, or did not answer.
    #[error("api server")]
    Kube(#[source] kube::Error),
    /// The cloud provider refused, or did not answer.
    #[error("cloud provider")]
    Provider(#[source] ProviderError),
    /// Told to come back later.
    #[error("throttled")]
    Throttled {
        /// When.
        retry_after: Duration,
    },
    /// The launch of an instance failed; the claim's condition says why.
    #[error("launch failed: {0}")]
    Launch(String),
    /// An object holds what it must not hold.
    #[error("invalid object: {0}")]
    Invalid(String),
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Throttled { retry_after } => Self::Throttled { retry_after },
            other => Self::Provider(other),
        }
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        if is_conflict(&error) {
            Self::Conflict
        } else {
            Self::Kube(error)
        }
    }
}

/// The HTTP status of an API error.
pub(crate) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// 404 of an object (not of a route).
pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    code(error) == Some(404)
}

/// 409 because the object changed; `AlreadyExists` has the same code and another reason.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason != "AlreadyExists")
}

/// 409 because an object of this name exists.
pub(crate) fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}

/// The error with everything beneath it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let next = inner.to_string();
        // kube's errors repeat their source in their own text.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = inner.source();
    }
    text
}
