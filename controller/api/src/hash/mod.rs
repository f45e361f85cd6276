//! Static-drift hashes, equal to upstream's for equal objects.
//!
//! Upstream hashes Go structs with mitchellh/hashstructure v2 (slices as sets, zero values ignored);
//! type and field names are part of the result, and so is the order of declaration. The tables here
//! give both for the hashed parts of NodePool and AKSNodeClass.
//!
//! Sources: mitchellh/hashstructure v2.0.2 `hashstructure.go`; kubernetes-sigs/karpenter
//! `pkg/apis/v1/nodepool.go`; Azure/karpenter-provider-azure `pkg/apis/v1beta1/aksnodeclass.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::duration::{NEVER, parse_go_duration};
use crate::{AKSNodeClassSpec, NodePool};

/// Value of the annotation `karpenter.sh/nodepool-hash`.
pub fn node_pool_hash(pool: &NodePool) -> String {
    hash_of(&NODE_CLAIM_TEMPLATE, &pool.spec.template)
}

/// Value of the annotation `karpenter.azure.com/aksnodeclass-hash`.
pub fn aks_node_class_hash(spec: &AKSNodeClassSpec) -> String {
    hash_of(&AKS_NODE_CLASS_SPEC, spec)
}

fn hash_of(shape: &GoStruct, value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).expect("the types of this crate have string keys");
    hash_struct(shape, &value).to_string()
}

/// A Go type, as far as hashing can tell types apart.
#[derive(Debug, Clone, Copy)]
enum Go {
    /// `string`; empty is zero.
    Text,
    /// `*string`; only nil is zero.
    TextPointer,
    /// `*bool`.
    Bool,
    /// `*int32`.
    Int32,
    /// `*int64`.
    Int64,
    /// `metav1.Duration`; zero length is zero.
    Duration,
    /// `*metav1.Duration`; only nil is zero.
    DurationPointer,
    /// `NillableDuration`, a struct around `*time.Duration`; `Never` is zero.
    Nillable,
    /// `*metav1.Time`.
    Time,
    /// `map[string]string`; nil is zero, an empty map is not.
    Map,
    /// `[]string`.
    Texts,
    /// A slice of structs.
    Structs(&'static GoStruct),
    /// A struct; zero when all its fields are.
    Struct(&'static GoStruct),
    /// A pointer to a struct; only nil is zero.
    StructPointer(&'static GoStruct),
}

/// A Go struct: its name, and name, JSON key and type of each hashed field.
#[derive(Debug)]
struct GoStruct {
    name: &'static str,
    fields: &'static [(&'static str, &'static str, Go)],
}

/// 64-bit FNV-1: multiply, then exclusive or.
fn fnv1(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte)
    })
}

/// Of two hashes, in this order.
fn ordered(a: u64, b: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&a.to_le_bytes());
    bytes[8..].copy_from_slice(&b.to_le_bytes());
    fnv1(&bytes)
}

/// After hashes were combined without order.
fn finish(hash: u64) -> u64 {
    fnv1(&hash.to_le_bytes())
}

fn hash_struct(shape: &GoStruct, value: &Value) -> u64 {
    let mut hash = fnv1(shape.name.as_bytes());
    for (go_name, json_key, go) in shape.fields {
        let Some(field) = value.get(json_key).and_then(|field| hash_field(*go, field)) else {
            continue;
        };
        // Upstream finishes after every field, not once at the end.
        hash = finish(hash ^ ordered(fnv1(go_name.as_bytes()), field));
    }
    hash
}

