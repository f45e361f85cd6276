//! The reviews an API server sends.
//!
//! Sources: kubernetes `apiextensions/v1` and `admission/v1`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request to convert objects, or the answer to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConversionReview {
    /// `apiextensions.k8s.io/v1`.
    pub api_version: String,
    /// `ConversionReview`.
    pub kind: String,
    /// Set in a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<ConversionRequest>,
    /// Set in an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ConversionResponse>,
}

/// What is to be converted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversionRequest {
    /// Names the review; the answer carries it back.
    pub uid: String,
    /// Version wanted, as group and version.
    #[serde(rename = "desiredAPIVersion")]
    pub desired_api_version: String,
    /// The objects, in any version.
    pub objects: Vec<Value>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConversionResponse {
    /// Of the request.
    pub uid: String,
    /// Whether all objects were converted.
    pub result: ReviewStatus,
    /// The objects in the version wanted, in the order of the request; empty after a failure.
    pub converted_objects: Vec<Value>,
}

/// Outcome of a review, in the form of a `Status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewStatus {
    /// `Success` or `Failure`.
    pub status: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// HTTP code the API server gives to its client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

impl ReviewStatus {
    /// All went well.
    pub fn success() -> Self {
        Self {
            status: "Success".to_owned(),
            message: None,
            code: None,
        }
    }

    /// It did not, and why.
    pub fn failure(message: impl Into<String>) -> Self {
        Self {
            status: "Failure".to_owned(),
            message: Some(message.into()),
            code: None,
        }
    }
}

/// A request to admit an object, or the answer to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionReview {
    /// `admission.k8s.io/v1`.
    pub api_version: String,
    /// `AdmissionReview`.
    pub kind: String,
    /// Set in a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<AdmissionRequest>,
    /// Set in an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<AdmissionResponse>,
}

/// What is to be admitted; of the request's many fields, those that are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionRequest {
    /// Names the review; the answer carries it back.
    pub uid: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: String,
    /// The object as it would be; absent on deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Value>,
    /// The object as it is; absent on creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_object: Option<Value>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionResponse {
    /// Of the request.
    pub uid: String,
    /// Whether the object is admitted.
    pub allowed: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ReviewStatus>,
    /// Shown to the user, although the object is admitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
