//! Every label, annotation, taint and finalizer the controller knows, and which labels users may set.
//!
//! Sources: kubernetes-sigs/karpenter `pkg/apis/v1/{labels,taints}.go`,
//! Azure/karpenter-provider-azure `pkg/apis/v1beta1/labels.go`.

// karpenter.sh

/// Owning NodePool; on NodeClaims and Nodes.
pub const NODEPOOL: &str = "karpenter.sh/nodepool";
/// `"true"` on a Node once it is registered.
pub const REGISTERED: &str = "karpenter.sh/registered";
/// `"true"` on a Node once it is initialized.
pub const INITIALIZED: &str = "karpenter.sh/initialized";
/// `spot`, `on-demand` or `reserved`.
pub const CAPACITY_TYPE: &str = "karpenter.sh/capacity-type";
/// Exactly `"true"` on a Node: claim taints are not copied to it.
pub const DO_NOT_SYNC_TAINTS: &str = "karpenter.sh/do-not-sync-taints";
/// Set to `karpenter` on a Node that is about to go, so that load balancers drop it.
pub const EXCLUDE_BALANCERS: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Annotation that blocks voluntary disruption: `"true"`; on pods also a duration.
pub const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// Annotation: hash of the NodePool's template.
pub const NODEPOOL_HASH: &str = "karpenter.sh/nodepool-hash";
/// Annotation: version of the algorithm behind [`NODEPOOL_HASH`].
pub const NODEPOOL_HASH_VERSION: &str = "karpenter.sh/nodepool-hash-version";
/// The version this controller writes.
pub const NODEPOOL_HASH_VERSION_VALUE: &str = "v3";
/// Annotation on a NodeClaim: RFC 3339 time at which draining stops waiting.
pub const TERMINATION_TIMESTAMP: &str = "karpenter.sh/nodeclaim-termination-timestamp";
/// Annotation on a NodeClaim: whether minValues were relaxed at creation.
pub const MIN_VALUES_RELAXED: &str = "karpenter.sh/nodeclaim-min-values-relaxed";
/// Annotation on a NodeClaim: comma-separated DRA drivers that gate initialization.
pub const REQUESTED_DRA_DRIVERS: &str = "karpenter.sh/requested-dra-drivers";
/// Annotation of pods: their weight when it is decided what is cheap to evict.
pub const POD_DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Taint key (`NoSchedule`, no value) of a node that is being disrupted.
pub const DISRUPTED_TAINT: &str = "karpenter.sh/disrupted";
/// Taint key (`NoExecute`, no value) of a node that has not been registered yet.
pub const UNREGISTERED_TAINT: &str = "karpenter.sh/unregistered";
/// Finalizer on NodeClaims and Nodes.
pub const TERMINATION_FINALIZER: &str = "karpenter.sh/termination";

// Kubernetes

/// Zone, `<region>-<n>` on Azure, `"0"` for a regional virtual machine.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Region.
pub const REGION: &str = "topology.kubernetes.io/region";
/// Instance type, on Azure the SKU name such as `Standard_D4s_v5`.
pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
/// CPU architecture, `amd64` or `arm64`.
pub const ARCH: &str = "kubernetes.io/arch";
/// Operating system.
pub const OS: &str = "kubernetes.io/os";
/// Host name; users may not require it.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// Windows build.
pub const WINDOWS_BUILD: &str = "node.kubernetes.io/windows-build";

// karpenter.azure.com

/// NodeClass of a NodeClaim or Node; its presence makes a Node managed.
pub const AKS_NODE_CLASS: &str = "karpenter.azure.com/aksnodeclass";
/// SKU name.
pub const SKU_NAME: &str = "karpenter.azure.com/sku-name";
/// First letter of the size, such as `D`.
pub const SKU_FAMILY: &str = "karpenter.azure.com/sku-family";
/// Series, such as `Ds_v5`.
pub const SKU_SERIES: &str = "karpenter.azure.com/sku-series";
/// Version without its `v`; sizes without one are version 1.
pub const SKU_VERSION: &str = "karpenter.azure.com/sku-version";
/// vCPUs.
pub const SKU_CPU: &str = "karpenter.azure.com/sku-cpu";
/// Memory in MiB.
pub const SKU_MEMORY: &str = "karpenter.azure.com/sku-memory";
/// Whether network cards may be accelerated.
pub const SKU_NETWORKING_ACCELERATED: &str = "karpenter.azure.com/sku-networking-accelerated";
/// Whether premium disks may be attached.
pub const SKU_STORAGE_PREMIUM_CAPABLE: &str = "karpenter.azure.com/sku-storage-premium-capable";
/// Largest ephemeral OS disk in GB.
pub const SKU_STORAGE_EPHEMERALOS_MAXSIZE: &str =
    "karpenter.azure.com/sku-storage-ephemeralos-maxsize";