/// Of a field that is present; `None` when Go calls its value zero.
fn hash_field(go: Go, value: &Value) -> Option<u64> {
    match go {
        Go::Text => value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(|text| fnv1(text.as_bytes())),
        Go::TextPointer => value.as_str().map(|text| fnv1(text.as_bytes())),
        Go::Bool => value.as_bool().map(|value| fnv1(&[u8::from(value)])),
        Go::Int32 => {
            let value = i32::try_from(value.as_i64()?).ok()?;
            Some(fnv1(&value.to_le_bytes()))
        }
        Go::Int64 => value.as_i64().map(|value| fnv1(&value.to_le_bytes())),
        Go::Duration => nanos(value).filter(|nanos| *nanos != 0).map(hash_duration),
        Go::DurationPointer => nanos(value).map(hash_duration),
        Go::Nillable => nanos(value).map(|nanos| {
            let field = ordered(fnv1(b"Duration"), fnv1(&nanos.to_le_bytes()));
            finish(fnv1(b"NillableDuration") ^ field)
        }),
        Go::Time => value
            .as_str()
            .and_then(|text| text.parse().ok())
            .map(hash_time),
        Go::Map => value.as_object().map(|map| {
            let pairs = map.iter().filter_map(|(key, value)| {
                Some(ordered(
                    fnv1(key.as_bytes()),
                    fnv1(value.as_str()?.as_bytes()),
                ))
            });
            finish(pairs.fold(0, |hash, pair| hash ^ pair))
        }),
        Go::Texts => value.as_array().map(|items| {
            let items = items.iter().filter_map(Value::as_str);
            items.fold(0, |hash, item| hash ^ fnv1(item.as_bytes()))
        }),
        Go::Structs(shape) => value.as_array().map(|items| {
            items
                .iter()
                .fold(0, |hash, item| hash ^ hash_struct(shape, item))
        }),
        Go::Struct(shape) => (!is_zero(shape, value)).then(|| hash_struct(shape, value)),
        Go::StructPointer(shape) => value.is_object().then(|| hash_struct(shape, value)),
    }
}

fn is_zero(shape: &GoStruct, value: &Value) -> bool {
    let is_set = |json_key, go| {
        value
            .get(json_key)
            .is_some_and(|v| hash_field(go, v).is_some())
    };
    !shape
        .fields
        .iter()
        .any(|(_, json_key, go)| is_set(json_key, *go))
}

/// Go's nanoseconds; `None` for `Never`.
fn nanos(value: &Value) -> Option<i64> {
    let text = value.as_str().filter(|text| *text != NEVER)?;
    i64::try_from(parse_go_duration(text).ok()?.as_nanos()).ok()
}

/// `metav1.Duration`: a struct around nanoseconds, whose field is left out when zero.
fn hash_duration(nanos: i64) -> u64 {
    let hash = fnv1(b"Duration");
    if nanos == 0 {
        return hash;
    }
    finish(hash ^ ordered(fnv1(b"Duration"), fnv1(&nanos.to_le_bytes())))
}

/// `metav1.Time`: a struct around `time.Time`, which is hashed as Go marshals it to binary.
fn hash_time(time: Timestamp) -> u64 {
    // Version; seconds since year 1; nanoseconds; offset from UTC in minutes (local time of a
    // container in UTC, which Go writes as 0 rather than as its mark for UTC, -1).
    const SECONDS_FROM_YEAR_1_TO_1970: i64 = 62_135_596_800;
    let mut bytes = vec![1];
    bytes.extend((time.as_second() + SECONDS_FROM_YEAR_1_TO_1970).to_be_bytes());
    bytes.extend(time.subsec_nanosecond().to_be_bytes());
    bytes.extend([0, 0]);
    finish(fnv1(b"Time") ^ ordered(fnv1(b"Time"), fnv1(&bytes)))
}

static NODE_CLAIM_TEMPLATE: GoStruct = GoStruct {
    name: "NodeClaimTemplate",
    fields: &[
        ("ObjectMeta", "metadata", Go::Struct(&OBJECT_META)),
        ("Spec", "spec", Go::Struct(&NODE_CLAIM_TEMPLATE_SPEC)),
    ],
};

static OBJECT_META: GoStruct = GoStruct {
    name: "ObjectMeta",
    fields: &[
        ("Labels", "labels", Go::Map),
        ("Annotations", "annotations", Go::Map),
    ],
};

static NODE_CLAIM_TEMPLATE_SPEC: GoStruct = GoStruct {
    name: "NodeClaimTemplateSpec",
    fields: &[
        ("Taints", "taints", Go::Structs(&TAINT)),
        ("StartupTaints", "startupTaints", Go::Structs(&TAINT)),
        (
            "NodeClassRef",
            "nodeClassRef",
            Go::StructPointer(&NODE_CLASS_REFERENCE),
        ),
        (
            "TerminationGracePeriod",
            "terminationGracePeriod",
            Go::DurationPointer,
        ),
        ("ExpireAfter", "expireAfter", Go::Nillable),
    ],
};

