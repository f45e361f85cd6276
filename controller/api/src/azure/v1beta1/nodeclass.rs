//! AKSNodeClass: what Azure needs to know to make a node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::NodeSelectorRequirement;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KubeletConfiguration, LinuxOSConfiguration, LocalDNS};

/// Settings of the virtual machines behind the nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[cfg_attr(not(feature = "schema"), kube(schema = "disabled"))]
#[kube(
    group = "karpenter.azure.com",
    version = "v1beta1",
    kind = "AKSNodeClass",
    plural = "aksnodeclasses",
    status = "AKSNodeClassStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "AKSNodeClass holds the settings of the virtual machines behind nodes on AKS.",
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct AKSNodeClassSpec {
    /// Whether container images are streamed on demand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_streaming: Option<ArtifactStreaming>,
    /// Whether the image complies with FIPS 140.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fips_mode: Option<String>,
    /// What happens to GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
    /// Line of images nodes are started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_family: Option<String>,
    /// Image version to stay on, such as 202505.27.0; unset follows the newest. An extension of this project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_version: Option<String>,
    /// Settings of the kubelet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet: Option<KubeletConfiguration>,
    /// Settings of the operating system.
    #[serde(
        default,
        rename = "linuxOSConfig",
        skip_serializing_if = "Option::is_none"
    )]
    pub linux_os_config: Option<LinuxOSConfiguration>,
    /// A DNS cache on every node.
    #[serde(default, rename = "localDNS", skip_serializing_if = "Option::is_none")]
    pub local_dns: Option<LocalDNS>,
    /// Pods per node; unset depends on the network plug-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pods: Option<i32>,
    /// Size of the OS disk in GB.
    #[serde(
        default,
        rename = "osDiskSizeGB",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_disk_size_gb: Option<i32>,
    /// Security features of the virtual machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// Tags of the Azure resources; changed in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// Subnet of the network cards, as an ARM id; unset uses the controller's.
    #[serde(
        default,
        rename = "vnetSubnetID",
        skip_serializing_if = "Option::is_none"
    )]
    pub vnet_subnet_id: Option<String>,
}

/// Defaults of the schema, for places where no API server has filled them in.
impl AKSNodeClassSpec {
    /// Default of `imageFamily`.
    pub const IMAGE_FAMILY: &'static str = "Ubuntu";
    /// Default of `osDiskSizeGB`.
    pub const OS_DISK_SIZE_GB: i32 = 128;

    /// The image family, or its default.
    pub fn image_family(&self) -> &str {
        self.image_family.as_deref().unwrap_or(Self::IMAGE_FAMILY)
    }

    /// Size of the OS disk in GB, or its default.
    pub fn os_disk_size_gb(&self) -> i32 {
        self.os_disk_size_gb.unwrap_or(Self::OS_DISK_SIZE_GB)
    }

    /// Whether FIPS mode is asked for.
    pub fn is_fips(&self) -> bool {
        self.fips_mode.as_deref() == Some("FIPS")
    }

    /// Whether GPU drivers are installed.
    pub fn installs_gpu_driver(&self) -> bool {
        self.gpu.as_ref().and_then(|gpu| gpu.mode.as_deref()) != Some("None")
    }

    /// Whether the virtual machines are trusted-launch ones: either feature is on.
    pub fn is_trusted_launch(&self) -> bool {
        let trusted_launch = self
            .security
            .as_ref()
            .and_then(|security| security.trusted_launch.as_ref());
        trusted_launch
            .is_some_and(|launch| launch.vtpm == Some(true) || launch.secure_boot == Some(true))
    }
}

/// Streaming of container images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct ArtifactStreaming {
    /// Whether images are streamed; they must support it. Unset is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// What happens to GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Gpu {
    /// Whether the driver is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// Security features of the virtual machines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Security {
    /// Whether disks and caches are encrypted on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_at_host: Option<bool>,
    /// Features of trusted launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_launch: Option<TrustedLaunch>,
}

/// Features of trusted launch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TrustedLaunch {
    /// Whether only signed boot components start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
    /// Whether there is a virtual TPM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vtpm: Option<bool>,
}

/// What was resolved for this class.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AKSNodeClassStatus {
    /// Conditions of the class: ImagesReady, KubernetesVersionReady, SubnetsReady, Ready and others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Images new nodes may use, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<NodeImage>,
    /// Kubernetes version of new nodes, without a leading v.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    /// Whether nodes have a DNS cache.
    #[serde(
        default,
        rename = "localDNSState",
        skip_serializing_if = "Option::is_none"
    )]
    pub local_dns_state: Option<String>,
}

/// An image, and which instance types it is for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct NodeImage {
    /// Id of the image version.
    pub id: String,
    /// Conditions on the labels of the instance type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<NodeSelectorRequirement>,
}