/// Whether ultra disks may be attached; per offering.
pub const SKU_STORAGE_ULTRA_SSD: &str = "karpenter.azure.com/sku-storage-ultra-ssd";
/// GPUs.
pub const SKU_GPU_COUNT: &str = "karpenter.azure.com/sku-gpu-count";
/// `nvidia` or `amd`.
pub const SKU_GPU_MANUFACTURER: &str = "karpenter.azure.com/sku-gpu-manufacturer";
/// Accelerator part of the size name, such as `T4`.
pub const SKU_GPU_NAME: &str = "karpenter.azure.com/sku-gpu-name";
/// Hypervisor generation; internal, users may not set it.
pub const SKU_HYPERV_GENERATION: &str = "karpenter.azure.com/sku-hyperv-generation";
/// `zonal` or `regional`.
pub const PLACEMENT_SCOPE: &str = "karpenter.azure.com/placement-scope";

/// Annotation: static-drift hash of the AKSNodeClass.
pub const AKS_NODE_CLASS_HASH: &str = "karpenter.azure.com/aksnodeclass-hash";
/// Annotation: version of the algorithm behind [`AKS_NODE_CLASS_HASH`].
pub const AKS_NODE_CLASS_HASH_VERSION: &str = "karpenter.azure.com/aksnodeclass-hash-version";
/// The version this controller writes.
pub const AKS_NODE_CLASS_HASH_VERSION_VALUE: &str = "v3";
/// Annotation on a NodeClaim whose instance is an AKS machine.
pub const AKS_MACHINE_RESOURCE_ID: &str = "karpenter.azure.com/aks-machine-resource-id";
/// Annotation on a NodeClaim: tags and identities last pushed to Azure.
pub const IN_PLACE_UPDATE_HASH: &str = "karpenter.azure.com/in-place-update-hash";
/// Finalizer on AKSNodeClasses.
pub const AKS_NODE_CLASS_FINALIZER: &str = "karpenter.azure.com/termination";

// kubernetes.azure.com

/// Node resource group, normalised.
pub const AKS_CLUSTER: &str = "kubernetes.azure.com/cluster";
/// `system` or `user`.
pub const AKS_MODE: &str = "kubernetes.azure.com/mode";
/// `regular` or `spot`.
pub const AKS_SCALE_SET_PRIORITY: &str = "kubernetes.azure.com/scalesetpriority";
/// `regular` or `spot`.
pub const AKS_PRIORITY: &str = "kubernetes.azure.com/priority";
/// `Ubuntu` or `AzureLinux`.
pub const AKS_OS_SKU: &str = "kubernetes.azure.com/os-sku";
/// `true` or absent.
pub const AKS_FIPS_ENABLED: &str = "kubernetes.azure.com/fips_enabled";
/// vCPUs.
pub const AKS_SKU_CPU: &str = "kubernetes.azure.com/sku-cpu";
/// Memory in MiB.
pub const AKS_SKU_MEMORY: &str = "kubernetes.azure.com/sku-memory";

/// Prefix of every annotation that is an extension of this project.
pub const EXTENSION_PREFIX: &str = "nap.internal/";
/// On a NodePool whose nodes do not register: rounds of failures, the cause, and the time before
/// which nothing is launched, as JSON. Written by the controller, so that a restart keeps waiting.
pub const REGISTRATION_BACKOFF: &str = "nap.internal/registration-backoff";

/// Values of [`CAPACITY_TYPE`].
pub mod capacity_type {
    /// May be reclaimed by the cloud at any time.
    pub const SPOT: &str = "spot";
    /// Pay as you go.
    pub const ON_DEMAND: &str = "on-demand";
    /// Paid in advance.
    pub const RESERVED: &str = "reserved";
}

