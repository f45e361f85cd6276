//! Labels a node gives itself when it joins.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_api::labels;
use controller_core::model::{InstanceType, Offering};
use controller_core::requirements::{Operator, RequirementSpec};

use crate::class::Class;
use crate::id::SubnetId;
use crate::imagefamily::minor;
use crate::instance::allocate::offering_requirements;
use crate::options::Options;

type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// Longest label value.
const VALUE_MAX: usize = 63;

/// The node resource group as a label value (`pkg/utils/labels.go`).
pub(crate) fn cluster_label(node_resource_group: &str) -> String {
    let mut label: String = node_resource_group
        .chars()
        .map(|c| if c == '(' || c == ')' { '-' } else { c })
        .take(VALUE_MAX)
        .collect();
    if label.ends_with(['-', '_', '.']) {
        if label.len() == VALUE_MAX {
            label.pop();
        }
        label.push('z');
    }
    label
}

/// What the labels of one node are made of.
pub(crate) struct Sources<'a> {
    pub(crate) options: &'a Options,
    pub(crate) class: &'a Class,
    pub(crate) kubernetes_version: &'a str,
    pub(crate) vnet_guid: &'a str,
    pub(crate) claim_labels: &'a Labels,
    pub(crate) claim_requirements: &'a [RequirementSpec],
    pub(crate) instance_type: &'a InstanceType,
    pub(crate) offering: &'a Offering,
}

/// Labels with one possible value.
pub(crate) fn single_valued(
    specs: &[RequirementSpec],
) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
    specs
        .iter()
        .filter_map(|spec| match (spec.operator, spec.values.as_slice()) {
            (Operator::In, [value]) => Some((Arc::clone(&spec.key), Arc::clone(value))),
            _ => None,
        })
}

/// All labels for the kubelet; later sources win.
pub(crate) fn node_labels(sources: &Sources<'_>) -> Labels {
    let mut all = base(sources);
    all.extend(
        sources
            .claim_labels
            .iter()
            .map(|(k, v)| (Arc::clone(k), Arc::clone(v))),
    );
    all.extend(single_valued(sources.claim_requirements));
    all.extend(single_valued(&sources.instance_type.requirements));
    all.extend(single_valued(&offering_requirements(sources.offering)));
    all.retain(|key, _| may_kubelet_set(key));
    all
}

fn base(sources: &Sources<'_>) -> Labels {
    let options = sources.options;
    let class = sources.class;
    let network = &options.network;
    let mut labels = Labels::new();
    let mut set = |key: &str, value: &str| {
        labels.insert(key.into(), value.into());
    };
    set("kubernetes.azure.com/role", "agent");
    set(
        labels::AKS_CLUSTER,
        &cluster_label(&options.node_resource_group),
    );
    set(
        "kubernetes.azure.com/kubelet-identity-client-id",
        &options.machines.kubelet_identity_client_id,
    );
    set(labels::AKS_MODE, "user");
    // The node brings its taints itself; nobody else is to copy them again.
    set(labels::DO_NOT_SYNC_TAINTS, "true");
    set(labels::AKS_OS_SKU, class.os_sku());
    set(
        "kubernetes.azure.com/os-sku-requested",
        class.spec().image_family(),
    );
    let family = class.family(sources.kubernetes_version);
    set("kubernetes.azure.com/os-sku-effective", family.effective());
    if class.spec().is_fips() {
        set(labels::AKS_FIPS_ENABLED, "true");
    }
    let local_dns = if class.is_local_dns_enabled() {
        "enabled"
    } else {
        "disabled"
    };
    set("kubernetes.azure.com/localdns-state", local_dns);
    if class.streams_artifacts() {
        set("kubernetes.azure.com/artifactstreaming-enabled", "true");
    }
    if network.is_overlay() {
        let subnet = SubnetId::parse(class.subnet_id(network)).map_or("", |id| id.subnet);
        set("kubernetes.azure.com/network-subnet", subnet);
        set(
            "kubernetes.azure.com/nodenetwork-vnetguid",
            sources.vnet_guid,
        );
        set("kubernetes.azure.com/azure-cni-overlay", "true");
        set("kubernetes.azure.com/podnetwork-type", "overlay");
        let is_stateless = minor(sources.kubernetes_version) >= Some((1, 34));
        set(
            "kubernetes.azure.com/network-stateless-cni",
            if is_stateless { "true" } else { "false" },
        );
    }
    if network.dataplane == "cilium" {
        set("kubernetes.azure.com/ebpf-dataplane", "cilium");
    }
    labels
}

/// Keys of Kubernetes' own domains that a kubelet may set on its Node
/// (`k8s.io/kubelet/pkg/apis/well_known_labels.go`).
const KUBELET_KEYS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

fn may_kubelet_set(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else {
        return true;
    };
    let within = |parent: &str| {
        domain
            .strip_suffix(parent)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let is_reserved = within("kubernetes.io") || within("k8s.io");
    !is_reserved
        || KUBELET_KEYS.contains(&key)
        || within("kubelet.kubernetes.io")
        || within("node.kubernetes.io")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_label_is_a_legal_value() {
        assert_eq!(cluster_label("MC_a(b)_eastus"), "MC_a-b-_eastus");
        assert_eq!(cluster_label("MC_a_(b)"), "MC_a_-b-z");
        let long = format!("{}-{}", "a".repeat(62), "b");
        assert_eq!(cluster_label(&long), format!("{}z", "a".repeat(62)));
    }

    #[test]
    fn kubelets_may_set_only_some_keys_of_kubernetes() {
        for key in [
            "team",
            "example.com/x",
            "kubernetes.azure.com/mode",
            "node.kubernetes.io/x",
            "a.kubelet.kubernetes.io/x",
            "topology.kubernetes.io/zone",
        ] {
            assert!(may_kubelet_set(key), "{key}");
        }
        for key in [
            "node-restriction.kubernetes.io/x",
            "kubernetes.io/x",
            "a.k8s.io/x",
        ] {
            assert!(!may_kubelet_set(key), "{key}");
        }
    }
}
