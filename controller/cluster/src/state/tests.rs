use std::collections::BTreeMap;

use controller_api::karpenter::v1::{NodeClaim, NodePool};
use k8s_openapi::api::core::v1::{Node, Pod};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the test's object is well-formed")
}

fn pod(name: &str, node: Option<&str>, unschedulable: bool) -> Pod {
    let conditions = if unschedulable {
        json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}])
    } else {
        json!([])
    };
    read(json!({
        "metadata": {"name": name, "namespace": "default", "uid": name,
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {
            "requests": {"cpu": "250m"}, "limits": {"cpu": "1", "memory": "1Gi"}}}]},
        "status": {"conditions": conditions},
    }))
}

fn node(name: &str, labels: &Value, allocatable: &Value) -> Node {
    read(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"providerID": format!("azure:///{name}"), "taints": [
            {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
            {"key": "team", "value": "a", "effect": "NoSchedule"},
            {"key": "boot", "effect": "NoSchedule"}]},
        "status": {"capacity": allocatable, "allocatable": allocatable},
    }))
}

fn claim(name: &str, provider_id: Option<&str>) -> NodeClaim {
    read(json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
        "metadata": {"name": name, "labels": {"karpenter.sh/nodepool": "general",
            "node.kubernetes.io/instance-type": "Standard_D2s_v5"}},
        "spec": {"requirements": [], "expireAfter": "720h",
            "nodeClassRef": {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"},
            "taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}],
            "startupTaints": [{"key": "boot", "effect": "NoSchedule"}]},
        "status": {"providerID": provider_id, "capacity": {"cpu": "2", "nvidia.com/gpu": "1"},
            "allocatable": {"cpu": "1900m", "nvidia.com/gpu": "1"}},
    }))
}

const T0: Timestamp = Timestamp::UNIX_EPOCH;

