//! Long-running operations as a step machine: what to ask next, and what an answer means.
//!
//! Source: Azure Resource Manager's asynchronous operations; the order of headers is that of
//! `Azure/azure-sdk-for-go` `sdk/azcore/runtime/poller.go`.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::error::{ServiceError, retry_after};

/// Pause between polls when the server names none (`Azure/karpenter-provider-azure` uses 3 s).
const INTERVAL: Duration = Duration::from_secs(3);
/// A server that says 0 is asked once a second.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// An operation under way: where it tells how it is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    monitor: Monitor,
    interval: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Monitor {
    /// A status document: `{"status": …}`.
    Status(String),
    /// 202 while it runs.
    Location(String),
    /// `properties.provisioningState` of the resource.
    Resource(String),
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Ask again.
    Running,
    /// Done.
    Succeeded,
    /// Gone wrong.
    Failed(ServiceError),
}

impl Operation {
    /// The operation that a successful answer to a PUT, PATCH, POST or DELETE started; `None`
    /// when the answer was final.
    pub(crate) fn started(
        method: &Method,
        url: &str,
        status: StatusCode,
        headers: &HeaderMap,
        body: &Value,
    ) -> Option<Self> {
        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let interval = interval(headers);
        let state = provisioning_state(body);
        if let Some(url) = header("azure-asyncoperation").or_else(|| header("operation-location")) {
            // Network answers a PUT that is finished with the header all the same.
            let finished = state.is_some_and(|state| state.eq_ignore_ascii_case("Succeeded"));
            return (!finished).then_some(Self {
                monitor: Monitor::Status(url),
                interval,
            });
        }
        if status == StatusCode::ACCEPTED
            && let Some(url) = header("location")
        {
            return Some(Self {
                monitor: Monitor::Location(url),
                interval,
            });
        }
        let running = state.is_some_and(|state| !is_terminal(state));
        (running && (*method == Method::PUT || *method == Method::PATCH))
            .then(|| Self::of_resource(url.to_owned(), interval))
    }

    /// Follows a resource's own state; `url` is absolute and carries its `api-version`.
    pub(crate) fn of_resource(url: String, interval: Duration) -> Self {
        Self {
            monitor: Monitor::Resource(url),
            interval: interval.max(INTERVAL_MIN),
        }
    }

    /// What to GET next.
    pub(crate) fn url(&self) -> &str {
        match &self.monitor {
            Monitor::Status(url) | Monitor::Location(url) | Monitor::Resource(url) => url,
        }
    }

    /// How long to wait before that.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Takes in the answer to that GET. A late or repeated answer changes nothing.
    pub(crate) fn observe(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &Value,
    ) -> Progress {
        self.interval = interval(headers);
        match &mut self.monitor {
            Monitor::Status(_) => {
                let state = body
                    .get("status")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                outcome(state, body)
            }
            Monitor::Location(url) => {
                if status != StatusCode::ACCEPTED {
                    return Progress::Succeeded;
                }
                if let Some(next) = headers
                    .get("location")
                    .and_then(|value| value.to_str().ok())
                {
                    next.clone_into(url);
                }
                Progress::Running
            }
            Monitor::Resource(_) => match provisioning_state(body) {
                // A resource without a state is complete.
                None => Progress::Succeeded,
                Some(state) => outcome(state, &failure_of_resource(body)),
            },
        }
    }
}

fn interval(headers: &HeaderMap) -> Duration {
    retry_after(headers).unwrap_or(INTERVAL).max(INTERVAL_MIN)
}

fn provisioning_state(body: &Value) -> Option<&str> {
    body.get("properties")?.get("provisioningState")?.as_str()
}

fn is_terminal(state: &str) -> bool {
    ["Succeeded", "Failed", "Canceled", "Cancelled"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(state))
}

fn outcome(state: &str, body: &Value) -> Progress {
    if state.eq_ignore_ascii_case("Succeeded") {
        return Progress::Succeeded;
    }
    if !is_terminal(state) {
        return Progress::Running;
    }
    let mut error = ServiceError::from_json(body, 200);
    if error.code.is_empty() {
        let is_failed = state.eq_ignore_ascii_case("Failed");
        let code = if is_failed {
            "OperationFailed"
        } else {
            "OperationCanceled"
        };
        code.clone_into(&mut error.code);
    }
    if error.message.is_empty() {
        error.message = format!("the operation ended as {state}");
    }
    Progress::Failed(error)
}

/// A failed machine tells why only in its instance view
/// (`ProvisioningState/failed/<code>`); an error object is made of it.
pub(crate) fn failure_of_resource(body: &Value) -> Value {
    let statuses = body
        .pointer("/properties/instanceView/statuses")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let failed = statuses.iter().find_map(|status| {
        let code = status.get("code")?.as_str()?;
        let (prefix, error_code) = code.split_at_checked("ProvisioningState/failed".len())?;
        let message = status.get("message").and_then(Value::as_str).unwrap_or_default();
        prefix
            .eq_ignore_ascii_case("ProvisioningState/failed")
            .then(|| serde_json::json!({"code": error_code.trim_start_matches('/'), "message": message}))
    });
    failed.unwrap_or(Value::Null)
}
