//! Topology spread and pod (anti-)affinity.

use insta::assert_snapshot;

use super::check;

#[test]
fn pods_spread_over_zones() {
    assert_snapshot!(check("
        pool general types=D4s_v5 capacity=on-demand
        pods web x5 1cpu 1Gi spread=zone:1
    "), @r"
    new general/D4s_v5 on-demand 1 $0.2300 <- web-0,3
    new general/D4s_v5 on-demand 2 $0.2300 <- web-1,4
    new general/D4s_v5 on-demand 3 $0.2300 <- web-2
    ");
}

#[test]
fn pods_on_nodes_count_for_spread() {
    assert_snapshot!(check("
        pool general types=D2s_v5,D4s_v5 capacity=on-demand
        node a D2s_v5 pool=general zone=1
        pods old x1 1cpu 1Gi on=a app=web
        pods web x2 1cpu 1Gi spread=zone:1
    "), @r"
    new general/D2s_v5(+1) on-demand 2 $0.1150 <- web-0
    new general/D2s_v5(+1) on-demand 3 $0.1150 <- web-1
    ");
}

#[test]
fn a_zone_that_cannot_be_had_now_does_not_hold_up_the_others() {
    assert_snapshot!(check("
        type small 2cpu 8Gi $0.10 sold-out=3
        pool general types=small capacity=on-demand
        pods web x4 1500m 1Gi spread=zone:1
    "), @r"
    new general/small on-demand 1 $0.1000 <- web-0
    new general/small on-demand 2 $0.1000 <- web-1
    new general/small on-demand 1 $0.1000 <- web-2
    new general/small on-demand 2 $0.1000 <- web-3
    ");
}

#[test]
fn a_pod_that_would_worsen_the_skew_stays() {
    assert_snapshot!(check("
        pool general types=D2s_v5 capacity=on-demand zones=1
        node far D2s_v5 zone=2
        pods fill x1 1900m 1Gi on=far
        pods web x3 100m 1Gi spread=zone:1 select=topology.kubernetes.io/zone=westeurope-1
        pods both x3 1800m 1Gi spread=zone:1 app=both
    "), @r#"
    new general/D2s_v5 on-demand 1 $0.1150 <- both-0 web-0
    new general/D2s_v5 on-demand 1 $0.1150 <- web-1,2
    both-1,2 stays: incompatible with nodepool "general", topology spread over topology.kubernetes.io/zone (nearest: D2s_v5)
    "#);
}

#[test]
fn host_spread_and_anti_affinity_open_one_node_each() {
    assert_snapshot!(check("
        pool general types=D2s_v5,D16s_v5 capacity=on-demand
        node a D16s_v5 pool=general
        pods old x1 100m 100Mi on=a app=web
        pods web x2 100m 100Mi anti=hostname
        pods api x3 100m 100Mi spread=hostname:1
    "), @r"
    a <- api-0
    new general/D2s_v5(+1) on-demand $0.1150 <- api-1 web-0
    new general/D2s_v5(+1) on-demand $0.1150 <- api-2 web-1
    ");
}

#[test]
fn zonal_anti_affinity_claims_every_zone_it_may_land_in() {
    assert_snapshot!(check("
        pool general types=D2s_v5 capacity=on-demand
        pods web x2 100m 100Mi anti=zone
        pods pinned x2 100m 100Mi anti=zone app=pinned select=topology.kubernetes.io/zone=westeurope-2
    "), @r#"
    new general/D2s_v5 on-demand 2 $0.1150 <- pinned-0 web-0
    new general/D2s_v5 on-demand 1|3 $0.1150 <- web-1
    pinned-1 stays: incompatible with nodepool "general", pod affinity over topology.kubernetes.io/zone (nearest: D2s_v5)
    "#);
}

#[test]
fn pods_on_nodes_keep_others_away() {
    assert_snapshot!(check("
        pool general types=D2s_v5,D16s_v5 capacity=on-demand
        node a D16s_v5 pool=general zone=1
        node b D16s_v5 pool=general zone=2
        pods hermit x1 100m 100Mi on=a anti=zone/web
        pods web x1 100m 100Mi
    "), @"b <- web-0");
}

#[test]
fn affinity_gathers_pods_in_one_domain() {
    assert_snapshot!(check("
        pool general types=D2s_v5 capacity=on-demand
        node b D2s_v5 pool=general zone=2
        pods target x1 100m 100Mi on=b
        pods near x2 1500m 100Mi affinity=zone/target
        pods group x3 1500m 100Mi affinity=zone app=group
        pods lost x1 100m 100Mi affinity=zone/nobody
    "), @r#"
    b <- group-0
    new general/D2s_v5 on-demand 2 $0.1150 <- group-1
    new general/D2s_v5 on-demand 2 $0.1150 <- group-2
    new general/D2s_v5 on-demand 2 $0.1150 <- near-0
    new general/D2s_v5 on-demand 2 $0.1150 <- near-1
    lost-0 stays: incompatible with nodepool "general", pod affinity over topology.kubernetes.io/zone (nearest: D2s_v5)
    "#);
}

#[test]
fn soft_constraints_are_dropped_one_at_a_time() {
    assert_snapshot!(check("
        pool general types=D2s_v5 capacity=on-demand zones=1
        pods a x1 1cpu 1Gi prefer=10:topology.kubernetes.io/zone:In:westeurope-3
        pods b x2 1500m 1Gi soft-spread=zone:1 prefer-affinity=5:zone/nobody
        pods c x2 100m 1Gi prefer-anti=1:hostname
    "), @r"
    new general/D2s_v5 on-demand 1 $0.1150 <- b-0 c-0
    new general/D2s_v5 on-demand 1 $0.1150 <- b-1 c-1
    new general/D2s_v5 on-demand 1 $0.1150 <- a-0
    ");
}

#[test]
fn two_spreads_find_a_common_domain() {
    assert_snapshot!(check("
        pool general types=D4s_v5 capacity=spot|on-demand
        pods web x6 1500m 1Gi spread=zone:1 spread=karpenter.sh/capacity-type:1
    "), @r"
    new general/D4s_v5 on-demand 1 $0.2300 <- web-0,4
    new general/D4s_v5 spot 2 $0.0600 <- web-1,3
    new general/D4s_v5 on-demand 3 $0.2300 <- web-2
    new general/D4s_v5 spot 3 $0.0600 <- web-5
    ");
}

#[test]
fn domains_honor_the_pods_selectors() {
    assert_snapshot!(check("
        type small 2cpu 8Gi $0.10 spot=$0.02 sold-out=2/on-demand sold-out=3/on-demand
        pool general types=small capacity=spot|on-demand
        pods web x2 1500m 1Gi spread=zone:1 select=karpenter.sh/capacity-type=on-demand
    "), @r"
    new general/small on-demand 1 $0.1000 <- web-0
    new general/small on-demand 1 $0.1000 <- web-1
    ");
}

#[test]
fn a_node_without_the_key_shares_no_domain() {
    assert_snapshot!(check("
        node a D4s_v5
        pods web x2 1cpu 1Gi anti=example.com/rack
    "), @"a <- web-0,1");
}
