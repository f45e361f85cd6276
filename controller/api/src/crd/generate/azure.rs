//! CRD of `karpenter.azure.com`.
//!
//! Source: Azure/karpenter-provider-azure `pkg/apis/crds/karpenter.azure.com_aksnodeclasses.yaml`.

use kube_core::CustomResourceExt;
use serde_json::{Value, json};

use super::edit::{DURATION, Schema, column, condition_path};
use crate::azure::v1beta1::{AKSNodeClass, AKSNodeClassSpec};
use crate::azure::{GROUP, v1alpha2, v1beta1};

/// Sizes such as `50Mi`.
const SIZE: &str = "^\\d+(E|P|T|G|M|K|Ei|Pi|Ti|Gi|Mi|Ki)$";

/// Kernel parameters with their least and greatest value.
const SYSCTL_RANGES: &[(&str, i64, i64)] = &[
    ("fsAioMaxNr", 65_536, 6_553_500),
    ("fsFileMax", 8_192, 12_000_500),
    ("fsInotifyMaxUserWatches", 781_250, 2_097_152),
    ("fsNrOpen", 8_192, 20_000_500),
    ("kernelThreadsMax", 20, 513_785),
    ("netCoreNetdevMaxBacklog", 1_000, 3_240_000),
    ("netCoreOptmemMax", 20_480, 4_194_304),
    ("netCoreRmemDefault", 212_992, 134_217_728),
    ("netCoreRmemMax", 212_992, 134_217_728),
    ("netCoreSomaxconn", 4_096, 3_240_000),
    ("netCoreWmemDefault", 212_992, 134_217_728),
    ("netCoreWmemMax", 212_992, 134_217_728),
    ("netIPv4NeighDefaultGcThresh1", 128, 80_000),
    ("netIPv4NeighDefaultGcThresh2", 512, 90_000),
    ("netIPv4NeighDefaultGcThresh3", 1_024, 100_000),
    ("netIPv4TCPFinTimeout", 5, 120),
    ("netIPv4TCPKeepaliveProbes", 1, 15),
    ("netIPv4TCPKeepaliveTime", 30, 432_000),
    ("netIPv4TCPMaxSynBacklog", 128, 3_240_000),
    ("netIPv4TCPMaxTwBuckets", 8_000, 1_440_000),
    ("netIPv4TCPKeepaliveIntvl", 10, 90),
    ("netNetfilterNfConntrackBuckets", 65_536, 524_288),
    ("netNetfilterNfConntrackMax", 131_072, 2_097_152),
    ("vmMaxMapCount", 65_530, 262_144),
    ("vmSwappiness", 0, 100),
    ("vmVfsCachePressure", 0, 100),
];

/// Part of a rule: trusted launch is on.
const TRUSTED_LAUNCH: &str = "(has(self.security) && has(self.security.trustedLaunch) && ((has(self.security.trustedLaunch.vtpm) && self.security.trustedLaunch.vtpm) || (has(self.security.trustedLaunch.secureBoot) && self.security.trustedLaunch.secureBoot)))";
/// Part of a rule: FIPS is asked for.
const FIPS: &str = "has(self.fipsMode) && self.fipsMode == 'FIPS'";

/// CRD of AKSNodeClass, with both served versions.
pub(super) fn aks_node_class() -> Value {
    let mut schema = Schema::derived(&AKSNodeClass::crd());
    spec(&mut schema);
    kubelet(&mut schema);
    local_dns(&mut schema);
    linux_os(&mut schema);
    schema.conditions("status.conditions", true);
    schema.choice("status.localDNSState", &["Enabled", "Disabled"]);
    let schema = schema.into_value();
    let columns = [
        column("Ready", &condition_path("Ready"), "string", 0),
        column("Age", ".metadata.creationTimestamp", "date", 0),
        column("ImageFamily", ".spec.imageFamily", "string", 1),
    ];
    let version = |name: &str, is_stored: bool| {
        json!({
            "name": name,
            "served": true,
            "storage": is_stored,
            "additionalPrinterColumns": columns,
            "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}},
        })
    };
    let mut old = version(v1alpha2::VERSION, false);
    old["deprecated"] = json!(true);
    old["deprecationWarning"] = json!(v1alpha2::DEPRECATION_WARNING);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("aksnodeclasses.{GROUP}")},
        "spec": {
            "conversion": {"strategy": "None"},
            "group": GROUP,
            "names": {
                "categories": ["karpenter", "nap"],
                "kind": "AKSNodeClass",
                "listKind": "AKSNodeClassList",
                "plural": "aksnodeclasses",
                "shortNames": ["aksnc", "aksncs"],
                "singular": "aksnodeclass",
            },
            "scope": "Cluster",
            "versions": [old, version(v1beta1::VERSION, true)],
        },
    })
}

