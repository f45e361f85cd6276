//! Published values of upstream, which only an equal algorithm over equal tables yields.

use serde_json::{Value, json};

use super::*;

fn pool(spec: Value, metadata: &Value) -> String {
    let mut spec = spec;
    spec["nodeClassRef"] =
        json!({"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"});
    spec["requirements"] = json!([{"key": "a", "operator": "Exists"}]);
    let pool = json!({
        "metadata": {"name": "p"},
        "spec": {"template": {"metadata": metadata, "spec": spec}},
    });
    node_pool_hash(&serde_json::from_value(pool).expect("a NodePool"))
}

#[test]
fn node_pool_hashes_equal_upstream() {
    let team = json!({"labels": {"team": "a"}});
    assert_eq!(
        pool(json!({"expireAfter": "720h"}), &json!({})),
        "10684441112471014376"
    );
    assert_eq!(
        pool(json!({"expireAfter": "Never"}), &json!({})),
        "7719316286182947569"
    );
    assert_eq!(
        pool(json!({"expireAfter": "43200m"}), &team),
        "16998431604024926870"
    );
    let everything = json!({
        "expireAfter": "720h",
        "taints": [{"key": "gpu", "value": "true", "effect": "NoSchedule"}],
        "startupTaints": [{"key": "init", "effect": "NoExecute"}],
        "terminationGracePeriod": "1h",
    });
    let metadata = json!({"labels": {"team": "a"}, "annotations": {"x": "y"}});
    assert_eq!(pool(everything, &metadata), "17923464011879739029");
    for order in [["a", "b"], ["b", "a"]] {
        let taints = order.map(|key| json!({"key": key, "effect": "NoSchedule"}));
        let spec = json!({"expireAfter": "720h", "taints": taints});
        assert_eq!(pool(spec, &json!({})), "3074535319868857543");
    }
    let grace = json!({"expireAfter": "Never", "terminationGracePeriod": "1h"});
    assert_eq!(pool(grace, &json!({})), "14933578468074240827");
    // An empty list is not an absent one, in Go.
    let empty = json!({"expireAfter": "720h", "taints": []});
    assert_ne!(pool(empty, &json!({})), "10684441112471014376");
}

/// Upstream's base object, as JSON so that partial objects of its tests can be written.
fn class(change: impl Fn(&mut Value)) -> String {
    let mut spec = json!({
        "vnetSubnetID": "subnet-id",
        "osDiskSizeGB": 30,
        "imageFamily": "Ubuntu2204",
        "tags": {"keyTag-1": "valueTag-1"},
        "kubelet": {
            "cpuManagerPolicy": "static",
            "cpuCFSQuota": true,
            "cpuCFSQuotaPeriod": "100ms",
            "imageGCHighThresholdPercent": 85,
            "imageGCLowThresholdPercent": 80,
            "topologyManagerPolicy": "none",
            "allowedUnsafeSysctls": ["net.core.somaxconn"],
            "containerLogMaxSize": "10Mi",
            "containerLogMaxFiles": 10,
        },
        "maxPods": 100,
    });
    change(&mut spec);
    hash_struct(&AKS_NODE_CLASS_SPEC, &spec).to_string()
}

#[test]
fn aks_node_class_hashes_equal_upstream() {
    assert_eq!(class(|_| {}), "4108492229247269128");
    assert_eq!(
        class(|spec| spec["tags"] = json!({"other": "tag"})),
        "4108492229247269128"
    );
    assert_eq!(
        class(|spec| spec["vnetSubnetID"] = json!("subnet-id-2")),
        "13971920214979852468"
    );
    assert_eq!(
        class(|spec| spec["osDiskSizeGB"] = json!(40)),
        "7816855636861645563"
    );
    assert_eq!(
        class(|spec| spec["imageFamily"] = json!("AzureLinux")),
        "15616969746300892810"
    );
    assert_eq!(
        class(|spec| spec["kubelet"]["cpuManagerPolicy"] = json!("none")),
        "33638514539106194"
    );
    assert_eq!(
        class(|spec| spec["maxPods"] = json!(200)),
        "15508761509963240710"
    );
    assert_eq!(
        class(|spec| spec["localDNS"] = json!({"mode": "Required"})),
        "17805442572569734619"
    );
    let zone = json!({"zone": "example.com", "cacheDuration": "1h"});
    assert_eq!(
        class(|spec| spec["localDNS"] = json!({"vnetDNSOverrides": [zone]})),
        "11008649797056761238"
    );
    assert_eq!(
        class(|spec| spec["artifactStreaming"] = json!({"enabled": true})),
        "15355387647114481444"
    );
}

#[test]
fn every_field_of_the_spec_is_hashed() {
    for key in ["gpu", "security", "linuxOSConfig"] {
        assert_ne!(class(|spec| spec[key] = json!({})), class(|_| {}), "{key}");
    }
    assert_ne!(
        class(|spec| spec["imageVersion"] = json!("202505.27.0")),
        class(|_| {})
    );
}
