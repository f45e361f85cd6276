//! The only place that knows what an error looks like on the wire.

use serde_json::{Value, json};

/// Which envelope a service uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Envelope {
    /// `{"error":{…}}`: ARM's front door, Compute, Network.
    Wrapped,
    /// The members at top level: AKS.
    Flat,
    /// RFC 6749: Entra.
    Oauth,
}

/// An error answer. Equal errors encode to equal bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArmError {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    envelope: Envelope,
    /// Apart, so that a `Result` stays small.
    rest: Box<Rest>,
}

/// What most errors do without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rest {
    target: Option<String>,
    /// AKS's `subcode`, or the number of an Entra error.
    subcode: Option<String>,
    /// Code, target, message.
    details: Vec<(String, String, String)>,
    headers: Vec<(&'static str, String)>,
}

/// The answer of a route.
pub(crate) type Result<T, E = ArmError> = std::result::Result<T, E>;

impl ArmError {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            envelope: Envelope::Wrapped,
            rest: Box::default(),
        }
    }

    pub(crate) fn target(mut self, target: &str) -> Self {
        self.rest.target = Some(target.to_owned());
        self
    }

    pub(crate) fn detail(mut self, code: &str, target: &str, message: &str) -> Self {
        self.rest
            .details
            .push((code.to_owned(), target.to_owned(), message.to_owned()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.rest.headers.push((name, value));
        self
    }

    /// AKS answers without the `error` member, except for conflicts, whose body Go's
    /// provider-registration policy insists on (azure-sdk-for-go `policy_register_rp.go`).
    pub(crate) fn aks(mut self, subcode: &str) -> Self {
        if self.status != 409 {
            self.envelope = Envelope::Flat;
        }
        self.rest.subcode = Some(subcode.to_owned());
        self
    }

    /// An Entra error; `code` is the OAuth code and `number` the AADSTS number.
    pub(crate) fn entra(status: u16, code: &str, number: u32, text: &str) -> Self {
        let mut error = Self::new(status, code, format!("AADSTS{number}: {text}"));
        error.rest.subcode = Some(number.to_string());
        error.envelope = Envelope::Oauth;
        error
    }

    pub(crate) fn extra_headers(&self) -> &[(&'static str, String)] {
        &self.rest.headers
    }

    /// `code`, `message`, and what else there is: also the `error` member of an operation.
    pub(crate) fn members(&self) -> Value {
        let mut body = json!({"code": self.code, "message": self.message});
        if let Some(target) = &self.rest.target {
            body["target"] = json!(target);
        }
        if !self.rest.details.is_empty() {
            body["details"] = self
                .rest.details
                .iter()
                .map(|(code, target, message)| json!({"code": code, "target": target, "message": message}))
                .collect();
        }
        body
    }

    /// The whole body.
    pub(crate) fn body(&self) -> Value {
        match self.envelope {
            Envelope::Wrapped => json!({"error": self.members()}),
            Envelope::Flat => {
                let mut body = self.members();
                if body.get("details").is_none() {
                    body["details"] = Value::Null;
                }
                body["subcode"] = json!(self.rest.subcode.as_deref().unwrap_or_default());
                body
            }
            Envelope::Oauth => {
                let number: u32 = self
                    .rest
                    .subcode
                    .as_deref()
                    .unwrap_or_default()
                    .parse()
                    .unwrap_or(0);
                json!({
                    "error": self.code,
                    "error_description": self.message,
                    "error_codes": [number],
                    "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
                })
            }
        }
    }
}

// The errors that more than one provider answers with.
impl ArmError {
    pub(crate) fn invalid_content(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequestContent", message)
    }

    pub(crate) fn invalid_parameter(target: &str, message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameter", message).target(target)
    }

    pub(crate) fn group_not_found(group: &str) -> Self {
        Self::new(
            404,
            "ResourceGroupNotFound",
            format!("Resource group '{group}' could not be found."),
        )
    }

    /// `kind` is `Namespace/type`, with the parent's name inside for a child resource.
    pub(crate) fn resource_not_found(kind_and_name: &str, group: &str) -> Self {
        Self::new(
            404,
            "ResourceNotFound",
            format!(
                "The Resource '{kind_and_name}' under resource group '{group}' was not found. For more \
                 details please go to https://aka.ms/ARMResourceNotFoundFix"
            ),
        )
    }

    pub(crate) fn method_not_allowed(method: &str, kind: &str) -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            format!("The resource type '{kind}' does not support the HTTP method '{method}' here."),
        )
    }

    pub(crate) fn unknown_type(namespace: &str, kind: &str, api_version: &str) -> Self {
        Self::new(
            404,
            "InvalidResourceType",
            format!(
                "The resource type '{kind}' could not be found in the namespace '{namespace}' for api \
                 version '{api_version}'."
            ),
        )
    }

    pub(crate) fn not_allowed(message: impl Into<String>) -> Self {
        Self::new(409, "OperationNotAllowed", message)
    }

    pub(crate) fn property_change(property: &str) -> Self {
        Self::new(
            409,
            "PropertyChangeNotAllowed",
            format!("Changing property '{property}' is not allowed."),
        )
        .target(property)
    }

    pub(crate) fn precondition(id: &str) -> Self {
        Self::new(
            412,
            "PreconditionFailed",
            format!("The condition of the request was not met by resource '{id}'."),
        )
    }
}
