//! Placements and messages, compared with recordings of kube-scheduler 1.36.1.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kinds::{NODES, PODS};
use crate::object::{condition, text};
use crate::testing::{World, node, pod};

const SECOND: Duration = Duration::from_secs(1);

/// A node with labels and taints (`key=value`, `key=value:effect`).
fn shaped(name: &str, cpu: &str, labels: &[(&str, &str)], taints: &[(&str, &str, &str)]) -> Value {
    let mut node = node(name, cpu, "16Gi");
    for (key, value) in labels {
        node["metadata"]["labels"][key] = json!(value);
    }
    let taint = |(key, value, effect): &(&str, &str, &str)| json!({ "key": key, "value": value, "effect": effect });
    node["spec"]["taints"] = taints.iter().map(taint).collect();
    node
}

fn world(nodes: Vec<Value>) -> World {
    let mut world = World::new();
    for node in nodes {
        world.create(NODES, "", node);
    }
    world.pump();
    world
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the spec in place"
)]
fn place(world: &mut World, mut pod: Value, spec: Value) -> String {
    let name = text(&pod["metadata"]["name"]).to_owned();
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    world.create(PODS, "default", pod);
    world.pump();
    verdict(world, &name)
}

/// The node of a pod, or why it has none.
fn verdict(world: &World, name: &str) -> String {
    let pod = world.get(PODS, "default", name);
    match text(&pod["spec"]["nodeName"]) {
        "" => condition(pod, "PodScheduled")
            .map_or("no verdict", |condition| text(&condition["message"]))
            .to_owned(),
        node => node.to_owned(),
    }
}

const PREEMPTION: &str = " no new claims to deallocate, preemption: ";

#[test]
fn reasons_are_counted_and_sorted_as_text() {
    // Case `sched-mixed-reasons`: eight nodes that refuse for different reasons.
    let small = |name| {
        let mut node = shaped(name, "4", &[("pool", "a")], &[]);
        node["status"]["allocatable"]["memory"] = json!("512Mi");
        node
    };
    let mut both = shaped("n3", "1", &[("pool", "a")], &[]);
    both["status"]["allocatable"]["memory"] = json!("512Mi");
    let mut cordoned = shaped("n7", "4", &[("pool", "a")], &[]);
    cordoned["spec"]["unschedulable"] = json!(true);
    let mut world = world(vec![
        shaped("n1", "1", &[("pool", "a")], &[]),
        shaped("n2", "1", &[("pool", "a")], &[]),
        both,
        shaped("n4", "4", &[("pool", "a")], &[("a", "true", "NoSchedule")]),
        shaped("n5", "4", &[("pool", "a")], &[("b", "true", "NoSchedule")]),
        shaped("n6", "4", &[("pool", "b")], &[]),
        cordoned,
        small("n8"),
    ]);
    let selector = json!({ "nodeSelector": { "pool": "a" } });
    assert_eq!(
        place(&mut world, pod("p", "2", "1Gi"), selector),
        format!(
            "0/8 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, \
             1 node(s) were unschedulable, 2 Insufficient memory, 2 node(s) had untolerated \
             taint(s), 3 Insufficient cpu.{PREEMPTION}0/8 nodes are available: 8 Preemption is \
             not helpful for scheduling."
        )
    );
}

