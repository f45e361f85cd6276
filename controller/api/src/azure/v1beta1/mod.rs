//! `karpenter.azure.com/v1beta1`: AKSNodeClass.
//!
//! Source: Azure/karpenter-provider-azure `pkg/apis/v1beta1`.

mod kubelet;
mod linux_os;
mod local_dns;
mod nodeclass;

pub use kubelet::KubeletConfiguration;
pub use linux_os::{LinuxOSConfiguration, SysctlConfiguration};
pub use local_dns::{LocalDNS, LocalDNSZoneOverride};
pub use nodeclass::{
    AKSNodeClass, AKSNodeClassSpec, AKSNodeClassStatus, ArtifactStreaming, Gpu, NodeImage,
    Security, TrustedLaunch,
};

/// The version of this module.
pub const VERSION: &str = "v1beta1";
