//! Resources, prices, pools, limits, taints.

use insta::assert_snapshot;

use super::check;

const GENERAL: &str = "types=D2s_v5,D4s_v5,D8s_v5,D16s_v5,D2as_v5,D4as_v5,D8as_v5";

#[test]
fn ten_pods_share_one_node() {
    assert_snapshot!(check(&format!("
        pool general {GENERAL} capacity=spot|on-demand
        pods inflate x10 1cpu 1Gi
    ")), @"new general/D16s_v5 on-demand|spot $0.2400 <- inflate-0,1,2,3,4,5,6,7,8,9");
}

#[test]
fn weights_come_first_and_limits_overflow_into_the_next_pool() {
    assert_snapshot!(check("
        pool reserve types=D4s_v5 capacity=on-demand
        pool first types=D4s_v5 capacity=on-demand weight=10 limit=cpu:4
        pods web x6 1cpu 1Gi
    "), @r"
    new first/D4s_v5 on-demand $0.2300 <- web-0,1,2
    new reserve/D4s_v5 on-demand $0.2300 <- web-3,4,5
    ");
}

#[test]
fn a_tainted_gpu_pool_takes_only_pods_that_ask_for_it() {
    assert_snapshot!(check("
        pool gpu types=NC4as_T4_v3 capacity=on-demand taint=sku=gpu:NoSchedule weight=50
        pool general types=D4s_v5 capacity=on-demand
        pods web x1 1cpu 1Gi
        pods train x2 1cpu 1Gi gpu=1 tolerate=sku=gpu:NoSchedule
        pods naive x1 1cpu 1Gi gpu=1
    "), @r#"
    new gpu/NC4as_T4_v3 on-demand $0.6580 <- train-0
    new gpu/NC4as_T4_v3 on-demand $0.6580 <- train-1
    new general/D4s_v5 on-demand $0.2300 <- web-0
    naive-0 stays: incompatible with nodepool "general", too small, nvidia.com/gpu short by 1 (nearest: D4s_v5); incompatible with nodepool "gpu", did not tolerate taint sku=gpu:NoSchedule
    "#);
}

#[test]
fn sold_out_offerings_are_passed_over() {
    assert_snapshot!(check("
        type small 2cpu 8Gi $0.10 spot=$0.02 sold-out=1/spot sold-out=2 sold-out=3
        type large 8cpu 32Gi $0.50 sold-out=all
        pool general types=small,large capacity=spot|on-demand
        pods web x1 1cpu 1Gi
        pods big x1 6cpu 1Gi
    "), @r#"
    new general/small on-demand $0.1000 <- web-0
    big-0 stays: incompatible with nodepool "general", no offering is available (nearest: large)
    "#);
}

#[test]
fn existing_and_in_flight_nodes_are_filled_first() {
    assert_snapshot!(check("
        pool general types=D4s_v5 capacity=on-demand
        node a-in-flight D4s_v5 pool=general in-flight
        node b-ready D4s_v5 pool=general
        node c-tainted D4s_v5 pool=general taint=x=y:NoSchedule
        node d-leaving D4s_v5 pool=general deleting
        node e-cordoned D4s_v5 pool=general cordoned
        pods web x7 1cpu 1Gi
    "), @r"
    a-in-flight <- web-3,4,5
    b-ready <- web-0,1,2
    new general/D4s_v5 on-demand $0.2300 <- web-6
    ");
}

#[test]
fn daemons_take_their_share_of_every_new_node() {
    assert_snapshot!(check("
        pool general types=D2s_v5,D4s_v5 capacity=on-demand
        daemon agent 1cpu 1Gi
        pods web x1 1cpu 1Gi
    "), @"new general/D4s_v5 on-demand $0.2300 <- web-0");
}

#[test]
fn selectors_narrow_type_zone_and_capacity_type() {
    assert_snapshot!(check("
        pool general types=D2s_v5,D4s_v5 capacity=spot|on-demand label=team=a
        pods zonal x1 1cpu 1Gi select=topology.kubernetes.io/zone=westeurope-2
        pods od x1 1cpu 1Gi select=karpenter.sh/capacity-type=on-demand
        pods big x1 1cpu 1Gi require=karpenter.azure.com/sku-cpu:Gt:2
        pods team x1 1cpu 1Gi select=team=a
        pods other x1 1cpu 1Gi select=team=b
        pods custom x1 1cpu 1Gi select=unknown=b
    "), @r#"
    new general/D4s_v5 on-demand $0.2300 <- big-0 od-0 team-0
    new general/D2s_v5(+1) on-demand|spot 2 $0.0300 <- zonal-0
    other-0 stays: incompatible with nodepool "general", incompatible requirements, key team
    custom-0 stays: incompatible with nodepool "general", incompatible requirements, key unknown
    "#);
}

#[test]
fn every_pod_without_a_place_has_a_reason() {
    assert_snapshot!(check("
        pool closed not-ready
        pool small types=D2s_v5 capacity=on-demand
        pool spent types=D16s_v5 capacity=on-demand limit=cpu:8
        pods huge x2 12cpu 1Gi
        pods memory x1 1cpu 500Gi
    "), @r#"
    huge-0,1 stays: incompatible with nodepool "closed", node class is not ready; incompatible with nodepool "small", too small, cpu short by 10100 (nearest: D2s_v5); incompatible with nodepool "spent", limit of cpu exceeded (nearest: D16s_v5)
    memory-0 stays: incompatible with nodepool "closed", node class is not ready; incompatible with nodepool "small", too small, memory short by 529354719232 (nearest: D2s_v5); incompatible with nodepool "spent", too small, memory short by 469225177088 (nearest: D16s_v5)
    "#);
}
