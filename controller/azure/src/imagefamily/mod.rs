//! Image families, their definitions in the community galleries, and which image a size boots
//! (`Azure/karpenter-provider-azure` `pkg/providers/imagefamily`).

use controller_api::azure::v1beta1::NodeImage;
use controller_api::{AKSNodeClassSpec, labels};
use controller_core::requirements::{Operator, RequirementSpec, Requirements, UndefinedKeys};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

/// A line of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ubuntu2204,
    Ubuntu2404,
    AzureLinux2,
    AzureLinux3,
}

/// One image definition and the sizes it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) gallery: &'static str,
    pub(crate) name: &'static str,
    arch: &'static str,
    generation: &'static str,
}

const UBUNTU: &str = "AKSUbuntu-38d80f77-467a-481f-a8d4-09b6d4220bd2";
const AZURE_LINUX: &str = "AKSAzureLinux-f7c7cda5-1c9a-4bdc-a222-9614c968580b";

/// Major and minor of a version like `1.34.2`.
pub(crate) fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl Family {
    /// The family a class gets with a Kubernetes version.
    pub(crate) fn resolve(spec: &AKSNodeClassSpec, kubernetes_version: &str) -> Self {
        let version = minor(kubernetes_version);
        match spec.image_family() {
            "Ubuntu2204" => Self::Ubuntu2204,
            "Ubuntu2404" => Self::Ubuntu2404,
            "AzureLinux" if version >= Some((1, 32)) => Self::AzureLinux3,
            "AzureLinux" => Self::AzureLinux2,
            _ if spec.is_trusted_launch() => Self::Ubuntu2204,
            _ if version >= Some((1, 34)) => Self::Ubuntu2404,
            _ => Self::Ubuntu2204,
        }
    }

    /// Value of the label `kubernetes.azure.com/os-sku-effective`.
    pub(crate) fn effective(self) -> &'static str {
        match self {
            Self::Ubuntu2204 => "Ubuntu2204",
            Self::Ubuntu2404 => "Ubuntu2404",
            Self::AzureLinux2 => "AzureLinux2",
            Self::AzureLinux3 => "AzureLinux3",
        }
    }

    /// Definitions, most preferred first.
    pub(crate) fn definitions(self, is_trusted_launch: bool) -> Vec<Definition> {
        let (gallery, trusted, names): (_, _, [&'static str; 3]) = match self {
            Self::Ubuntu2204 => (
                UBUNTU,
                "2204gen2TLcontainerd",
                [
                    "2204gen2containerd",
                    "2204containerd",
                    "2204gen2arm64containerd",
                ],
            ),
            Self::Ubuntu2404 => (
                UBUNTU,
                "2404gen2TLcontainerd",
                [
                    "2404gen2containerd",
                    "2404containerd",
                    "2404gen2arm64containerd",
                ],
            ),
            Self::AzureLinux2 => (AZURE_LINUX, "V2gen2TL", ["V2gen2", "V2", "V2gen2arm64"]),
            Self::AzureLinux3 => (AZURE_LINUX, "V3gen2TL", ["V3gen2", "V3", "V3gen2arm64"]),
        };
        let definition = |name, arch, generation| Definition {
            gallery,
            name,
            arch,
            generation,
        };
        if is_trusted_launch {
            return vec![definition(trusted, "amd64", "2")];
        }
        let [second, first, arm] = names;
        vec![
            definition(second, "amd64", "2"),
            definition(first, "amd64", "1"),
            definition(arm, "arm64", "2"),
        ]
    }
}

impl Definition {
    /// The entry of `status.images` for a version; requirements by key length, then key.
    pub(crate) fn image(&self, version: &str) -> NodeImage {
        serde_json::from_value(json!({
            "id": format!("/CommunityGalleries/{}/images/{}/versions/{version}", self.gallery, self.name),
            "requirements": [
                {"key": labels::ARCH, "operator": "In", "values": [self.arch]},
                {"key": labels::SKU_HYPERV_GENERATION, "operator": "In", "values": [self.generation]},
            ],
        }))
        .expect("the object has the type's form")
    }
}

/// One item of a gallery's version list.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct GalleryVersion {
    name: String,
    #[serde(default)]
    properties: GalleryVersionProperties,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GalleryVersionProperties {
    published_date: Option<Timestamp>,
    exclude_from_latest: bool,
}