#[test]
fn ports_spread_taints_and_room_each_have_their_words() {
    // Case `sched-mixed-reasons-2`.
    let zone = |name, cpu, zone, taints: &[_]| {
        shaped(name, cpu, &[("topology.kubernetes.io/zone", zone)], taints)
    };
    let mut world = world(vec![
        zone("n1", "4", "z1", &[]),
        zone("n2", "4", "z1", &[]),
        zone("n3", "4", "z2", &[("a", "true", "NoSchedule")]),
        zone("n4", "1", "z2", &[]),
    ]);
    let ports = json!([{
        "name": "c", "image": "nginx:1", "ports": [{ "containerPort": 80, "hostPort": 8080 }],
        "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } },
    }]);
    let mut hold = pod("hold", "100m", "64Mi");
    hold["metadata"]["labels"] = json!({ "app": "s" });
    let on_n1 = json!({ "containers": ports, "nodeName": "n1" });
    assert_eq!(place(&mut world, hold, on_n1), "n1");
    let mut p = pod("p", "2", "64Mi");
    p["metadata"]["labels"] = json!({ "app": "s" });
    let mut asking = ports;
    asking[0]["resources"]["requests"]["cpu"] = json!("2");
    let spread = json!({
        "containers": asking,
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app": "s" } },
        }],
    });
    assert_eq!(
        place(&mut world, p, spread),
        format!(
            "0/4 nodes are available: 1 Insufficient cpu, 1 node(s) didn't have free ports for \
             the requested pod ports, 1 node(s) didn't match pod topology spread constraints, \
             1 node(s) had untolerated taint(s).{PREEMPTION}0/4 nodes are available: 2 No \
             preemption victims found for incoming pod, 2 Preemption is not helpful for \
             scheduling."
        )
    );
}

#[test]
fn a_full_node_might_be_helped_by_preemption_a_small_one_never() {
    // Cases `sched-insufficient-resources` and `sched-wake`.
    let mut world = world(vec![
        shaped("n1", "1", &[], &[]),
        shaped("n2", "3", &[], &[]),
    ]);
    let on = json!({ "nodeName": "n2" });
    place(&mut world, pod("full", "2", "64Mi"), on);
    assert_eq!(
        place(&mut world, pod("p", "2", "64Mi"), json!({})),
        format!(
            "0/2 nodes are available: 2 Insufficient cpu.{PREEMPTION}0/2 nodes are available: \
             1 No preemption victims found for incoming pod, 1 Preemption is not helpful for \
             scheduling."
        )
    );
    let gpu = json!([{
        "name": "c", "image": "x", "resources": { "requests": { "nvidia.com/gpu": "1" } },
    }]);
    assert_eq!(
        place(
            &mut world,
            pod("gpu", "0", "0"),
            json!({ "containers": gpu })
        ),
        format!(
            "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.{PREEMPTION}0/2 nodes are \
             available: 2 Preemption is not helpful for scheduling."
        )
    );
}

#[test]
fn affinity_terms_are_alternatives_of_conjunctions() {
    // Case `sched-node-affinity`.
    let mut world = world(vec![
        shaped("n1", "4", &[("disk", "ssd"), ("gen", "3")], &[]),
        shaped("n2", "4", &[("disk", "hdd"), ("gen", "7")], &[]),
    ]);
    let required = |terms: Value| {
        json!({ "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms },
        } } })
    };
    let expression = |key: &str, operator: &str, values: Value| json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] });
    let newer = required(json!([expression("gen", "Gt", json!(["5"]))]));
    assert_eq!(place(&mut world, pod("newer", "1", "1Gi"), newer), "n2");
    let either = required(json!([
        expression("disk", "In", json!(["tape"])),
        expression("disk", "NotIn", json!(["hdd"])),
    ]));
    assert_eq!(place(&mut world, pod("either", "1", "1Gi"), either), "n1");
    let named = required(json!([{ "matchFields": [
        { "key": "metadata.name", "operator": "In", "values": ["gone"] },
    ] }]));
    assert_eq!(
        place(&mut world, pod("named", "1", "1Gi"), named),
        format!(
            "0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity].\
             {PREEMPTION}0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        )
    );
}

