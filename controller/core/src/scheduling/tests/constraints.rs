//! Affinity terms, volumes, host ports, minValues, laps.

use insta::assert_snapshot;

use super::{check, check_with};
use crate::fixture::OPTIONS;
use crate::scheduling::{MinValuesPolicy, PreferencePolicy, SchedulingOptions};

#[test]
fn alternatives_of_required_affinity_are_tried_in_order() {
    assert_snapshot!(check("
        pool general types=D2s_v5,D4s_v5 capacity=on-demand
        pods web x1 100m 1Gi require=node.kubernetes.io/instance-type:In:gone require=node.kubernetes.io/instance-type:In:D4s_v5
    "), @"new general/D4s_v5 on-demand $0.2300 <- web-0");
}

#[test]
fn preferences_hold_while_they_can_and_can_be_ignored() {
    let text = "
        pool general types=D2s_v5,D4s_v5 capacity=on-demand
        pods web x1 100m 1Gi prefer=1:topology.kubernetes.io/zone:In:westeurope-1 prefer=50:topology.kubernetes.io/zone:In:westeurope-2
    ";
    assert_snapshot!(check(text), @"new general/D2s_v5(+1) on-demand 2 $0.1150 <- web-0");
    let ignore = SchedulingOptions {
        preferences: PreferencePolicy::Ignore,
        ..OPTIONS
    };
    assert_snapshot!(check_with(text, ignore), @"new general/D2s_v5(+1) on-demand $0.1150 <- web-0");
}

#[test]
fn volumes_fix_the_zone() {
    assert_snapshot!(check("
        pool general types=D2s_v5 capacity=on-demand zones=1,2
        node a D2s_v5 pool=general zone=1
        pods db x1 100m 1Gi volume-zones=2|3 volume-zones=2
        pods far x1 100m 1Gi volume-zones=3
    "), @r#"
    new general/D2s_v5 on-demand 2 $0.1150 <- db-0
    far-0 stays: incompatible with nodepool "general", volume is in another zone (nearest: D2s_v5)
    "#);
}

#[test]
fn one_host_port_per_node() {
    assert_snapshot!(check("
        pool general types=D4s_v5 capacity=on-demand
        node a D4s_v5 pool=general
        daemon proxy 100m 100Mi port=9000
        pods old x1 100m 100Mi on=a port=80
        pods web x2 100m 100Mi port=80
        pods clash x1 100m 100Mi port=9000
    "), @r"
    a <- clash-0
    new general/D4s_v5 on-demand $0.2300 <- web-0
    new general/D4s_v5 on-demand $0.2300 <- web-1
    ");
}

#[test]
fn min_values_keep_choice() {
    let text = "
        pool general types=D2s_v5,D4s_v5,D8s_v5 capacity=on-demand require=node.kubernetes.io/instance-type:Exists::2
        pods web x7 1cpu 1Gi
        pods big x1 6cpu 1Gi
    ";
    assert_snapshot!(check(text), @r#"
    new general/D4s_v5(+1) on-demand $0.2300 <- web-0,1,2
    new general/D4s_v5(+1) on-demand $0.2300 <- web-3,4,5
    new general/D2s_v5(+2) on-demand $0.1150 <- web-6
    big-0 stays: incompatible with nodepool "general", minValues of node.kubernetes.io/instance-type: 1 left, 2 needed (nearest: D8s_v5)
    "#);
    let best_effort = SchedulingOptions {
        min_values: MinValuesPolicy::BestEffort,
        ..OPTIONS
    };
    assert_snapshot!(check_with(text, best_effort), @r"
    new general/D8s_v5 on-demand $0.4600 <- big-0 web-0
    new general/D4s_v5(+1) on-demand $0.2300 <- web-1,2,3
    new general/D4s_v5(+1) on-demand $0.2300 <- web-4,5,6
    ");
}

#[test]
fn taints_that_only_prefer_are_tolerated_last() {
    assert_snapshot!(check("
        pool general types=D2s_v5 capacity=on-demand taint=slow:PreferNoSchedule
        pods web x1 100m 1Gi
    "), @"new general/D2s_v5 on-demand $0.1150 <- web-0");
}

#[test]
fn a_limit_on_nodes_counts_within_one_pass() {
    assert_snapshot!(check("
        pool general types=D2s_v5 capacity=on-demand limit=nodes:2
        node a D2s_v5 pool=general
        pods full x1 1800m 1Gi on=a
        pods web x3 1cpu 1Gi
    "), @r#"
    new general/D2s_v5 on-demand $0.1150 <- web-0
    web-1,2 stays: incompatible with nodepool "general", limit of nodes exceeded (nearest: D2s_v5)
    "#);
}

#[test]
fn pods_that_fit_nowhere_do_not_starve_the_others() {
    assert_snapshot!(check("
        pool general types=D2s_v5 capacity=on-demand
        pods huge x200 64cpu 1Gi
        pods web x1 1cpu 1Gi
    ").lines().next().expect("a line"), @"new general/D2s_v5 on-demand $0.1150 <- web-0");
}

#[test]
fn the_step_budget_leaves_the_rest_for_the_next_pass() {
    let few = SchedulingOptions {
        steps_max: 2,
        ..OPTIONS
    };
    assert_snapshot!(check_with("
        pool general types=D2s_v5 capacity=on-demand
        pods web x4 1cpu 1Gi
    ", few), @r"
    new general/D2s_v5 on-demand $0.1150 <- web-0
    new general/D2s_v5 on-demand $0.1150 <- web-1
    out of steps
    ");
}

#[test]
fn labels_of_existing_nodes_are_facts() {
    assert_snapshot!(check("
        node a D4s_v5
        pods first x1 1cpu 1Gi require=team:NotIn:red
        pods second x1 100m 1Gi require=team:In:blue
    "), @r"
    a <- first-0
    second-0 stays: no nodepool exists or is ready
    ");
}

#[test]
fn existing_nodes_serve_without_a_ready_pool() {
    assert_snapshot!(check("
        pool general types=D4s_v5 not-ready
        node a D4s_v5 pool=general
        pods web x4 1cpu 1Gi
    "), @r#"
    a <- web-0,1,2
    web-3 stays: incompatible with nodepool "general", node class is not ready
    "#);
}