/// The version to use: the one pinned, or the one published last. None when there is none: an
/// image id without a version would be refused at every launch.
pub(crate) fn choose(versions: &[GalleryVersion], pinned: Option<&str>) -> Option<String> {
    let found = match pinned {
        Some(pinned) => versions.iter().find(|version| version.name == pinned),
        None => versions
            .iter()
            .filter(|version| !version.properties.exclude_from_latest && !version.name.is_empty())
            .max_by_key(|version| (version.properties.published_date, version.name.as_str())),
    };
    found.map(|version| version.name.clone())
}

/// The first image that suits an instance type.
pub(crate) fn select<'a>(images: &'a [NodeImage], instance_type: &Requirements) -> Option<&'a str> {
    images
        .iter()
        .find(|image| {
            let specs: Vec<RequirementSpec> = image
                .requirements
                .iter()
                .filter_map(|requirement| {
                    let operator = Operator::from_name(&requirement.operator)?;
                    let values = requirement
                        .values
                        .iter()
                        .flatten()
                        .map(|value| value.as_str().into());
                    Some(RequirementSpec::new(
                        requirement.key.as_str(),
                        operator,
                        values,
                    ))
                })
                .collect();
            let wanted = Requirements::from_specs(&specs);
            instance_type
                .compatible(&wanted, UndefinedKeys::WellKnownAllowed)
                .is_ok()
        })
        .map(|image| image.id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(family: &str) -> AKSNodeClassSpec {
        AKSNodeClassSpec {
            image_family: Some(family.to_owned()),
            ..AKSNodeClassSpec::default()
        }
    }

    #[test]
    fn families_follow_the_version() {
        for (family, version, expected) in [
            ("Ubuntu", "1.33.4", Family::Ubuntu2204),
            ("Ubuntu", "1.34.0", Family::Ubuntu2404),
            ("Ubuntu2204", "1.35.0", Family::Ubuntu2204),
            ("AzureLinux", "1.31.9", Family::AzureLinux2),
            ("AzureLinux", "1.32.0", Family::AzureLinux3),
            ("AzureLinux", "?", Family::AzureLinux2),
        ] {
            assert_eq!(
                Family::resolve(&spec(family), version),
                expected,
                "{family} {version}"
            );
        }
    }

    #[test]
    fn the_newest_publication_wins() {
        let versions: Vec<GalleryVersion> = serde_json::from_value(json!([
            {"name": "202508.20.0", "properties": {"publishedDate": "2025-08-20T00:00:00Z"}},
            {"name": "202509.01.0", "properties": {"publishedDate": "2025-09-01T00:00:00Z"}},
            {"name": "202510.01.0", "properties": {"publishedDate": "2025-10-01T00:00:00Z", "excludeFromLatest": true}},
        ]))
        .expect("a list");
        assert_eq!(choose(&versions, None).as_deref(), Some("202509.01.0"));
        assert_eq!(
            choose(&versions, Some("202508.20.0")).as_deref(),
            Some("202508.20.0")
        );
        assert_eq!(choose(&versions, Some("1")), None);
        assert_eq!(choose(&[], None), None);
    }

    #[test]
    fn images_suit_architecture_and_generation() {
        let definitions = Family::Ubuntu2404.definitions(false);
        let images: Vec<NodeImage> = definitions
            .iter()
            .map(|definition| definition.image("1"))
            .collect();
        let of = |arch: &str, generations: &[&str]| {
            let specs = [
                RequirementSpec::new(labels::ARCH, Operator::In, [arch.into()]),
                RequirementSpec::new(
                    labels::SKU_HYPERV_GENERATION,
                    Operator::In,
                    generations.iter().map(|&g| g.into()),
                ),
            ];
            select(&images, &Requirements::from_specs(&specs))
                .map(|id| id.split('/').nth(4).expect("a name").to_owned())
        };
        assert_eq!(
            of("amd64", &["1", "2"]).as_deref(),
            Some("2404gen2containerd")
        );
        assert_eq!(of("amd64", &["1"]).as_deref(), Some("2404containerd"));
        assert_eq!(
            of("arm64", &["2"]).as_deref(),
            Some("2404gen2arm64containerd")
        );
        assert_eq!(of("riscv", &["2"]), None);
    }
}
