//! Every reason is reached, its relaxation is printed, and applying it places the pod.

use std::collections::{BTreeMap, BTreeSet};

use insta::assert_snapshot;

use super::place;
use crate::explain::Reason;
use crate::fixture::{self, OPTIONS};
use crate::scheduling::{CompiledCatalogs, SchedulingInput, Verdict, verdicts};

/// A cluster in which `web-0` stays, the relaxation that is printed, and the cluster with it.
const CASES: &[(&str, &str, &str)] = &[
    (
        "pool p types=D2s_v5 taint=gpu=true:NoSchedule\npods web 1cpu",
        "tolerate the taint gpu=true:NoSchedule",
        "pool p types=D2s_v5 taint=gpu=true:NoSchedule\npods web 1cpu tolerate=gpu=true:NoSchedule",
    ),
    (
        "pool p types=D2s_v5\npods web 1cpu select=team=a",
        "drop the requirement on team",
        "pool p types=D2s_v5\npods web 1cpu",
    ),
    (
        "pool p types=D2s_v5 limit=cpu:1\npods web 1cpu",
        "raise the limit of cpu",
        "pool p types=D2s_v5 limit=cpu:2\npods web 1cpu",
    ),
    (
        "pool p types=D2s_v5 not-ready\npods web 1cpu",
        "make the pool and its node class ready",
        "pool p types=D2s_v5\npods web 1cpu",
    ),
    (
        "pool p require=karpenter.azure.com/sku-cpu:In:3\npods web 1cpu",
        "drop the requirement on karpenter.azure.com/sku-cpu",
        "pool p\npods web 1cpu",
    ),
    (
        "pool p types=D2s_v5\npods web 2cpu",
        "request 100m less of cpu",
        "pool p types=D2s_v5\npods web 1900m",
    ),
    (
        "pool p types=D2s_v5\ndaemon agent 1cpu\npods web 1cpu",
        "let daemon sets request less",
        "pool p types=D2s_v5\ndaemon agent 900m\npods web 1cpu",
    ),
    (
        "type tiny 2cpu 8Gi $0.10 pods=0\npool p types=tiny\npods web 1cpu",
        "request 1 less of pods",
        "type tiny 2cpu 8Gi $0.10 pods=1\npool p types=tiny\npods web 1cpu",
    ),
    (
        "type z 2cpu 8Gi $0.10 zones=1\npool p types=z zones=2\npods web 1cpu",
        "allow another zone or capacity type",
        "type z 2cpu 8Gi $0.10 zones=1\npool p types=z zones=1,2\npods web 1cpu",
    ),
    (
        "pool p types=D2s_v5 zones=1\npods web 1cpu volume-zones=3",
        "move the volume to an allowed zone",
        "pool p types=D2s_v5 zones=1\npods web 1cpu volume-zones=1",
    ),
    (
        "pool p types=D2s_v5\ndaemon agent 1m port=80\npods web 1cpu port=80",
        "give up the host port",
        "pool p types=D2s_v5\ndaemon agent 1m port=80\npods web 1cpu",
    ),
    (
        "pool p types=D2s_v5\npods web 1cpu affinity=zone/nobody",
        "make the constraint over topology.kubernetes.io/zone a preference",
        "pool p types=D2s_v5\npods web 1cpu prefer-affinity=1:zone/nobody",
    ),
    (
        "pool p types=D2s_v5 zones=1\nnode n D2s_v5 zone=2 cordoned\npods old on=n 1m app=x\n\
         pods web 1cpu spread=zone:1:3 app=web\npods more 1500m app=web select=topology.kubernetes.io/zone=westeurope-1",
        "make the constraint over topology.kubernetes.io/zone a preference",
        "pool p types=D2s_v5 zones=1\npods web 1cpu soft-spread=zone:1:3",
    ),
    (
        "pool p capacity=on-demand require=node.kubernetes.io/instance-type:In:D2s_v5|D4s_v5:3\npods web 1cpu",
        "lower minValues of node.kubernetes.io/instance-type to 2",
        "pool p capacity=on-demand require=node.kubernetes.io/instance-type:In:D2s_v5|D4s_v5:2\npods web 1cpu",
    ),
    (
        "type s 2cpu 8Gi $0.10 sold-out=all\npool p types=s\npods web 1cpu",
        "wait until the offering is tried again",
        "type s 2cpu 8Gi $0.10\npool p types=s\npods web 1cpu",
    ),
];