/// Labels users may select on without declaring them in the NodePool, because every instance type has them.
pub const WELL_KNOWN: &[&str] = &[
    NODEPOOL,
    ZONE,
    REGION,
    INSTANCE_TYPE,
    ARCH,
    OS,
    CAPACITY_TYPE,
    WINDOWS_BUILD,
    SKU_NAME,
    SKU_FAMILY,
    SKU_SERIES,
    SKU_VERSION,
    SKU_CPU,
    SKU_MEMORY,
    SKU_NETWORKING_ACCELERATED,
    SKU_STORAGE_PREMIUM_CAPABLE,
    SKU_STORAGE_EPHEMERALOS_MAXSIZE,
    SKU_STORAGE_ULTRA_SSD,
    SKU_GPU_COUNT,
    SKU_GPU_MANUFACTURER,
    SKU_GPU_NAME,
    SKU_HYPERV_GENERATION,
    PLACEMENT_SCOPE,
    AKS_CLUSTER,
    AKS_MODE,
    AKS_SCALE_SET_PRIORITY,
    AKS_PRIORITY,
    AKS_OS_SKU,
    AKS_FIPS_ENABLED,
    AKS_SKU_CPU,
    AKS_SKU_MEMORY,
];

/// Legacy AKS labels: forbidden in NodePools, stripped from what is sent to Azure.
pub const AKS_LEGACY: &[&str] = &["agentpool", "storageprofile", "storagetier", "accelerator"];

/// Older spellings of label keys and the key they mean.
pub const ALIASES: &[(&str, &str)] = &[
    ("failure-domain.beta.kubernetes.io/zone", ZONE),
    ("failure-domain.beta.kubernetes.io/region", REGION),
    ("beta.kubernetes.io/arch", ARCH),
    ("beta.kubernetes.io/os", OS),
    ("beta.kubernetes.io/instance-type", INSTANCE_TYPE),
    ("topology.disk.csi.azure.com/zone", ZONE),
];

/// Taints a booting node carries for a while, as (key, effect): they do not count against pods
/// before initialization, and initialization waits for them to go.
pub const KNOWN_EPHEMERAL_TAINTS: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoSchedule"),
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoSchedule"),
    (
        "node.cloudprovider.kubernetes.io/uninitialized",
        "NoSchedule",
    ),
    (UNREGISTERED_TAINT, "NoExecute"),
];

/// Prefix of the taints of node-readiness controllers, ephemeral as well.
pub const READINESS_TAINT_PREFIX: &str = "readiness.k8s.io/";

/// The key an alias stands for; other keys stand for themselves.
pub fn normalize(key: &str) -> &str {
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == key)
        .map_or(key, |(_, key)| key)
}

/// Whether a taint is one of the ephemeral ones, compared by key and effect.
pub fn is_known_ephemeral_taint(key: &str, effect: &str) -> bool {
    key.starts_with(READINESS_TAINT_PREFIX) || KNOWN_EPHEMERAL_TAINTS.contains(&(key, effect))
}

/// The text before the first `/`; empty for a key without a domain.
pub fn domain(key: &str) -> &str {
    key.split_once('/').map_or("", |(domain, _)| domain)
}

/// Why users may not put this label into a NodePool; `None` when they may.
///
/// The CRD's rules compare domains by suffix without a dot and are stricter; this is the run-time check.
pub fn restriction(key: &str) -> Option<String> {
    if key == SKU_HYPERV_GENERATION {
        return Some(format!(
            "label {key} is restricted, it is set by the provider"
        ));
    }
    if WELL_KNOWN.contains(&key) {
        return None;
    }
    let domain = domain(key);
    for restricted in ["karpenter.sh", "karpenter.azure.com"] {
        let below = domain
            .strip_suffix(restricted)
            .is_some_and(|rest| rest.ends_with('.'));
        // The NodeClass label is ours, yet users may name it.
        if (domain == restricted || below) && key != AKS_NODE_CLASS {
            return Some(format!(
                "label {key} is restricted, specify a well known label or one outside {restricted}"
            ));
        }
    }
    (key == HOSTNAME).then(|| format!("label {key} is restricted, it names one machine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restrictions_follow_domains() {
        for key in [
            "team",
            "mykarpenter.sh/x",
            "kubernetes.io/foo",
            SKU_NAME,
            CAPACITY_TYPE,
        ] {
            assert_eq!(restriction(key), None, "{key}");
        }
        for key in [
            "karpenter.sh/x",
            "a.karpenter.sh/x",
            HOSTNAME,
            SKU_HYPERV_GENERATION,
        ] {
            assert!(restriction(key).is_some(), "{key}");
        }
        assert_eq!(normalize("beta.kubernetes.io/arch"), ARCH);
        assert!(is_known_ephemeral_taint(
            "readiness.k8s.io/gpu",
            "NoSchedule"
        ));
        assert!(!is_known_ephemeral_taint(UNREGISTERED_TAINT, "NoSchedule"));
    }
}