#[test]
fn pods_attract_and_repel_each_other() {
    // Cases `sched-pod-affinity` and `sched-pod-anti-affinity`.
    let hosts = |name: &'static str| shaped(name, "4", &[], &[]);
    let mut world = world(vec![hosts("n1"), hosts("n2")]);
    let term = |kind: &str, app: &str| {
        json!({ "affinity": { kind: {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": { "matchLabels": { "app": app } },
            }],
        } } })
    };
    assert_eq!(
        place(
            &mut world,
            pod("near", "1", "1Gi"),
            term("podAffinity", "leader")
        ),
        format!(
            "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.{PREEMPTION}0/2 \
             nodes are available: 2 Preemption is not helpful for scheduling."
        )
    );
    let on = json!({ "nodeName": "n2" });
    place(&mut world, pod("leader", "1", "1Gi"), on);
    assert_eq!(verdict(&world, "near"), "n2");
    // The first of a group that wants its own kind may begin anywhere.
    assert_eq!(
        place(
            &mut world,
            pod("own", "1", "1Gi"),
            term("podAffinity", "own")
        ),
        "n1"
    );
    let mut lone = |name: &str| {
        let mut pod = pod(name, "100m", "64Mi");
        pod["metadata"]["labels"] = json!({ "app": "lone" });
        place(&mut world, pod, term("podAntiAffinity", "lone"))
    };
    let taken = [lone("a"), lone("b")];
    assert!(
        taken.contains(&"n1".to_owned()) && taken.contains(&"n2".to_owned()),
        "{taken:?}"
    );
    assert_eq!(
        lone("c"),
        format!(
            "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.\
             {PREEMPTION}0/2 nodes are available: 2 No preemption victims found for incoming pod."
        )
    );
    let mut quiet = pod("quiet", "100m", "64Mi");
    quiet["metadata"]["labels"] = json!({ "app": "lone" });
    assert_eq!(
        place(&mut world, quiet, json!({})),
        format!(
            "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity \
             rules.{PREEMPTION}0/2 nodes are available: 2 No preemption victims found for \
             incoming pod."
        )
    );
}