#[test]
fn every_reason_is_reached_and_its_relaxation_places_the_pod() {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    for (text, expected, relaxed) in CASES {
        let placement = place(text);
        let web = placement
            .unschedulable
            .iter()
            .find(|(key, _)| &*key.name == "web-0");
        let (_, explanation) = web.unwrap_or_else(|| panic!("web-0 is placed in\n{text}"));
        let reason = &explanation.pools[&"p".into()];
        let relaxation = reason.relaxation().expect("a refusal can be relaxed");
        assert_eq!(relaxation.to_string(), *expected, "{text}\n{reason:?}");
        let name = format!("{reason:?}");
        reached.insert(name.split(' ').next().unwrap_or("").to_owned());
        let after = place(relaxed);
        assert!(after.unschedulable.is_empty(), "{relaxed}");
    }
    // All but `Chosen` and `Dominated`, which are verdicts on types.
    assert_eq!(reached.len(), 15, "{reached:?}");
}

fn judged(text: &str) -> Vec<Verdict> {
    let fixture = fixture::parse(text);
    let input = SchedulingInput {
        snapshot: &fixture.snapshot,
        pods: &fixture.snapshot.pending,
        excluded: &BTreeSet::new(),
        options: OPTIONS,
    };
    verdicts(
        &input,
        &fixture.snapshot.pending[0],
        &CompiledCatalogs::default(),
    )
}

#[test]
fn every_size_and_zone_has_one_verdict() {
    let verdicts = judged(
        "
        type big 8cpu 32Gi $0.40 sold-out=2
        pool p types=D2s_v5,D4s_v5,big capacity=on-demand zones=1,2
        pods web 3cpu 1Gi
    ",
    );
    let sizes: BTreeSet<_> = verdicts
        .iter()
        .map(|verdict| &verdict.instance_type)
        .collect();
    assert_eq!(verdicts.len(), sizes.len() * 3);
    let mut counts: BTreeMap<Reason, usize> = BTreeMap::new();
    for verdict in &verdicts {
        *counts.entry(verdict.reason.clone()).or_default() += 1;
    }
    assert_eq!(counts.values().sum::<usize>(), verdicts.len());
    let shown = verdicts
        .iter()
        .filter(|verdict| ["D2s_v5", "D4s_v5", "big"].contains(&verdict.instance_type.as_str()));
    let lines: Vec<String> = shown
        .map(|v| {
            let price = v
                .price
                .map_or_else(|| "-".to_owned(), |price| price.to_string());
            let cpu = v.slack.cpu_milli;
            format!(
                "{} {}: {} {cpu}m {price}",
                v.instance_type, v.zone, v.reason
            )
        })
        .collect();
    assert_snapshot!(lines.join("\n"), @r"
    D2s_v5 westeurope-1: too small, cpu short by 1100 -1100m $0.1150
    D2s_v5 westeurope-2: too small, cpu short by 1100 -1100m $0.1150
    D2s_v5 westeurope-3: no offering in an allowed zone and capacity type -1100m -
    D4s_v5 westeurope-1: chosen 900m $0.2300
    D4s_v5 westeurope-2: something cheaper was taken 900m $0.2300
    D4s_v5 westeurope-3: no offering in an allowed zone and capacity type 900m -
    big westeurope-1: something cheaper was taken 4900m $0.4000
    big westeurope-2: no offering is available 4900m -
    big westeurope-3: no offering in an allowed zone and capacity type 4900m -
    ");
}
