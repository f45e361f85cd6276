//! The components together.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Resource;
use crate::host::{AgentPoolHost, HostFact, JoinFailure};
use crate::kinds::{
    CONFIG_MAPS, DAEMON_SETS, DEPLOYMENTS, EVENTS, LEASES, NAMESPACES, NODES, PDBS, PODS,
    REPLICA_SETS, SERVICE_ACCOUNTS,
};
use crate::object::{condition_status, items, text};
use crate::testing::bootstrap::{CA, script};
use crate::testing::{World, at, host, node, pod};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "progressDeadlineSeconds": 600,
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{
                    "name": "c", "image": "nginx:1",
                    "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } },
                }] },
            },
        },
    })
}

pub(super) fn names(world: &World, resource: Resource) -> Vec<String> {
    world
        .api
        .all(resource)
        .map(|value| text(&value["metadata"]["name"]).to_owned())
        .collect()
}

pub(super) fn phases(world: &World) -> Vec<String> {
    world
        .api
        .all(PODS)
        .map(|pod| {
            format!(
                "{} {}",
                text(&pod["status"]["phase"]),
                text(&pod["spec"]["nodeName"])
            )
        })
        .collect()
}

#[test]
fn pending_pods_run_once_a_host_has_joined() {
    let mut world = World::new();
    world.create(DEPLOYMENTS, "default", deployment("web", 2));
    world.run(SECOND);
    assert_eq!(phases(&world), ["Pending ", "Pending "]);

    world.start(host("n1"));
    world.run(10 * SECOND);
    // The controller under test would lift the taint its bootstrap data set.
    assert_eq!(phases(&world), ["Pending ", "Pending "]);
    let taints = items(&world.get(NODES, "", "n1")["spec"]["taints"]).to_vec();
    assert_eq!(taints.len(), 1, "{taints:?}");
    world.patch(NODES, "", "n1", json!({ "spec": { "taints": null } }));
    world.run(5 * SECOND);

    assert_eq!(phases(&world), ["Running n1", "Running n1"]);
    let web = world.get(DEPLOYMENTS, "default", "web");
    assert_eq!(condition_status(web, "Available"), "True");
    assert_eq!(web["status"]["availableReplicas"], 2);
    assert_eq!(names(&world, LEASES), ["n1"]);
    insta::assert_json_snapshot!(world.get(NODES, "", "n1"));
}

#[test]
fn each_corruption_keeps_the_host_out() {
    let corrupt = |from: &str, to: &str| {
        use base64::Engine as _;
        let mut host = host("n1");
        let script = script().replace(from, to);
        host.custom_data = base64::engine::general_purpose::STANDARD.encode(script);
        let mut world = World::new();
        world.start(host);
        world.run(30 * SECOND);
        assert!(names(&world, NODES).is_empty());
        let mut reports = world.cluster.join_failures();
        assert_eq!(reports.len(), 1);
        assert!(world.cluster.join_failures().is_empty());
        reports.remove(0).failure
    };
    let ca = corrupt("KUBE_CA_CRT=\"", "KUBE_CA_CRT=\"AAAA");
    assert_eq!(ca, JoinFailure::WrongCa);
    assert_eq!(
        corrupt("0123456789abcdef", "fedcba9876543210"),
        JoinFailure::TokenRefused("the secret of token id abcdef does not match".to_owned())
    );
    assert!(matches!(
        corrupt("abcdef.", "ghijkl."),
        JoinFailure::TokenRefused(_)
    ));
    assert!(matches!(
        corrupt("kubernetes.azure.com/mode", "kubernetes.io/mode"),
        JoinFailure::InvalidLabel(_)
    ));
    assert!(matches!(
        corrupt("unregistered:", "unregistered="),
        JoinFailure::InvalidTaint(_)
    ));
    assert!(matches!(
        corrupt("--max-pods=250", "--max-pods=-1"),
        JoinFailure::InvalidMaxPods(_)
    ));
}

#[test]
fn a_deployment_is_created_scaled_and_deleted_as_recorded() {
    // Case `deployment-create-3` of the recordings of release 1.36.1.
    let mut world = World::new();
    world.create(NODES, "", node("b1", "4", "16Gi"));
    world.run(SECOND);
    world.create(DEPLOYMENTS, "default", deployment("web", 3));
    world.run(5 * SECOND);
    world.patch(
        DEPLOYMENTS,
        "default",
        "web",
        json!({ "spec": { "replicas": 0 } }),
    );
    world.run(5 * SECOND);
    world.delete(
        DEPLOYMENTS,
        "default",
        "web",
        json!({ "propagationPolicy": "Background" }),
    );
    world.run(SECOND);
    assert!(names(&world, REPLICA_SETS).is_empty());
    let actors = [
        "deployment-controller",
        "replicaset-controller",
        "generic-garbage-collector",
    ];
    insta::assert_snapshot!(world.writes_of(&actors).join("\n"));
    insta::assert_snapshot!("events", world.events().join("\n"));
}