static NODE_CLASS_REFERENCE: GoStruct = GoStruct {
    name: "NodeClassReference",
    fields: &[
        ("Kind", "kind", Go::Text),
        ("Name", "name", Go::Text),
        ("Group", "group", Go::Text),
    ],
};

static TAINT: GoStruct = GoStruct {
    name: "Taint",
    fields: &[
        ("Key", "key", Go::Text),
        ("Value", "value", Go::Text),
        ("Effect", "effect", Go::Text),
        ("TimeAdded", "timeAdded", Go::Time),
    ],
};

static AKS_NODE_CLASS_SPEC: GoStruct = GoStruct {
    name: "AKSNodeClassSpec",
    fields: &[
        ("VNETSubnetID", "vnetSubnetID", Go::TextPointer),
        ("OSDiskSizeGB", "osDiskSizeGB", Go::Int32),
        ("ImageFamily", "imageFamily", Go::TextPointer),
        ("FIPSMode", "fipsMode", Go::TextPointer),
        ("Kubelet", "kubelet", Go::StructPointer(&KUBELET)),
        ("MaxPods", "maxPods", Go::Int32),
        ("Security", "security", Go::StructPointer(&SECURITY)),
        ("LocalDNS", "localDNS", Go::StructPointer(&LOCAL_DNS)),
        ("GPU", "gpu", Go::StructPointer(&GPU)),
        (
            "ArtifactStreaming",
            "artifactStreaming",
            Go::StructPointer(&ARTIFACT_STREAMING),
        ),
        (
            "LinuxOSConfig",
            "linuxOSConfig",
            Go::StructPointer(&LINUX_OS),
        ),
        // Ours, last: an object without it hashes as upstream's does.
        ("ImageVersion", "imageVersion", Go::TextPointer),
    ],
};

static KUBELET: GoStruct = GoStruct {
    name: "KubeletConfiguration",
    fields: &[
        ("CPUManagerPolicy", "cpuManagerPolicy", Go::TextPointer),
        ("CPUCFSQuota", "cpuCFSQuota", Go::Bool),
        ("CPUCFSQuotaPeriod", "cpuCFSQuotaPeriod", Go::Duration),
        (
            "ImageGCHighThresholdPercent",
            "imageGCHighThresholdPercent",
            Go::Int32,
        ),
        (
            "ImageGCLowThresholdPercent",
            "imageGCLowThresholdPercent",
            Go::Int32,
        ),
        (
            "TopologyManagerPolicy",
            "topologyManagerPolicy",
            Go::TextPointer,
        ),
        ("AllowedUnsafeSysctls", "allowedUnsafeSysctls", Go::Texts),
        (
            "ContainerLogMaxSize",
            "containerLogMaxSize",
            Go::TextPointer,
        ),
        ("ContainerLogMaxFiles", "containerLogMaxFiles", Go::Int32),
        ("PodPidsLimit", "podPidsLimit", Go::Int64),
        ("FailSwapOn", "failSwapOn", Go::Bool),
    ],
};

static SECURITY: GoStruct = GoStruct {
    name: "Security",
    fields: &[
        ("EncryptionAtHost", "encryptionAtHost", Go::Bool),
        (
            "TrustedLaunch",
            "trustedLaunch",
            Go::StructPointer(&TRUSTED_LAUNCH),
        ),
    ],
};

static TRUSTED_LAUNCH: GoStruct = GoStruct {
    name: "TrustedLaunch",
    fields: &[
        ("VTPM", "vtpm", Go::Bool),
        ("SecureBoot", "secureBoot", Go::Bool),
    ],
};

static LOCAL_DNS: GoStruct = GoStruct {
    name: "LocalDNS",
    fields: &[
        ("Mode", "mode", Go::Text),
        (
            "VnetDNSOverrides",
            "vnetDNSOverrides",
            Go::Structs(&ZONE_OVERRIDE),
        ),
        (
            "KubeDNSOverrides",
            "kubeDNSOverrides",
            Go::Structs(&ZONE_OVERRIDE),
        ),
    ],
};

