//! Label keys that decisions know by name.

use std::sync::Arc;

/// NodePool of a node.
pub const NODEPOOL: &str = "karpenter.sh/nodepool";
/// How the node is bought.
pub const CAPACITY_TYPE: &str = "karpenter.sh/capacity-type";
/// `true` once the node is initialized.
pub const INITIALIZED: &str = "karpenter.sh/initialized";
/// `true` once the node is registered.
pub const REGISTERED: &str = "karpenter.sh/registered";
/// Zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Region.
pub const REGION: &str = "topology.kubernetes.io/region";
/// Instance type.
pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
/// CPU architecture.
pub const ARCH: &str = "kubernetes.io/arch";
/// Operating system.
pub const OS: &str = "kubernetes.io/os";
/// Host name; restricted: never part of a claim's requirements.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// Windows build.
pub const WINDOWS_BUILD: &str = "node.kubernetes.io/windows-build";

/// Well-known keys of Karpenter itself (`pkg/apis/v1/labels.go`).
const WELL_KNOWN: [&str; 8] = [
    NODEPOOL,
    ZONE,
    REGION,
    INSTANCE_TYPE,
    ARCH,
    OS,
    CAPACITY_TYPE,
    WINDOWS_BUILD,
];

/// Domain of the labels that describe a machine. Every instance type defines all of them, possibly
/// as absent (`Azure/karpenter-provider-azure` `pkg/apis/v1beta1/labels.go`).
const SKU_PREFIX: &str = "karpenter.azure.com/sku-";

/// Further well-known keys of Azure; the same source. Other keys of these domains are ordinary.
const WELL_KNOWN_AZURE: [&str; 9] = [
    "karpenter.azure.com/placement-scope",
    "kubernetes.azure.com/cluster",
    "kubernetes.azure.com/mode",
    "kubernetes.azure.com/scalesetpriority",
    "kubernetes.azure.com/priority",
    "kubernetes.azure.com/os-sku",
    "kubernetes.azure.com/fips_enabled",
    "kubernetes.azure.com/sku-cpu",
    "kubernetes.azure.com/sku-memory",
];

/// Keys of other spellings and the key they mean.
const ALIASES: [(&str, &str); 6] = [
    ("failure-domain.beta.kubernetes.io/zone", ZONE),
    ("failure-domain.beta.kubernetes.io/region", REGION),
    ("beta.kubernetes.io/arch", ARCH),
    ("beta.kubernetes.io/os", OS),
    ("beta.kubernetes.io/instance-type", INSTANCE_TYPE),
    ("topology.disk.csi.azure.com/zone", ZONE),
];

/// Whether a pod may ask for the key although its NodePool says nothing about it: every instance
/// type defines it.
pub fn is_well_known(key: &str) -> bool {
    WELL_KNOWN.contains(&key) || WELL_KNOWN_AZURE.contains(&key) || key.starts_with(SKU_PREFIX)
}

/// The key that another spelling means; other keys are returned as they are.
pub fn canonical_key(key: &Arc<str>) -> Arc<str> {
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == &**key)
        .map_or_else(|| Arc::clone(key), |(_, canonical)| Arc::from(*canonical))
}

/// The value that another spelling means: the empty zone of a regional disk is the zone `0`.
pub fn canonical_value(key: &str, value: &Arc<str>) -> Arc<str> {
    if key == ZONE && value.is_empty() {
        Arc::from("0")
    } else {
        Arc::clone(value)
    }
}