#[test]
fn a_template_change_rolls_through() {
    let mut world = World::new();
    world.start(host("n1"));
    world.run(10 * SECOND);
    world.patch(NODES, "", "n1", json!({ "spec": { "taints": null } }));
    world.create(DEPLOYMENTS, "default", deployment("web", 4));
    world.run(10 * SECOND);
    let image = json!({ "spec": { "template": { "spec": { "containers": [{
        "name": "c", "image": "nginx:2",
        "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } },
    }] } } } });
    world.patch(DEPLOYMENTS, "default", "web", image);
    world.run(30 * SECOND);
    let web = world.get(DEPLOYMENTS, "default", "web");
    assert_eq!(web["status"]["updatedReplicas"], 4, "{web}");
    assert_eq!(
        web["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
    let progressing = crate::object::condition(web, "Progressing").expect("it is there");
    assert_eq!(progressing["reason"], "NewReplicaSetAvailable");
    let images: Vec<&str> = world
        .api
        .all(PODS)
        .map(|pod| text(&pod["spec"]["containers"][0]["image"]))
        .collect();
    assert_eq!(images, ["nginx:2"; 4]);
    let scaled: Vec<String> = world
        .events()
        .into_iter()
        .filter(|event| event.starts_with("Scaling"))
        .collect();
    insta::assert_debug_snapshot!(scaled);
}

#[test]
fn a_vanished_machine_takes_node_and_pods_with_it() {
    let mut world = World::new();
    world.create(NODES, "", node("other", "4", "16Gi"));
    world.start(host("n1"));
    world.run(10 * SECOND);
    world.patch(NODES, "", "n1", json!({ "spec": { "taints": null } }));
    world.patch(
        NODES,
        "",
        "other",
        json!({ "spec": { "unschedulable": true } }),
    );
    world.create(DEPLOYMENTS, "default", deployment("web", 1));
    world.run(5 * SECOND);
    assert_eq!(phases(&world), ["Running n1"]);

    world.stop("azure:///n1");
    let stopped = world.now;
    world.run(49 * SECOND);
    assert_eq!(
        condition_status(world.get(NODES, "", "n1"), "Ready"),
        "True"
    );
    world.run(6 * SECOND);
    let lost = world.api.get(NODES, "", "n1");
    // The cloud side looks every five seconds and takes the node away once it is not ready.
    let gone = lost.is_none_or(|node| condition_status(node, "Ready") == "Unknown");
    assert!(gone, "{lost:?} after {:?}", world.now - stopped);
    world.run(6 * SECOND);
    assert!(world.api.get(NODES, "", "n1").is_none());
    world.run(70 * SECOND);
    // The pod garbage collector has failed the old pod; its successor finds no node.
    assert_eq!(phases(&world), ["Pending "]);
    let writes = world.writes_of(&["node-controller", "pod-garbage-collector"]);
    let gc: Vec<&String> = writes
        .iter()
        .filter(|line| line.contains("DeletionByPodGC"))
        .collect();
    assert_eq!(gc.len(), 1);
}

#[test]
fn a_silent_node_is_tainted_and_its_pods_evicted() {
    let mut world = World::new();
    for name in ["n1", "n2"] {
        world.start(host(name));
    }
    world.run(10 * SECOND);
    for name in ["n1", "n2"] {
        world.patch(NODES, "", name, json!({ "spec": { "taints": null } }));
    }
    let mut patient = pod("patient", "100m", "64Mi");
    patient["spec"]["nodeName"] = json!("n1");
    patient["spec"]["tolerations"] = json!([{
        "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
        "tolerationSeconds": 300,
    }]);
    world.create(PODS, "default", patient);
    world.run(5 * SECOND);
    // Somebody breaks the host but the cloud still knows the machine: only the kubelet is silent.
    let fact = HostFact::Stopped {
        provider_id: "azure:///n1".to_owned(),
    };
    world.cluster.apply(world.now, &fact);
    world.start({
        let mut again = host("n1-other");
        again.provider_id = "azure:///n1".to_owned();
        again
    });
    world.run(Duration::from_secs(56));
    let n1 = world.get(NODES, "", "n1");
    let taints: Vec<String> = items(&n1["spec"]["taints"])
        .iter()
        .map(|taint| format!("{}:{}", text(&taint["key"]), text(&taint["effect"])))
        .collect();
    assert_eq!(
        taints,
        [
            "node.kubernetes.io/unreachable:NoSchedule",
            "node.kubernetes.io/unreachable:NoExecute"
        ]
    );
    assert_eq!(
        condition_status(world.get(PODS, "default", "patient"), "Ready"),
        "False"
    );
    world.run(Duration::from_secs(301));
    let patient = world.get(PODS, "default", "patient");
    assert_eq!(condition_status(patient, "DisruptionTarget"), "True");
    assert!(patient["metadata"]["deletionTimestamp"].is_string());
}

#[test]
fn termination_honours_the_grace_period() {
    let mut world = World::new();
    world.start(host("n1"));
    world.run(10 * SECOND);
    world.patch(NODES, "", "n1", json!({ "spec": { "taints": null } }));
    world.create(PODS, "default", pod("p", "100m", "64Mi"));
    world.run(5 * SECOND);
    let begun = world.now;
    world.delete(PODS, "default", "p", json!({}));
    world.run(Duration::from_millis(400));
    assert!(world.api.get(PODS, "default", "p").is_some());
    world.run(Duration::from_millis(200));
    assert!(world.api.get(PODS, "default", "p").is_none());
    assert_eq!(
        world.now - begun,
        jiff::Span::new().milliseconds(600).fieldwise()
    );
    insta::assert_snapshot!(world.writes_of(&["n1"]).join("\n"));
}

#[test]
fn devices_appear_after_the_node_is_ready() {
    let mut world = World::new();
    let mut gpu = host("gpu");
    gpu.gpu_count = 4;
    world.start(gpu);
    world.run(5 * SECOND);
    assert_eq!(
        condition_status(world.get(NODES, "", "gpu"), "Ready"),
        "True"
    );
    assert!(world.get(NODES, "", "gpu")["status"]["allocatable"]["nvidia.com/gpu"].is_null());
    world.run(5 * SECOND);
    assert_eq!(
        world.get(NODES, "", "gpu")["status"]["allocatable"]["nvidia.com/gpu"],
        "4"
    );
}

#[test]
fn agent_pool_hosts_need_no_bootstrap_data() {
    let mut world = World::new();
    let mut system = host("aks-system-1");
    system.custom_data = String::new();
    system.agent_pool = Some(AgentPoolHost {
        labels: [("kubernetes.azure.com/mode".to_owned(), "system".to_owned())].into(),
        taints: vec![(
            "CriticalAddonsOnly".into(),
            "true".into(),
            "NoSchedule".into(),
        )],
        max_pods: 110,
        kubelet_version: "1.34.2".to_owned(),
    });
    world.start(system);
    world.run(10 * SECOND);
    let node = world.get(NODES, "", "aks-system-1");
    assert_eq!(node["spec"]["providerID"], "azure:///aks-system-1");
    assert_eq!(
        node["metadata"]["labels"]["kubernetes.azure.com/mode"],
        "system"
    );
    assert_eq!(
        node["metadata"]["labels"]["node.kubernetes.io/instance-type"],
        "Standard_D2s_v5"
    );
    assert_eq!(items(&node["spec"]["taints"]).len(), 1);
}

#[test]
fn a_scheduled_event_becomes_a_condition() {
    let mut world = World::new();
    world.start(host("spot"));
    world.run(10 * SECOND);
    let fact = HostFact::Scheduled {
        provider_id: "azure:///spot".to_owned(),
        kind: "Preempt".to_owned(),
        not_before: at(60_000),
    };
    world.cluster.apply(world.now, &fact);
    world.pump();
    assert_eq!(
        condition_status(world.get(NODES, "", "spot"), "PreemptionScheduled"),
        "True"
    );
}

#[test]
fn a_budget_counts_healthy_pods() {
    let mut world = World::new();
    world.start(host("n1"));
    world.run(10 * SECOND);
    world.patch(NODES, "", "n1", json!({ "spec": { "taints": null } }));
    let budget = |name: &str, spec: Value| {
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": { "name": name }, "spec": spec,
        })
    };
    let selector = json!({ "matchLabels": { "app": "web" } });
    let least = json!({ "selector": selector, "minAvailable": 2 });
    let share = json!({ "selector": selector, "maxUnavailable": "50%" });
    world.create(PDBS, "default", budget("least", least));
    world.create(PDBS, "default", budget("share", share));
    world.create(DEPLOYMENTS, "default", deployment("web", 3));
    world.run(5 * SECOND);
    let summary = |name: &str| {
        let status = &world.get(PDBS, "default", name)["status"];
        [
            "expectedPods",
            "desiredHealthy",
            "currentHealthy",
            "disruptionsAllowed",
        ]
        .map(|field| status[field].as_i64().expect("a number"))
    };
    assert_eq!(summary("least"), [3, 2, 3, 1]);
    assert_eq!(summary("share"), [3, 1, 3, 2]);
}

