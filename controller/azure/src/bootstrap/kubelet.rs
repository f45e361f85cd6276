//! The kubelet's command line.

use std::collections::BTreeMap;

use controller_api::azure::v1beta1::KubeletConfiguration;
use controller_api::labels::UNREGISTERED_TAINT;
use controller_core::model::{Effect, Taint};
use controller_core::quantity::{CPU, MEMORY, format};

use super::NodeBootstrap;
use crate::imagefamily::minor;
use crate::instancetype::EVICTION_MEMORY_MIB;

/// Flags every node has.
const BASE: [(&str, &str); 28] = [
    ("address", "0.0.0.0"),
    ("anonymous-auth", "false"),
    ("authentication-token-webhook", "true"),
    ("authorization-mode", "Webhook"),
    ("cgroups-per-qos", "true"),
    ("client-ca-file", "/etc/kubernetes/certs/ca.crt"),
    ("cloud-config", "/etc/kubernetes/azure.json"),
    ("cloud-provider", "external"),
    ("cluster-domain", "cluster.local"),
    ("enforce-node-allocatable", "pods"),
    ("event-qps", "0"),
    ("image-gc-high-threshold", "85"),
    ("image-gc-low-threshold", "80"),
    ("kubeconfig", "/var/lib/kubelet/kubeconfig"),
    ("node-status-update-frequency", "10s"),
    (
        "pod-infra-container-image",
        "mcr.microsoft.com/oss/kubernetes/pause:3.6",
    ),
    ("pod-manifest-path", "/etc/kubernetes/manifests"),
    ("pod-max-pids", "-1"),
    ("protect-kernel-defaults", "true"),
    ("read-only-port", "0"),
    ("resolv-conf", "/run/systemd/resolve/resolv.conf"),
    ("rotate-certificates", "true"),
    ("streaming-connection-idle-timeout", "4h"),
    ("system-reserved", "cpu=0,memory=0"),
    ("tls-cert-file", "/etc/kubernetes/certs/kubeletserver.crt"),
    (
        "tls-private-key-file",
        "/etc/kubernetes/certs/kubeletserver.key",
    ),
    (
        "tls-cipher-suites",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
         TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,\
         TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,\
         TLS_RSA_WITH_AES_256_GCM_SHA384,TLS_RSA_WITH_AES_128_GCM_SHA256",
    ),
    ("make-iptables-util-chains", "true"),
];

/// All flags in the order of their names, separated by blanks.
pub(super) fn flags(node: &NodeBootstrap<'_>) -> String {
    let mut flags: BTreeMap<&str, String> = BASE
        .iter()
        .map(|&(name, value)| (name, value.to_owned()))
        .collect();
    by_version(&mut flags, node.kubernetes_version);
    flags.insert("cluster-dns", node.options.network.dns_service_ip.clone());
    flags.insert("register-with-taints", taints(&node.taints));
    flags.insert("max-pods", node.instance_type.capacity.pods.to_string());
    let reserved = &node.instance_type.overhead.kube_reserved;
    flags.insert(
        "kube-reserved",
        format!(
            "cpu={},memory={}",
            format(CPU, reserved.cpu_milli),
            mib(reserved.memory_bytes)
        ),
    );
    flags.insert(
        "eviction-hard",
        format!("{MEMORY}.available<{EVICTION_MEMORY_MIB}Mi"),
    );
    if let Some(kubelet) = node.kubelet {
        by_user(&mut flags, kubelet);
    }
    let list: Vec<String> = flags
        .iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect();
    list.join(" ")
}

/// Kubelets read `2662Mi` and `2.6Gi` alike; this is the form AKS writes.
fn mib(bytes: i64) -> String {
    format!("{}Mi", bytes >> 20)
}

fn by_version(flags: &mut BTreeMap<&str, String>, kubernetes_version: &str) {
    let version = minor(kubernetes_version).map_or(u32::MAX, |(_, minor)| minor);
    if version < 31 {
        flags.insert("keep-terminated-pod-volumes", "false".to_owned());
    }
    if version >= 34 {
        flags.remove("cloud-config");
    }
    if version >= 35 {
        flags.remove("pod-infra-container-image");
    }
    if version >= 30 {
        let directory = "/var/lib/kubelet/credential-provider";
        flags.insert(
            "image-credential-provider-config",
            format!("{directory}-config.yaml"),
        );
        flags.insert("image-credential-provider-bin-dir", directory.to_owned());
    } else {
        flags.insert(
            "feature-gates",
            "DisableKubeletCloudCredentialProviders=false".to_owned(),
        );
        flags.insert(
            "azure-container-registry-config",
            "/etc/kubernetes/azure.json".to_owned(),
        );
    }
}

fn by_user(flags: &mut BTreeMap<&str, String>, kubelet: &KubeletConfiguration) {
    let mut set = |name: &'static str, value: Option<String>| {
        if let Some(value) = value {
            flags.insert(name, value);
        }
    };
    set("cpu-manager-policy", kubelet.cpu_manager_policy.clone());
    set(
        "cpu-cfs-quota",
        kubelet.cpu_cfs_quota.map(|on| on.to_string()),
    );
    set(
        "image-gc-high-threshold",
        kubelet
            .image_gc_high_threshold_percent
            .map(|n| n.to_string()),
    );
    set(
        "image-gc-low-threshold",
        kubelet
            .image_gc_low_threshold_percent
            .map(|n| n.to_string()),
    );
    set(
        "topology-manager-policy",
        kubelet.topology_manager_policy.clone(),
    );
    set(
        "allowed-unsafe-sysctls",
        kubelet
            .allowed_unsafe_sysctls
            .as_ref()
            .map(|list| list.join(",")),
    );
    set(
        "container-log-max-size",
        kubelet.container_log_max_size.clone(),
    );
    set(
        "container-log-max-files",
        kubelet.container_log_max_files.map(|n| n.to_string()),
    );
    set(
        "pod-max-pids",
        kubelet.pod_pids_limit.map(|n| n.to_string()),
    );
}

/// `key=value:Effect,…`, each once; the taint that keeps pods off until the node is registered
/// is always among them.
fn taints(taints: &[Taint]) -> String {
    let unregistered = Taint {
        key: UNREGISTERED_TAINT.into(),
        value: "".into(),
        effect: Effect::NoExecute,
    };
    let mut seen: Vec<&Taint> = Vec::new();
    for taint in taints.iter().chain([&unregistered]) {
        let is_known = seen
            .iter()
            .any(|known| known.key == taint.key && known.effect == taint.effect);
        if !is_known {
            seen.push(taint);
        }
    }
    let texts: Vec<String> = seen.into_iter().map(text).collect();
    texts.join(",")
}

fn text(taint: &Taint) -> String {
    let effect = match taint.effect {
        Effect::NoSchedule => "NoSchedule",
        Effect::PreferNoSchedule => "PreferNoSchedule",
        Effect::NoExecute => "NoExecute",
    };
    if taint.value.is_empty() {
        format!("{}:{effect}", taint.key)
    } else {
        format!("{}={}:{effect}", taint.key, taint.value)
    }
}