#[test]
fn without_nodes_attempts_back_off() {
    // Case `sched-backoff-error`: gaps of 1.6, 3, 5, 9, 11 s, and a series from the third on.
    let mut world = World::new();
    let begun = world.now;
    assert_eq!(
        place(&mut world, pod("p", "1", "1Gi"), json!({})),
        "no nodes available to schedule pods"
    );
    world.run(45 * SECOND);
    let lines: Vec<String> = world
        .api
        .log
        .iter()
        .filter(|line| line.contains("kube-scheduler"))
        .map(|line| line.split(' ').take(4).collect::<Vec<_>>().join(" "))
        .collect();
    insta::assert_debug_snapshot!(lines, @r#"
    [
        "00:00.000 kube-scheduler create events",
        "00:00.000 kube-scheduler patch pods/status",
        "00:02.000 kube-scheduler create events",
        "00:05.000 kube-scheduler patch events",
        "00:10.000 kube-scheduler patch events",
        "00:19.000 kube-scheduler patch events",
        "00:30.000 kube-scheduler patch events",
        "00:41.000 kube-scheduler patch events",
    ]
    "#);
    world.create(NODES, "", node("n1", "4", "16Gi"));
    world.run(15 * SECOND);
    assert_eq!(verdict(&world, "p"), "n1");
    assert!(world.now > begun);
}

#[test]
fn only_what_may_help_wakes_a_pod() {
    // Cases `sched-hint-no-wake`, `sched-wake`, `sched-wake-node-add`, `node-new`.
    let mut world = world(vec![shaped("n1", "1", &[], &[])]);
    place(&mut world, pod("p", "2", "1Gi"), json!({}));
    let attempts = |world: &World| {
        world
            .api
            .log
            .iter()
            .filter(|line| line.contains("kube-scheduler create events"))
            .count()
    };
    assert_eq!(attempts(&world), 1);
    world.patch(
        NODES,
        "",
        "n1",
        json!({ "metadata": { "labels": { "x": "y" } } }),
    );
    world.run(SECOND);
    world.create(
        NODES,
        "",
        shaped("n2", "4", &[], &[("a", "", "NoSchedule")]),
    );
    world.run(SECOND);
    assert_eq!(attempts(&world), 1);
    world.patch(NODES, "", "n2", json!({ "spec": { "taints": null } }));
    world.pump();
    assert_eq!(verdict(&world, "p"), "n2");
}

#[test]
fn a_pod_that_leaves_makes_room() {
    let mut world = world(vec![shaped("n1", "2", &[], &[])]);
    place(&mut world, pod("first", "2", "1Gi"), json!({}));
    place(&mut world, pod("second", "2", "1Gi"), json!({}));
    assert_eq!(verdict(&world, "first"), "n1");
    world.delete(PODS, "default", "first", json!({ "gracePeriodSeconds": 0 }));
    world.pump();
    assert_eq!(verdict(&world, "second"), "n1");
}

#[test]
fn an_undisturbed_pod_is_tried_again_after_five_minutes() {
    // Case `sched-unschedulable-flush`.
    let mut world = world(vec![shaped("n1", "1", &[], &[])]);
    place(&mut world, pod("p", "2", "1Gi"), json!({}));
    let attempts = |world: &World| {
        world
            .api
            .log
            .iter()
            .filter(|line| line.contains("kube-scheduler create events"))
            .count()
    };
    world.run(299 * SECOND);
    assert_eq!(attempts(&world), 1);
    world.run(32 * SECOND);
    assert_eq!(attempts(&world), 2);
}

#[test]
fn higher_priority_goes_first_and_gated_pods_wait() {
    // Cases `sched-priority-order` and `sched-gates`.
    let mut world = World::new();
    let mut wait = |name: &str, priority: i64| {
        let spec = json!({ "priority": priority });
        place(&mut world, pod(name, "1", "1Gi"), spec);
    };
    wait("low", 1);
    wait("high", 100);
    wait("middle", 10);
    let gated = json!({ "schedulingGates": [{ "name": "example.com/wait" }] });
    assert_eq!(
        place(&mut world, pod("gated", "100m", "64Mi"), gated),
        "no verdict"
    );
    world.create(NODES, "", node("n1", "2", "16Gi"));
    world.run(15 * SECOND);
    assert_eq!(verdict(&world, "high"), "n1");
    assert_eq!(verdict(&world, "middle"), "n1");
    assert!(verdict(&world, "low").contains("Insufficient cpu"));
    world.create(NODES, "", node("n2", "2", "16Gi"));
    world.patch(
        PODS,
        "default",
        "gated",
        json!({ "spec": { "schedulingGates": null } }),
    );
    world.pump();
    assert_eq!(verdict(&world, "gated"), "n2");
}

#[test]
fn the_least_allocated_node_wins() {
    // Case `sched-scoring-least-allocated`: pods go to the emptier of two nodes.
    let mut world = world(vec![
        shaped("n1", "4", &[], &[]),
        shaped("n2", "4", &[], &[]),
    ]);
    let on = json!({ "nodeName": "n1" });
    place(&mut world, pod("fill", "1", "1Gi"), on);
    let mut next = |name: &str| place(&mut world, pod(name, "500m", "512Mi"), json!({}));
    assert_eq!(
        [next("a"), next("b"), next("c"), next("d")],
        ["n2", "n2", "n1", "n2"]
    );
}

#[test]
fn nine_pods_spread_over_three_zones() {
    // Case `sched-topology-spread-9-over-3`: zones of 1, 2 and 3 nodes get three pods each.
    let zone = |name, zone| shaped(name, "8", &[("topology.kubernetes.io/zone", zone)], &[]);
    let mut world = world(vec![
        zone("a1", "a"),
        zone("b1", "b"),
        zone("b2", "b"),
        zone("c1", "c"),
        zone("c2", "c"),
        zone("c3", "c"),
    ]);
    let mut count = std::collections::BTreeMap::new();
    for index in 0..9 {
        let mut p = pod(&format!("p{index}"), "100m", "64Mi");
        p["metadata"]["labels"] = json!({ "app": "s" });
        let spread = json!({ "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app": "s" } },
        }] });
        let node = place(&mut world, p, spread);
        *count
            .entry(node.chars().next().expect("a name"))
            .or_insert(0) += 1;
    }
    assert_eq!(count.into_values().collect::<Vec<_>>(), [3, 3, 3]);
}
