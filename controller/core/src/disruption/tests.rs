//! Disruption by method, over text fixtures.

use insta::assert_snapshot;

use super::{DisruptionPolicy, StepBudget, plan_disruption, validate};
use crate::fixture::{self, NOW, OPTIONS};

fn check(text: &str) -> String {
    check_with(text, false)
}

fn check_with(text: &str, spot_to_spot: bool) -> String {
    let fixture = fixture::parse(text);
    let policy = DisruptionPolicy {
        scheduling: OPTIONS,
        spot_to_spot,
    };
    let budget = StepBudget {
        simulations_max: 1000,
    };
    fixture::render_plan(&plan_disruption(&fixture.snapshot, &policy, NOW, budget))
}

const POOL: &str = "types=D2s_v5,D4s_v5,D8s_v5,D16s_v5 budget=100%";

#[test]
fn empty_nodes_go_together_within_the_budget() {
    assert_snapshot!(check("
        pool general types=D2s_v5,D4s_v5 budget=50%
        node a D2s_v5 pool=general
        node b D4s_v5 pool=general
        node c D4s_v5 pool=general
        node d D4s_v5 pool=general
        pods web x1 1cpu 1Gi on=d
        pods agent x1 100m 64Mi on=a daemon
    "), @r"
    Empty: delete b,c saves $0.4600
    a stays: disruption budget allows 2 nodes
    d stays: not evaluated in this pass
    ");
}

#[test]
fn after_scaling_down_the_large_node_is_replaced_by_a_small_one() {
    assert_snapshot!(check(&format!("
        pool general {POOL} capacity=on-demand
        node big D16s_v5 pool=general
        pods inflate x2 1cpu 1Gi on=big
    ")), @r"
    Underutilized: delete big saves $0.6900
      replaced by general/D4s_v5(+1) on-demand $0.2300 <- inflate-0,1
    ");
}

#[test]
fn a_node_whose_pods_fit_elsewhere_is_deleted() {
    assert_snapshot!(check(&format!("
        pool general {POOL} capacity=on-demand
        node a D4s_v5 pool=general
        node b D4s_v5 pool=general
        pods web x2 1cpu 1Gi on=a
        pods api x1 1cpu 1Gi on=b
    ")), @r"
    Underutilized: delete b saves $0.2300
    a stays: not evaluated in this pass
    ");
}

#[test]
fn every_node_that_stays_has_its_reason() {
    assert_snapshot!(check("
        pool general types=D2s_v5 capacity=on-demand budget=100%
        pool still types=D2s_v5 after=Never
        pool careful types=D2s_v5 policy=WhenEmpty
        pool slow types=D2s_v5 after=7200s
        node a-full D2s_v5 pool=general
        node b-protected D2s_v5 pool=general
        node c-pdb D2s_v5 pool=general
        node d-annotated D2s_v5 pool=general do-not-disrupt
        node e-nominated D2s_v5 pool=general nominated
        node f-starting D2s_v5 pool=general in-flight
        node g-going D2s_v5 pool=general deleting
        node h-still D2s_v5 pool=still
        node i-careful D2s_v5 pool=careful
        node j-slow D2s_v5 pool=slow busy
        node k-lost D2s_v5 pool=gone
        node l-foreign D2s_v5
        pdb strict app=strict allowed=0
        pods full x1 1800m 1Gi on=a-full
        pods protected x1 100m 1Gi on=b-protected do-not-disrupt
        pods strict x1 100m 1Gi on=c-pdb
        pods careful x1 100m 1Gi on=i-careful
    "), @r#"
    Underutilized: delete a-full saves $0.1150
    b-protected stays: disruption is blocked through the "do-not-disrupt" annotation on default/protected-0
    c-pdb stays: pdb default/strict prevents pod evictions
    d-annotated stays: disruption is blocked through the "do-not-disrupt" annotation on d-annotated
    e-nominated stays: node is nominated for a pending pod
    f-starting stays: nodeclaim does not have an associated node
    g-going stays: node is deleting or marked for deletion
    h-still stays: nodepool's policy forbids consolidation
    i-careful stays: nodepool's policy forbids consolidation
    j-slow stays: consolidateAfter ends in 3600s
    k-lost stays: nodepool not found
    "#);
}

#[test]
fn a_spot_node_is_replaced_by_spot_only_with_enough_choice() {
    let text = "
        pool general types=D2s_v5,D8s_v5 capacity=spot budget=100%
        node big D8s_v5 pool=general capacity=spot
        pods web x1 1cpu 1Gi on=big
    ";
    assert_snapshot!(check_with(text, false), @"big stays: SpotToSpotConsolidation is disabled, can't replace a spot node with a spot node");
    assert_snapshot!(check_with(text, true), @"big stays: SpotToSpotConsolidation requires 15 cheaper instance type options than the current candidate to consolidate, got 1");
}

#[test]
fn an_on_demand_node_is_replaced_by_spot_alone() {
    assert_snapshot!(check(&format!("
        pool general {POOL} capacity=spot|on-demand
        node big D4s_v5 pool=general
        pods web x1 1cpu 1Gi on=big
    ")), @r"
    Underutilized: delete big saves $0.2000
      replaced by general/D2s_v5(+2) spot $0.0300 <- web-0
    ");
}

#[test]
fn several_nodes_become_one() {
    assert_snapshot!(check(&format!("
        pool general {POOL} capacity=on-demand
        node a D8s_v5 pool=general
        node b D8s_v5 pool=general
        node c D8s_v5 pool=general
        pods a x1 1cpu 1Gi on=a
        pods b x1 1cpu 1Gi on=b
        pods c x1 1cpu 1Gi on=c
    ")), @r"
    Underutilized: delete a,b,c saves $1.1500
      replaced by general/D4s_v5 on-demand $0.2300 <- a-0 b-0 c-0
    ");
}

#[test]
fn drifted_nodes_are_replaced_whatever_the_price() {
    assert_snapshot!(check("
        pool general types=D4s_v5 capacity=on-demand policy=WhenEmpty budget=1
        node a D4s_v5 pool=general drifted age=100s
        node b D4s_v5 pool=general drifted age=200s
        pods a x1 3cpu 1Gi on=a
        pods b x1 3cpu 1Gi on=b
    "), @r"
    Drifted: delete b saves $0.0000
      replaced by general/D4s_v5 on-demand $0.2300 <- b-0
    a stays: not evaluated in this pass
    ");
}

#[test]
fn a_settling_node_does_not_take_pods_of_candidates() {
    assert_snapshot!(check("
        pool general types=D4s_v5 capacity=on-demand budget=100% after=60s
        node a D4s_v5 pool=general
        node b D4s_v5 pool=general busy last-pod=10s
        pods a x1 1cpu 1Gi on=a
        pods b x1 1cpu 1Gi on=b
    "), @r"
    a stays: can't replace with a cheaper node
    b stays: consolidateAfter ends in 50s
    ");
}

#[test]
fn the_step_budget_bounds_the_work() {
    let fixture = fixture::parse(
        "
        pool general types=D4s_v5 capacity=on-demand budget=100%
        node a D4s_v5 pool=general
        node b D4s_v5 pool=general
        pods a x1 3cpu 1Gi on=a
        pods b x1 3cpu 1Gi on=b
    ",
    );
    let policy = DisruptionPolicy {
        scheduling: OPTIONS,
        spot_to_spot: false,
    };
    let budget = StepBudget { simulations_max: 2 };
    let plan = plan_disruption(&fixture.snapshot, &policy, NOW, budget);
    assert_snapshot!(fixture::render_plan(&plan), @r"
    a stays: can't replace with a cheaper node
    b stays: not evaluated in this pass
    ");
}

#[test]
fn a_command_is_checked_again_before_it_is_carried_out() {
    let before = fixture::parse(
        "
        pool general types=D2s_v5,D16s_v5 capacity=on-demand budget=100%
        node a D16s_v5 pool=general
        node b D16s_v5 pool=general
        pods web x1 1cpu 1Gi on=b
    ",
    );
    let policy = DisruptionPolicy {
        scheduling: OPTIONS,
        spot_to_spot: false,
    };
    let budget = StepBudget {
        simulations_max: 10,
    };
    let empty = plan_disruption(&before.snapshot, &policy, NOW, budget)
        .commands
        .remove(0);
    assert_eq!(
        validate(&before.snapshot, &policy, NOW, &empty).as_ref(),
        Ok(&empty)
    );
    let mut used = before.snapshot.clone();
    used.nodes[0].nominated_until = Some(NOW + jiff::SignedDuration::from_secs(5));
    assert_eq!(
        validate(&used, &policy, NOW, &empty),
        Err(super::Blocked::Nominated)
    );

    let mut replaced = before.snapshot.clone();
    replaced.nodes.remove(0);
    let replace = plan_disruption(&replaced, &policy, NOW, budget)
        .commands
        .remove(0);
    assert_eq!(
        validate(&replaced, &policy, NOW, &replace).as_ref(),
        Ok(&replace)
    );
    assert_eq!(
        validate(&before.snapshot, &policy, NOW, &replace),
        Err(super::Blocked::PodsWouldNotFit),
        "the pods fit on the other node now: another plan is better"
    );
}

#[test]
fn without_spot_the_replacement_is_on_demand() {
    assert_snapshot!(check("
        type small 2cpu 8Gi $0.10 spot=$0.02 sold-out=1/spot sold-out=2/spot sold-out=3/spot
        type large 8cpu 32Gi $0.40
        pool general types=small,large capacity=spot|on-demand budget=100%
        node big large pool=general
        pods web x1 1cpu 1Gi on=big
    "), @r"
    Underutilized: delete big saves $0.3000
      replaced by general/small on-demand $0.1000 <- web-0
    ");
}
