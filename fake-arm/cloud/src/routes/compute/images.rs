//! Node images: the galleries AKS publishes, and whether an image reference names one.

use serde_json::{Value, json};

use crate::error::{ArmError, Result};

/// A gallery and its image definitions (`Azure/karpenter-provider-azure`
/// `pkg/providers/imagefamily`).
struct Gallery {
    /// Community name.
    community: &'static str,
    /// `os` in the list of node image versions.
    os: &'static str,
    definitions: &'static [&'static str],
}

const GALLERIES: [Gallery; 2] = [
    Gallery {
        community: "AKSUbuntu-38d80f77-467a-481f-a8d4-09b6d4220bd2",
        os: "AKSUbuntu",
        definitions: &[
            "2204gen2containerd",
            "2204containerd",
            "2204gen2arm64containerd",
            "2204gen2TLcontainerd",
            "2404gen2containerd",
            "2404containerd",
            "2404gen2arm64containerd",
            "2404gen2TLcontainerd",
        ],
    },
    Gallery {
        community: "AKSAzureLinux-f7c7cda5-1c9a-4bdc-a222-9614c968580b",
        os: "AKSAzureLinux",
        definitions: &[
            "V2gen2",
            "V2",
            "V2gen2arm64",
            "V2gen2TL",
            "V3gen2",
            "V3",
            "V3gen2arm64",
            "V3gen2TL",
        ],
    },
];

/// Published versions and their dates, oldest first.
const VERSIONS: [(&str, &str); 2] = [
    ("202512.18.0", "2025-12-19T00:00:00.0000000Z"),
    ("202601.07.0", "2026-01-08T00:00:00.0000000Z"),
];

/// The versions of a community image; empty for an unknown one.
pub(super) fn community_versions(location: &str, gallery: &str, image: &str) -> Vec<Value> {
    let known = GALLERIES.iter().any(|it| {
        it.community.eq_ignore_ascii_case(gallery)
            && it
                .definitions
                .iter()
                .any(|definition| definition.eq_ignore_ascii_case(image))
    });
    let versions = if known { &VERSIONS[..] } else { &[] };
    versions
        .iter()
        .map(|(version, published)| {
            json!({
                "name": version,
                "location": location,
                "identifier": {
                    "uniqueId": format!("/CommunityGalleries/{gallery}/Images/{image}/Versions/{version}"),
                },
                "properties": {"publishedDate": published, "excludeFromLatest": false},
            })
        })
        .collect()
}

/// `GET …/locations/{location}/nodeImageVersions`.
pub(in crate::routes) fn node_image_versions() -> Vec<Value> {
    let mut items = Vec::new();
    for gallery in &GALLERIES {
        for definition in gallery.definitions {
            for (version, _) in &VERSIONS {
                items.push(json!({
                    "fullName": format!("{}-{definition}-{version}", gallery.os),
                    "os": gallery.os,
                    "sku": definition,
                    "version": version,
                }));
            }
        }
    }
    items
}

/// Accepts an image reference of one of the three forms; a community image must exist.
pub(super) fn check_reference(reference: &Value) -> Result<()> {
    let text = |name: &str| reference.get(name).and_then(Value::as_str);
    if let Some(id) = text("communityGalleryImageId") {
        return check_community(id);
    }
    if let Some(id) = text("id") {
        let shape = ["/subscriptions/", "/galleries/", "/images/"];
        let lower = id.to_ascii_lowercase();
        if shape.iter().all(|part| lower.contains(part)) {
            return Ok(());
        }
        return Err(invalid("imageReference.id", id));
    }
    let named = ["publisher", "offer", "sku", "version"];
    if named
        .iter()
        .all(|name| text(name).is_some_and(|value| !value.is_empty()))
    {
        return Ok(());
    }
    Err(ArmError::invalid_parameter(
        "imageReference",
        "Required parameter 'imageReference' is missing (null): give id, communityGalleryImageId, or \
         publisher, offer, sku and version.",
    ))
}

fn invalid(target: &str, id: &str) -> ArmError {
    ArmError::invalid_parameter(
        target,
        format!("The value '{id}' of parameter {target} is invalid."),
    )
}

fn check_community(id: &str) -> Result<()> {
    let parts: Vec<&str> = id.trim_start_matches('/').split('/').collect();
    let [galleries, gallery, images, image, versions, version] = parts.as_slice() else {
        return Err(invalid("imageReference.communityGalleryImageId", id));
    };
    let spelled = [
        (galleries, "CommunityGalleries"),
        (images, "Images"),
        (versions, "Versions"),
    ];
    if !spelled
        .iter()
        .all(|(given, wanted)| given.eq_ignore_ascii_case(wanted))
    {
        return Err(invalid("imageReference.communityGalleryImageId", id));
    }
    let known = community_versions("", gallery, image);
    let exists = known
        .iter()
        .any(|item| item["name"].as_str() == Some(version))
        || !known.is_empty() && version.eq_ignore_ascii_case("latest");
    if exists {
        return Ok(());
    }
    Err(ArmError::new(
        404,
        "GalleryImageNotFound",
        format!("The gallery image {id} is not available in the region or does not exist."),
    )
    .target("imageReference"))
}