fn spec(schema: &mut Schema) {
    schema.pattern(
        "spec.vnetSubnetID",
        "(?i)^\\/subscriptions\\/[^\\/]+\\/resourceGroups\\/[a-zA-Z0-9_\\-().]{0,89}[a-zA-Z0-9_\\-()]\\/providers\\/Microsoft\\.Network\\/virtualNetworks\\/[^\\/]+\\/subnets\\/[^\\/]+$",
    );
    schema.range("spec.osDiskSizeGB", 30, 2048);
    schema.set(
        "spec.osDiskSizeGB",
        json!({"default": AKSNodeClassSpec::OS_DISK_SIZE_GB}),
    );
    schema.choice(
        "spec.imageFamily",
        &["Ubuntu", "Ubuntu2204", "Ubuntu2404", "AzureLinux"],
    );
    schema.set(
        "spec.imageFamily",
        json!({"default": AKSNodeClassSpec::IMAGE_FAMILY}),
    );
    schema.choice("spec.fipsMode", &["FIPS", "Disabled"]);
    schema.range("spec.maxPods", 10, 250);
    schema.choice("spec.gpu.mode", &["Driver", "None"]);
    schema.set("spec.gpu.mode", json!({"default": "Driver"}));
    // One to three numbers: 202505.27.0, or a prefix of it.
    schema.pattern("spec.imageVersion", "^[0-9]+(\\.[0-9]+){0,2}$");
    schema.rules(
        "spec.tags",
        &[
            (
                "self.all(k, size(k) <= 512)",
                "tags keys must be less than 512 characters",
            ),
            (
                "self.all(k, !k.matches('[<>%&?]'))",
                "tags keys must not contain '<', '>', '%', '&', or '?'",
            ),
            (
                "self.all(k, !k.contains('\\\\'))",
                "tags keys must not contain '\\'",
            ),
            (
                "self.all(k, size(self[k]) <= 256)",
                "tags values must be less than 256 characters",
            ),
        ],
    );
    let no_fips =
        format!("{FIPS} ? (has(self.imageFamily) && self.imageFamily != 'Ubuntu2404') : true");
    let needs_trust = format!(
        "{FIPS} && has(self.imageFamily) && self.imageFamily == 'Ubuntu2204' ? {TRUSTED_LAUNCH} : true"
    );
    let no_trust = format!(
        "{FIPS} && {TRUSTED_LAUNCH} ? (!has(self.imageFamily) || self.imageFamily in ['Ubuntu', 'Ubuntu2204']) : true"
    );
    let swap = "has(self.linuxOSConfig) && has(self.linuxOSConfig.swapFileSize) ? (has(self.kubelet) && has(self.kubelet.failSwapOn) && !self.kubelet.failSwapOn) : true";
    schema.rules(
        "spec",
        &[
            (&no_fips, "FIPS is not yet supported for Ubuntu2404"),
            (
                &needs_trust,
                "FIPS with Ubuntu2204 requires trusted launch (vtpm or secureBoot)",
            ),
            (
                &no_trust,
                "FIPS with trusted launch is only supported for Ubuntu and Ubuntu2204",
            ),
            (
                swap,
                "linuxOSConfig.swapFileSize requires kubelet.failSwapOn to be false",
            ),
        ],
    );
}

fn kubelet(schema: &mut Schema) {
    schema.rules(
        "spec.kubelet",
        &[(
            "has(self.imageGCHighThresholdPercent) && has(self.imageGCLowThresholdPercent) ? self.imageGCHighThresholdPercent > self.imageGCLowThresholdPercent : true",
            "imageGCHighThresholdPercent must be greater than imageGCLowThresholdPercent",
        )],
    );
    schema.choice("spec.kubelet.cpuManagerPolicy", &["none", "static"]);
    schema.choice(
        "spec.kubelet.topologyManagerPolicy",
        &["restricted", "best-effort", "none", "single-numa-node"],
    );
    schema.range("spec.kubelet.imageGCHighThresholdPercent", 0, 100);
    schema.range("spec.kubelet.imageGCLowThresholdPercent", 0, 100);
    schema.pattern("spec.kubelet.containerLogMaxSize", SIZE);
    schema.set("spec.kubelet.containerLogMaxFiles", json!({"minimum": 2}));
    for (field, default) in [
        ("cpuManagerPolicy", json!("none")),
        ("cpuCFSQuota", json!(true)),
        ("cpuCFSQuotaPeriod", json!("100ms")),
        ("topologyManagerPolicy", json!("none")),
        ("containerLogMaxSize", json!("50Mi")),
        ("containerLogMaxFiles", json!(5)),
    ] {
        schema.set(
            &format!("spec.kubelet.{field}"),
            json!({"default": default}),
        );
    }
}