#[test]
fn deletion_follows_owners_in_the_foreground_and_spares_orphans() {
    for (policy, pods_left) in [("Foreground", 0), ("Background", 0), ("Orphan", 2)] {
        let mut world = World::new();
        world.start(host("n1"));
        world.run(10 * SECOND);
        world.patch(NODES, "", "n1", json!({ "spec": { "taints": null } }));
        world.create(DEPLOYMENTS, "default", deployment("web", 2));
        world.run(5 * SECOND);
        world.delete(
            DEPLOYMENTS,
            "default",
            "web",
            json!({ "propagationPolicy": policy }),
        );
        world.run(5 * SECOND);
        assert!(
            world.api.get(DEPLOYMENTS, "default", "web").is_none(),
            "{policy}"
        );
        assert_eq!(names(&world, PODS).len(), pods_left, "{policy}");
        let sets = world.api.all(REPLICA_SETS).count();
        assert_eq!(sets, usize::from(policy == "Orphan"), "{policy}");
    }
}

#[test]
fn a_namespace_gets_its_defaults_and_empties_before_it_goes() {
    let mut world = World::new();
    let body = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team" },
        "spec": { "finalizers": ["kubernetes"] },
    });
    world.create(NAMESPACES, "", body);
    world.pump();
    assert!(world.api.get(SERVICE_ACCOUNTS, "team", "default").is_some());
    assert_eq!(
        world.get(CONFIG_MAPS, "team", "kube-root-ca.crt")["data"]["ca.crt"],
        CA
    );
    world.create(PODS, "team", pod("p", "100m", "64Mi"));
    world.run(SECOND);
    let events = |world: &World| {
        let all = world.api.all(EVENTS);
        all.filter(|event| event["metadata"]["namespace"] == "team")
            .count()
    };
    let event = json!({ "metadata": { "name": "e", "namespace": "team" }, "reason": "R" });
    world.create(EVENTS, "team", event);
    world.delete(NAMESPACES, "", "team", json!({}));
    world.run(4 * SECOND);
    assert!(world.api.get(PODS, "team", "p").is_some());
    world.run(8 * SECOND);
    assert!(world.api.get(NAMESPACES, "", "team").is_none());
    assert!(world.api.get(SERVICE_ACCOUNTS, "team", "default").is_none());
    assert_eq!(events(&world), 0);
}