static ZONE_OVERRIDE: GoStruct = GoStruct {
    name: "LocalDNSZoneOverride",
    fields: &[
        ("Zone", "zone", Go::Text),
        ("QueryLogging", "queryLogging", Go::Text),
        ("Protocol", "protocol", Go::Text),
        ("ForwardDestination", "forwardDestination", Go::Text),
        ("ForwardPolicy", "forwardPolicy", Go::Text),
        ("MaxConcurrent", "maxConcurrent", Go::Int32),
        ("CacheDuration", "cacheDuration", Go::Nillable),
        ("ServeStaleDuration", "serveStaleDuration", Go::Nillable),
        ("ServeStale", "serveStale", Go::Text),
    ],
};

static GPU: GoStruct = GoStruct {
    name: "GPU",
    fields: &[("Mode", "mode", Go::TextPointer)],
};

static ARTIFACT_STREAMING: GoStruct = GoStruct {
    name: "ArtifactStreaming",
    fields: &[("Enabled", "enabled", Go::Bool)],
};

static LINUX_OS: GoStruct = GoStruct {
    name: "LinuxOSConfiguration",
    fields: &[
        ("SwapFileSize", "swapFileSize", Go::TextPointer),
        ("Sysctls", "sysctls", Go::StructPointer(&SYSCTLS)),
        (
            "TransparentHugePageDefrag",
            "transparentHugePageDefrag",
            Go::TextPointer,
        ),
        (
            "TransparentHugePageEnabled",
            "transparentHugePageEnabled",
            Go::TextPointer,
        ),
    ],
};

#[rustfmt::skip]
static SYSCTLS: GoStruct = GoStruct { name: "SysctlConfiguration", fields: &[
    ("FsAioMaxNr", "fsAioMaxNr", Go::Int32),
    ("FsFileMax", "fsFileMax", Go::Int32),
    ("FsInotifyMaxUserWatches", "fsInotifyMaxUserWatches", Go::Int32),
    ("FsNrOpen", "fsNrOpen", Go::Int32),
    ("KernelThreadsMax", "kernelThreadsMax", Go::Int32),
    ("NetCoreNetdevMaxBacklog", "netCoreNetdevMaxBacklog", Go::Int32),
    ("NetCoreOptmemMax", "netCoreOptmemMax", Go::Int32),
    ("NetCoreRmemDefault", "netCoreRmemDefault", Go::Int32),
    ("NetCoreRmemMax", "netCoreRmemMax", Go::Int32),
    ("NetCoreSomaxconn", "netCoreSomaxconn", Go::Int32),
    ("NetCoreWmemDefault", "netCoreWmemDefault", Go::Int32),
    ("NetCoreWmemMax", "netCoreWmemMax", Go::Int32),
    ("NetIPv4IPLocalPortRange", "netIPv4IPLocalPortRange", Go::TextPointer),
    ("NetIPv4NeighDefaultGcThresh1", "netIPv4NeighDefaultGcThresh1", Go::Int32),
    ("NetIPv4NeighDefaultGcThresh2", "netIPv4NeighDefaultGcThresh2", Go::Int32),
    ("NetIPv4NeighDefaultGcThresh3", "netIPv4NeighDefaultGcThresh3", Go::Int32),
    ("NetIPv4TCPFinTimeout", "netIPv4TCPFinTimeout", Go::Int32),
    ("NetIPv4TCPKeepaliveProbes", "netIPv4TCPKeepaliveProbes", Go::Int32),
    ("NetIPv4TCPKeepaliveTime", "netIPv4TCPKeepaliveTime", Go::Int32),
    ("NetIPv4TCPMaxSynBacklog", "netIPv4TCPMaxSynBacklog", Go::Int32),
    ("NetIPv4TCPMaxTwBuckets", "netIPv4TCPMaxTwBuckets", Go::Int32),
    ("NetIPv4TCPTwReuse", "netIPv4TCPTwReuse", Go::Bool),
    ("NetIPv4TCPKeepaliveIntvl", "netIPv4TCPKeepaliveIntvl", Go::Int32),
    ("NetNetfilterNfConntrackBuckets", "netNetfilterNfConntrackBuckets", Go::Int32),
    ("NetNetfilterNfConntrackMax", "netNetfilterNfConntrackMax", Go::Int32),
    ("VMMaxMapCount", "vmMaxMapCount", Go::Int32),
    ("VMSwappiness", "vmSwappiness", Go::Int32),
    ("VMVfsCachePressure", "vmVfsCachePressure", Go::Int32),
] };

#[cfg(test)]
mod tests;