fn local_dns(schema: &mut Schema) {
    schema.choice("spec.localDNS.mode", &["Preferred", "Required", "Disabled"]);
    let required_zones = (
        "['.', 'cluster.local'].all(z, self.exists(x, x.zone == z))",
        "must contain required zones '.' and 'cluster.local'",
    );
    for list in [
        "spec.localDNS.kubeDNSOverrides",
        "spec.localDNS.vnetDNSOverrides",
    ] {
        schema.set(
            list,
            json!({
                "maxItems": 100,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["zone"],
            }),
        );
        schema.rules(list, &[required_zones]);
        zone_override(schema, &format!("{list}[]"));
    }
    schema.rules(
        "spec.localDNS.vnetDNSOverrides",
        &[
            (
                "!self.exists(x, x.zone == '.' && x.forwardDestination == 'ClusterCoreDNS')",
                "root zone '.' cannot be forwarded to ClusterCoreDNS from vnetDNSOverrides",
            ),
            (
                "!self.exists(x, x.zone != '.' && !x.zone.endsWith('cluster.local') && x.forwardDestination == 'ClusterCoreDNS')",
                "external domains cannot be forwarded to ClusterCoreDNS from vnetDNSOverrides",
            ),
        ],
    );
}

fn zone_override(schema: &mut Schema, path: &str) {
    schema.rules(
        path,
        &[
            (
                "!(self.zone.endsWith('cluster.local') && self.forwardDestination == 'VnetDNS')",
                "'cluster.local' cannot be forwarded to VnetDNS",
            ),
            (
                "!(self.serveStale == 'Verify' && self.protocol == 'ForceTCP')",
                "serveStale Verify cannot be used with protocol ForceTCP",
            ),
        ],
    );
    schema.pattern(
        &format!("{path}.zone"),
        "^(\\.|[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*\\.?)$",
    );
    schema.set(
        &format!("{path}.zone"),
        json!({"minLength": 1, "maxLength": 254}),
    );
    let choices: [(&str, &[&str]); 5] = [
        ("queryLogging", &["Error", "Log"]),
        ("protocol", &["PreferUDP", "ForceTCP"]),
        ("forwardDestination", &["ClusterCoreDNS", "VnetDNS"]),
        ("forwardPolicy", &["Sequential", "RoundRobin", "Random"]),
        ("serveStale", &["Verify", "Immediate", "Disable"]),
    ];
    for (field, values) in choices {
        schema.choice(&format!("{path}.{field}"), values);
    }
    for field in ["cacheDuration", "serveStaleDuration"] {
        schema.pattern(&format!("{path}.{field}"), DURATION);
    }
    schema.set(&format!("{path}.maxConcurrent"), json!({"minimum": 0}));
}

fn linux_os(schema: &mut Schema) {
    let at = "spec.linuxOSConfig";
    schema.pattern(&format!("{at}.swapFileSize"), SIZE);
    schema.choice(
        &format!("{at}.transparentHugePageEnabled"),
        &["always", "madvise", "never"],
    );
    schema.choice(
        &format!("{at}.transparentHugePageDefrag"),
        &["always", "defer", "defer+madvise", "madvise", "never"],
    );
    for (field, minimum, maximum) in SYSCTL_RANGES {
        schema.range(&format!("{at}.sysctls.{field}"), *minimum, *maximum);
    }
    let port_range = format!("{at}.sysctls.netIPv4IPLocalPortRange");
    schema.pattern(&port_range, "^\\d+ \\d+$");
    schema.set(&port_range, json!({"maxLength": 11}));
    schema.rules(
        &port_range,
        &[(
            "int(self.split(' ')[0]) >= 1024 && int(self.split(' ')[0]) <= 60999 && int(self.split(' ')[1]) >= 32768 && int(self.split(' ')[1]) <= 65535 && int(self.split(' ')[0]) <= int(self.split(' ')[1])",
            "netIPv4IPLocalPortRange must be '<first> <last>', first in 1024-60999, last in 32768-65535, first not above last",
        )],
    );
    let order = |low: &str, high: &str| {
        let rule =
            format!("has(self.{low}) && has(self.{high}) ? self.{low} <= self.{high} : true");
        (rule, format!("{low} must be less than or equal to {high}"))
    };
    for (low, high) in [
        ("netCoreRmemDefault", "netCoreRmemMax"),
        ("netCoreWmemDefault", "netCoreWmemMax"),
        (
            "netIPv4NeighDefaultGcThresh1",
            "netIPv4NeighDefaultGcThresh2",
        ),
        (
            "netIPv4NeighDefaultGcThresh2",
            "netIPv4NeighDefaultGcThresh3",
        ),
    ] {
        let (rule, message) = order(low, high);
        schema.rules(&format!("{at}.sysctls"), &[(&rule, &message)]);
    }
}
