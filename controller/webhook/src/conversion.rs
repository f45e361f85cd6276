//! Conversion between served versions.

use controller_api::azure;
use serde_json::Value;

use crate::{ConversionRequest, ConversionResponse, ConversionReview, ReviewStatus};

/// Why an object cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum ConvertError {
    #[error("object {index} has no apiVersion and kind")]
    NotAnObject { index: usize },
    #[error("cannot convert {kind} {name:?} from {from} to {to}: supported are {supported}")]
    Unsupported {
        kind: String,
        name: String,
        from: String,
        to: String,
        supported: String,
    },
}

/// Versions of one kind between which nothing but the version changes.
struct Identical {
    group: &'static str,
    kind: &'static str,
    versions: &'static [&'static str],
}

const IDENTICAL: &[Identical] = &[Identical {
    group: azure::GROUP,
    kind: azure::KIND,
    versions: &[azure::v1alpha2::VERSION, azure::v1beta1::VERSION],
}];

/// Answers a conversion review. A review without a request is answered with a failure as well.
pub fn convert(review: ConversionReview) -> ConversionReview {
    let ConversionReview {
        api_version,
        kind,
        request,
        ..
    } = review;
    let response = match request {
        None => ConversionResponse {
            uid: String::new(),
            result: ReviewStatus::failure("the review holds no request"),
            converted_objects: Vec::new(),
        },
        Some(request) => respond(request),
    };
    ConversionReview {
        api_version,
        kind,
        request: None,
        response: Some(response),
    }
}

fn respond(request: ConversionRequest) -> ConversionResponse {
    let ConversionRequest {
        uid,
        desired_api_version,
        objects,
    } = request;
    let converted: Result<Vec<Value>, ConvertError> = objects
        .into_iter()
        .enumerate()
        .map(|(index, object)| convert_object(index, object, &desired_api_version))
        .collect();
    match converted {
        Ok(converted_objects) => ConversionResponse {
            uid,
            result: ReviewStatus::success(),
            converted_objects,
        },
        Err(error) => ConversionResponse {
            uid,
            result: ReviewStatus::failure(error.to_string()),
            converted_objects: Vec::new(),
        },
    }
}

fn convert_object(index: usize, mut object: Value, to: &str) -> Result<Value, ConvertError> {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let (Some(from), Some(kind)) = (text("/apiVersion"), text("/kind")) else {
        return Err(ConvertError::NotAnObject { index });
    };
    if from == to {
        return Ok(object);
    }
    let served = |api_version: &str| {
        IDENTICAL.iter().find(|entry| {
            let version = api_version.split_once('/');
            entry.kind == kind
                && version.is_some_and(|(group, version)| {
                    group == entry.group && entry.versions.contains(&version)
                })
        })
    };
    if served(&from).is_none() || served(to).is_none() {
        let supported = IDENTICAL.iter().flat_map(|entry| {
            let Identical {
                group,
                kind,
                versions,
            } = entry;
            versions
                .iter()
                .map(move |version| format!("{kind} {group}/{version}"))
        });
        let supported: Vec<String> = supported.collect();
        return Err(ConvertError::Unsupported {
            name: text("/metadata/name").unwrap_or_default(),
            kind,
            from,
            to: to.to_owned(),
            supported: supported.join(", "),
        });
    }
    object["apiVersion"] = Value::from(to);
    Ok(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(to: &str, objects: &Value) -> Value {
        let review = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "ConversionReview",
            "request": {"uid": "1", "desiredAPIVersion": to, "objects": objects},
        });
        let review = convert(serde_json::from_value(review).expect("a review"));
        serde_json::to_value(review).expect("JSON")["response"].clone()
    }

    fn class(version: &str) -> Value {
        json!({
            "apiVersion": format!("karpenter.azure.com/{version}"),
            "kind": "AKSNodeClass",
            "metadata": {"name": "default"},
            "spec": {"unknown": [1, 2]},
        })
    }

    #[test]
    fn only_the_version_changes() {
        let answer = answer("karpenter.azure.com/v1beta1", &json!([class("v1alpha2")]));
        assert_eq!(
            answer,
            json!({
                "uid": "1",
                "result": {"status": "Success"},
                "convertedObjects": [class("v1beta1")],
            })
        );
    }

    #[test]
    fn unknown_versions_fail_with_what_is_supported() {
        let answer = answer("karpenter.azure.com/v1", &json!([class("v1beta1")]));
        assert_eq!(answer["convertedObjects"], json!([]));
        assert_eq!(
            answer["result"]["message"],
            "cannot convert AKSNodeClass \"default\" from karpenter.azure.com/v1beta1 to \
             karpenter.azure.com/v1: supported are AKSNodeClass karpenter.azure.com/v1alpha2, \
             AKSNodeClass karpenter.azure.com/v1beta1"
        );
    }

    #[test]
    fn something_that_is_no_object_fails() {
        let answer = answer("karpenter.azure.com/v1beta1", &json!([3]));
        assert_eq!(
            answer["result"]["message"],
            "object 0 has no apiVersion and kind"
        );
    }
}