#[test]
fn a_daemon_set_follows_the_nodes() {
    let mut world = World::new();
    world.create(NODES, "", node("a", "4", "16Gi"));
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "agent" },
        "spec": {
            "selector": { "matchLabels": { "app": "agent" } },
            "template": {
                "metadata": { "labels": { "app": "agent" } },
                "spec": { "containers": [{ "name": "c", "image": "nginx:1" }] },
            },
        },
    });
    world.create(DAEMON_SETS, "default", set);
    world.run(SECOND);
    assert_eq!(phases(&world), ["Pending a"]);
    world.create(NODES, "", node("b", "4", "16Gi"));
    world.run(SECOND);
    assert_eq!(phases(&world), ["Pending a", "Pending b"]);
    let status = &world.get(DAEMON_SETS, "default", "agent")["status"];
    assert_eq!(status["desiredNumberScheduled"], 2);
    assert_eq!(status["currentNumberScheduled"], 2);
}

#[test]
fn a_machine_that_restarts_takes_its_node_over() {
    let mut world = World::new();
    world.start(host("n1"));
    world.run(10 * SECOND);
    world.patch(NODES, "", "n1", json!({ "spec": { "taints": null } }));
    world.create(PODS, "default", pod("p", "100m", "64Mi"));
    world.run(5 * SECOND);
    let uid = world.get(NODES, "", "n1")["metadata"]["uid"].clone();
    world.stop("azure:///n1");
    world.run(3 * SECOND);
    world.start(host("n1"));
    world.run(3 * SECOND);
    assert_eq!(
        condition_status(world.get(NODES, "", "n1"), "Ready"),
        "False"
    );
    world.run(10 * SECOND);
    assert_eq!(
        condition_status(world.get(NODES, "", "n1"), "Ready"),
        "True"
    );
    assert_eq!(world.get(NODES, "", "n1")["metadata"]["uid"], uid);
    assert_eq!(phases(&world), ["Running n1"]);
    assert_eq!(
        condition_status(world.get(PODS, "default", "p"), "Ready"),
        "True"
    );
}

#[test]
fn refusals_are_reported() {
    let mut world = World::new();
    assert!(world.cluster.refusals().is_empty());
    world.start(host("n1"));
    world.create(DEPLOYMENTS, "default", deployment("web", 2));
    world.run(30 * SECOND);
    assert_eq!(world.cluster.refusals(), []);
}