fn applied(objects: &[Object<'_>]) -> ClusterState {
    let mut state = ClusterState::default();
    for object in objects {
        state.apply(object).expect("valid");
    }
    state
}

fn only_node(state: &ClusterState) -> controller_core::model::Node {
    let snapshot = state.snapshot(&BTreeMap::new());
    assert_eq!(snapshot.nodes.len(), 1, "{:?}", snapshot.nodes);
    snapshot.nodes.into_iter().next().expect("one node")
}

#[test]
fn requests_default_to_limits_and_count_one_pod() {
    let pending = pod("a", None, true);
    let state = applied(&[Object::Pod(&pending)]);
    let requests = &state.pending()[0].shape.requests;
    assert_eq!(
        (requests.cpu_milli, requests.memory_bytes, requests.pods),
        (250, 1 << 30, 1)
    );
}

#[test]
fn a_pod_that_was_not_refused_by_the_scheduler_is_not_ours() {
    let (fresh, bound) = (pod("a", None, false), pod("b", Some("n1"), true));
    let state = applied(&[Object::Pod(&fresh), Object::Pod(&bound)]);
    assert!(state.pending().is_empty());
    assert_eq!(state.pods_on(&"n1".into()).len(), 1);
}

#[test]
fn pods_of_one_shape_share_it() {
    let (a, b) = (pod("a", None, true), pod("b", None, true));
    let state = applied(&[Object::Pod(&a), Object::Pod(&b)]);
    let pending = state.pending();
    assert!(Arc::ptr_eq(&pending[0].shape, &pending[1].shape));
}

#[test]
fn a_launched_claim_without_node_is_in_flight() {
    let launched = claim("general-x", Some("azure:///n1"));
    let view = only_node(&applied(&[Object::NodeClaim(&launched)]));
    assert_eq!(view.name.as_str(), "general-x");
    assert!(!view.has_node);
    assert_eq!(view.allocatable.cpu_milli, 1900);
    assert_eq!(
        view.taints.len(),
        1,
        "startup taints do not count: {:?}",
        view.taints
    );
}

#[test]
fn until_initialized_missing_resources_and_startup_taints_are_the_claims() {
    let registered = node(
        "n1",
        &json!({"karpenter.sh/registered": "true"}),
        &json!({"cpu": "1800m"}),
    );
    let launched = claim("general-x", Some("azure:///n1"));
    let view = only_node(&applied(&[
        Object::NodeClaim(&launched),
        Object::Node(&registered),
    ]));
    assert_eq!(view.name.as_str(), "n1");
    assert_eq!(view.allocatable.cpu_milli, 1800);
    assert_eq!(view.allocatable.get("nvidia.com/gpu"), 1);
    assert_eq!(
        view.taints.iter().map(|t| &*t.key).collect::<Vec<_>>(),
        ["team"]
    );
}

#[test]
fn an_initialized_node_speaks_for_itself() {
    let labels = json!({"karpenter.sh/registered": "true", "karpenter.sh/initialized": "true"});
    let ready = node("n1", &labels, &json!({"cpu": "1800m"}));
    let launched = claim("general-x", Some("azure:///n1"));
    let view = only_node(&applied(&[
        Object::NodeClaim(&launched),
        Object::Node(&ready),
    ]));
    assert_eq!(view.allocatable.get("nvidia.com/gpu"), 0);
    assert_eq!(view.taints.len(), 3);
}

#[test]
fn an_expected_claim_counts_until_the_watch_shows_it() {
    let mut state = ClusterState::default();
    let name = NodeClaimName::new("general-x");
    state.expect_claim(ExpectedClaim {
        name: name.clone(),
        pool: "general".into(),
        created: T0,
    });
    assert_eq!(state.unlaunched(), std::slice::from_ref(&name));
    state
        .apply(&Object::NodeClaim(&claim("general-x", None)))
        .expect("valid");
    assert_eq!(state.unlaunched(), [name]);
    state
        .apply(&Object::NodeClaim(&claim("general-x", Some("azure:///n1"))))
        .expect("valid");
    assert!(state.unlaunched().is_empty());
}

#[test]
fn an_unreadable_quantity_names_object_and_field() {
    let mut bad = pod("a", None, true);
    let spec = bad.spec.as_mut().expect("spec");
    let requests = spec.containers[0]
        .resources
        .as_mut()
        .expect("resources")
        .requests
        .as_mut();
    requests.expect("requests").get_mut("cpu").expect("cpu").0 = "many".to_owned();
    let error = ClusterState::default()
        .apply(&Object::Pod(&bad))
        .expect_err("invalid");
    assert_eq!(
        (&*error.object, &*error.field),
        ("Pod default/a", "spec.containers[0].resources")
    );
}

#[test]
fn budgets_and_limits_are_read_once() {
    let object: NodePool = read(json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "general"},
        "spec": {"limits": {"cpu": "100", "memory": "400Gi"}, "disruption": {
            "consolidateAfter": "30s", "budgets": [{"nodes": "10%"}, {"nodes": "3"}]},
            "template": {"spec": {"requirements": [], "nodeClassRef": {
                "group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default"}}}},
    }));
    let state = applied(&[Object::NodePool(&object)]);
    let pool = state.pool(&"general".into()).expect("pool");
    assert_eq!(pool.limits["cpu"], 100_000);
    assert_eq!(pool.limits["memory"], 400 << 30);
    let budgets: Vec<_> = pool
        .disruption
        .budgets
        .iter()
        .map(|budget| budget.nodes)
        .collect();
    assert_eq!(budgets, [Err(10), Ok(3)]);
}

proptest! {
    /// A full list after any history gives the state that the list alone gives.
    #[test]
    fn reset_equals_replay(
        history in prop::collection::vec((0..6u8, 0..3u8, any::<bool>(), any::<bool>()), 0..40),
        last in prop::collection::btree_map(0..6u8, (0..3u8, any::<bool>()), 0..6),
    ) {
        let make = |name: u8, node: u8, unschedulable: bool| {
            let bound = (node > 0).then(|| format!("n{node}"));
            pod(&format!("p{name}"), bound.as_deref(), unschedulable)
        };
        let mut state = ClusterState::default();
        for (name, node, unschedulable, delete) in history {
            if delete {
                state.delete(Kind::Pod, "default", &format!("p{name}"));
            } else {
                let object = make(name, node, unschedulable);
                state.apply(&Object::Pod(&object)).expect("valid");
            }
        }
        let listed: Vec<_> =
            last.iter().map(|(name, (node, unschedulable))| make(*name, *node, *unschedulable)).collect();
        let objects: Vec<_> = listed.iter().map(Object::Pod).collect();
        state.reset(Kind::Pod, &objects);
        let fresh = applied(&objects);
        prop_assert_eq!(state.snapshot(&BTreeMap::new()), fresh.snapshot(&BTreeMap::new()));
        prop_assert_eq!(state.pods_on(&"n1".into()), fresh.pods_on(&"n1".into()));
    }
}
