//! Behaviours that upstream's tests pin, one line each. The numbers are those of the rows in
//! [`CASES`]; sources are the suites of `kubernetes-sigs/karpenter` `pkg/controllers/provisioning`
//! and `pkg/scheduling`.
//!
//! What is expected: `new` claims, pods that `stay`, the `first` (cheapest) type of every claim,
//! pods `on` a node, pods of an app by `zones` where the zone is certain, most first.

use std::collections::BTreeMap;

use super::place;
use crate::fixture;
use crate::labels;
use crate::model::{PodKey, Snapshot};
use crate::requirements::{Requirement, Requirements};
use crate::scheduling::Placement;

/// Number, fixture, expectation. `ZONE`, `Z1`, `CT` and `TYPE` stand for the long label keys and
/// values.
const CASES: &[(u16, &str, &str)] = &[
    // Requirements and labels.
    (
        1,
        "pool p types=D2s_v5 | pods a 1cpu select=k=v | pods b 1cpu require=k:Exists:",
        "new=0 stay=2",
    ),
    (
        2,
        "pool p types=D4s_v5 | pods a 1cpu require=k:NotIn:v | pods b 1cpu require=k:DoesNotExist:",
        "new=1 stay=0",
    ),
    (
        3,
        "pool p types=D4s_v5 label=k=v | pods a 1cpu select=k=v | pods b 1cpu require=k:Exists: | pods c 1cpu require=k:NotIn:w",
        "new=1 stay=0",
    ),
    (
        4,
        "pool p types=D4s_v5 label=k=v | pods a 1cpu require=k:NotIn:v | pods b 1cpu require=k:DoesNotExist: | pods c 1cpu select=k=w",
        "new=0 stay=3",
    ),
    (
        6,
        "pool p types=D4s_v5 | pods a 1cpu select=kubernetes.io/hostname=x",
        "new=0 stay=1",
    ),
    (
        9,
        "pool p types=D4s_v5 zones=1,2 | pods a 1cpu select=ZONE=Z3",
        "new=0 stay=1",
    ),
    (
        10,
        "pool p require=karpenter.azure.com/sku-cpu:Gt:8 capacity=on-demand | pods a 1cpu",
        "new=1 first=D16s_v5",
    ),
    (
        10,
        "pool p require=karpenter.azure.com/sku-cpu:Gte:16 capacity=on-demand | pods a 1cpu",
        "new=1 first=D16s_v5",
    ),
    (
        10,
        "pool p require=karpenter.azure.com/sku-cpu:Lt:4 capacity=on-demand | pods a 1cpu",
        "new=1 first=D2as_v5",
    ),
    (
        10,
        "pool p require=karpenter.azure.com/sku-cpu:Lte:2 capacity=on-demand | pods a 4cpu",
        "new=0 stay=1",
    ),
    (
        11,
        "pool p types=D4s_v5 | pods a 1cpu select=ZONE=Z1 prefer=1:ZONE:NotIn:Z1",
        "new=1 zones=a:1",
    ),
    (
        12,
        "pool p types=D4s_v5,D8s_v5 | pods a 1cpu select=ZONE=Z2 prefer=1:TYPE:In:D8s_v5 require=CT:In:on-demand",
        "new=1 first=D8s_v5 zones=a:1",
    ),
    (
        13,
        "pool p types=D4s_v5 | pods a 1cpu select=ZONE=Z1 | pods b 1cpu require=ZONE:In:Z1|Z2",
        "new=1 zones=a:1",
    ),
    (
        14,
        "pool p types=D4s_v5 | pods a 1cpu select=ZONE=Z1 | pods b 1cpu select=ZONE=Z2",
        "new=2",
    ),
    (
        15,
        "pool p types=D4s_v5 not-ready | pods a 1cpu",
        "new=0 stay=1",
    ),
    (
        16,
        "pool p types=D4s_v5 | pods a 1cpu require=ZONE:In:mars require=ZONE:In:Z2",
        "new=1 zones=a:1",
    ),
    (
        17,
        "pool p types=D4s_v5 | pods a 1cpu require=ZONE:In:mars",
        "new=0 stay=1",
    ),
    (
        18,
        "pool p types=D4s_v5 | pods a 1cpu prefer=100:ZONE:In:mars prefer=50:ZONE:In:Z2 prefer=1:ZONE:In:Z1 require=ZONE:NotIn:Z1",
        "new=1 zones=a:1",
    ),
    (
        19,
        "pool p types=D4s_v5 | pods a 1cpu require=ZONE:In:Z3 prefer=1:ZONE:In:Z1",
        "new=1 zones=a:1",
    ),
    (
        20,
        "pool p types=D4s_v5 | pods a 1cpu select=failure-domain.beta.kubernetes.io/zone=Z2",
        "new=1 zones=a:1",
    ),
    (
        27,
        "pool p types=D4s_v5 require=tier:Exists: | pods a 1cpu select=tier=gold",
        "new=1 stay=0",
    ),
    (
        27,
        "pool p types=D4s_v5 require=tier:DoesNotExist: | pods a 1cpu select=tier=gold",
        "new=0 stay=1",
    ),
    // Instance types and price.
    (30, "pool p types=gone | pods a 1cpu", "new=0 stay=1"),
    (
        31,
        "type x 2cpu 8Gi $0.10 spot=$0.09 | type y 2cpu 8Gi $0.20 spot=$0.01 | pool p types=x,y capacity=on-demand | pods a 1cpu",
        "new=1 first=x",
    ),
    (
        32,
        "type x 2cpu 8Gi $0.10 | type y 8cpu 32Gi $0.05 | pool p types=x,y | pods a 1cpu",
        "new=1 first=y",
    ),
    (
        33,
        "type x 8cpu 5Gi $0.10 | pool p types=x | pods l x40 100m 1800Mi | pods s x20 100m 400Mi",
        "new=20 stay=0",
    ),
    (
        34,
        "type x 4cpu 8Gi $0.10 pods=5 | pool p types=x | pods a x25 10m 10Mi",
        "new=5",
    ),
    (36, "pool p types=D2s_v5 | pods a 3cpu", "new=0 stay=1"),
    (39, "pool p types=D2s_v5 | pods a 0cpu", "new=1 stay=0"),
    (
        40,
        "type a 2cpu 8Gi $0.10 gpu=1 | type b 2cpu 8Gi $0.10 label=x=1 | pool p types=a,b label=y=1 | pods g 1cpu gpu=1 | pods n 1cpu gpu=2",
        "new=1 stay=1",
    ),
    (
        43,
        "pool p types=D2s_v5,D4s_v5 capacity=on-demand require=TYPE:In:D2s_v5|D4s_v5:2 | pods a x2 1cpu",
        "new=2 stay=0",
    ),
    (
        45,
        "pool p capacity=on-demand require=TYPE:In:D2s_v5|D4s_v5:3 | pods a 1cpu",
        "new=0 stay=1",
    ),
    // Existing and in-flight nodes.
    (
        49,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p in-flight | pods a 1cpu",
        "new=0 on=n:1",
    ),
    (
        50,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p in-flight zone=1 | pods a 1cpu select=ZONE=Z2 | pods b x2 3cpu select=ZONE=Z1",
        "new=2 on=n:1",
    ),
    (
        51,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p in-flight deleting | pods a 1cpu",
        "new=1 on=n:0",
    ),
    (
        54,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p | node m D4s_v5 pool=p | pods old on=n 1m app=a | pods old2 on=m 1m app=a | pods a x3 1m spread=hostname:1",
        "new=3 stay=0",
    ),
    (
        57,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p taint=k=v:NoSchedule | pods a 1cpu",
        "new=1 on=n:0",
    ),
    (
        58,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p | daemon d 1cpu | pods d1 on=n 1cpu daemon | pods a 2800m",
        "new=0 on=n:1",
    ),
    (
        58,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p | daemon d 1cpu | pods a 3cpu",
        "new=0 stay=1",
    ),
    (
        59,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p | daemon d 1cpu | pods d1 on=n 2cpu daemon | pods a 1800m",
        "new=0 on=n:1",
    ),
    (
        62,
        "pool p types=D4s_v5 | node a D4s_v5 pool=p in-flight | node b D4s_v5 pool=p in-flight | node c D4s_v5 pool=p | pods x 1cpu",
        "new=0 on=c:1",
    ),
    (63, "node n D4s_v5 | pods a x3 1cpu", "new=0 on=n:3"),
    (
        66,
        "pool p types=D4s_v5 | node n D2s_v5 pool=p zone=2 | pods old on=n 1500m app=a | pods a x2 1cpu affinity=zone",
        "new=1 zones=a:3",
    ),
    (67, "pool p types=D4s_v5 | pods a x2 100m port=80", "new=2"),
    // Topology spread.
    (
        72,
        "pool p types=D4s_v5 | pods a 1cpu spread=unknown:1 | pods b 1cpu",
        "new=1 stay=1",
    ),
    (
        73,
        "pool p types=D4s_v5 | pods a x2 1cpu spread=zone:1 no-selector",
        "new=1 stay=0",
    ),
    (
        74,
        "pool p types=D4s_v5 | pods a x4 1cpu spread=zone:1",
        "zones=a:2,1,1",
    ),
    (
        75,
        "pool p types=D4s_v5 zones=1,2 | pods a x4 1cpu spread=zone:1",
        "zones=a:2,2",
    ),
    (
        76,
        "pool p types=D4s_v5 label=ZONE=Z1 | pods a x4 1cpu spread=zone:1",
        "zones=a:4",
    ),
    (
        77,
        "pool p types=D4s_v5 zones=1 | pool q types=D4s_v5 zones=2 | pods a x4 1cpu spread=zone:1",
        "zones=a:2,2",
    ),
    (
        78,
        "pool p types=D4s_v5 zones=1,2 | node n D4s_v5 pool=p zone=3 cordoned | pods old on=n 1m app=a | pods a x6 1cpu spread=zone:1",
        "zones=a:2,2,1 stay=2",
    ),
    (
        79,
        "pool p types=D16s_v5 zones=3 | node n D4s_v5 pool=p zone=1 cordoned | node m D4s_v5 pool=p zone=2 cordoned | pods o on=n 1m app=a | pods o2 on=m 1m app=a | pods a x10 1m spread=zone:5",
        "zones=a:6,1,1 stay=4",
    ),
    (
        80,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p zone=1 cordoned | pods old x3 on=n 1m app=a | pods a x3 1cpu spread=zone:1",
        "zones=a:3,2,1",
    ),
    (
        81,
        "pool p types=D16s_v5 zones=2,3 | node n D4s_v5 pool=p zone=1 cordoned | pods old on=n 1m app=a | pods a x10 1m spread=zone:1",
        "zones=a:2,2,1 stay=6",
    ),
    (
        82,
        "pool p types=D4s_v5 zones=1,2 | node n D4s_v5 pool=p zone=1 | pods o on=n 1m app=other | pods t on=n 1m app=a terminating | pods f on=n 1m app=a terminal | pods e on=n 1m app=a ns=else | pods a x2 1cpu spread=zone:1",
        "zones=a:4,1 stay=0",
    ),
    (
        83,
        "pool p types=D16s_v5 | pods a x5 1m spread=hostname:1 counts=nobody",
        "new=1",
    ),
    (
        84,
        "pool p types=D4s_v5 zones=1,2 | pods a x3 1cpu spread=zone:1:3",
        "zones=a:1,1 stay=1",
    ),
    (
        85,
        "pool p types=D4s_v5 | pods a x11 1cpu spread=zone:1:3",
        "zones=a:4,4,3",
    ),
    (
        85,
        "pool p types=D4s_v5 | pods a x11 1cpu spread=zone:1:2",
        "zones=a:4,4,3",
    ),
    (
        86,
        "pool p types=D16s_v5 | pods a x4 1m spread=hostname:1",
        "new=4",
    ),
    (
        86,
        "pool p types=D16s_v5 | pods a x4 1m spread=hostname:4",
        "new=1",
    ),
    (
        87,
        "pool p types=D16s_v5 | pods a x2 1m spread=hostname:1 | pods b x2 1m spread=hostname:1",
        "new=2",
    ),
    (
        88,
        "pool p types=D4s_v5 capacity=on-demand | node n D4s_v5 pool=p capacity=spot cordoned | pods old on=n 1m app=a | pods a x5 1m spread=CT:1",
        "new=1 stay=3",
    ),
    (
        88,
        "pool p types=D4s_v5 capacity=on-demand | node n D4s_v5 pool=p capacity=spot cordoned | pods old on=n 1m app=a | pods a x5 1m soft-spread=CT:1",
        "new=1 stay=0",
    ),
    (
        89,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p capacity=on-demand cordoned | pods old on=n 1m app=a | pods a x5 1m spread=CT:1 select=CT=spot",
        "new=1 stay=0",
    ),
    (
        90,
        "pool p types=D16s_v5 | pods a x10 1m spread=zone:1 spread=hostname:3",
        "zones=a:4,3,3 stay=0",
    ),
    (
        93,
        "pool p types=D16s_v5 | pods a x2 1m spread=hostname:1 app=x | pods b x2 1m spread=hostname:1 app=y",
        "new=2",
    ),
    (
        94,
        "pool p types=D16s_v5 zones=3 | node n D4s_v5 zone=1 taint=t=1:NoSchedule | node m D4s_v5 zone=2 taint=t=1:NoSchedule | pods a x5 1m spread=zone:1",
        "new=1 stay=4",
    ),
    (
        94,
        "pool p types=D16s_v5 zones=3 | node n D4s_v5 zone=1 taint=t=1:NoSchedule | node m D4s_v5 zone=2 taint=t=1:NoSchedule | pods a x5 1m spread=zone:1 honor-taints",
        "new=1 stay=0",
    ),
    (
        95,
        "pool p types=D16s_v5 zones=1 | pool q types=D16s_v5 zones=2 taint=t=1:NoSchedule | pods a x2 1m spread=zone:1",
        "zones=a:1 stay=1",
    ),
    (
        95,
        "pool p types=D16s_v5 zones=1 | pool q types=D16s_v5 zones=2 taint=t=1:NoSchedule | pods a x2 1m spread=zone:1 honor-taints",
        "zones=a:2 stay=0",
    ),
    (
        97,
        "pool p types=D16s_v5 zones=3 label=team=a | node n D4s_v5 zone=1 | node m D4s_v5 zone=2 | pods a x5 1m spread=zone:1 select=team=a ignore-affinity",
        "zones=a:1 stay=4",
    ),
    (
        97,
        "pool p types=D16s_v5 zones=3 label=team=a | node n D4s_v5 zone=1 | node m D4s_v5 zone=2 | pods a x5 1m spread=zone:1 select=team=a",
        "zones=a:5 stay=0",
    ),
    (
        98,
        "pool p types=D16s_v5 | pods a x5 1m spread=zone:1 select=ZONE=Z1 app=w | pods b x10 1m spread=zone:1 select=ZONE=Z2 app=w",
        "zones=w:10,5",
    ),
    (
        100,
        "pool p types=D16s_v5 | pods a x6 1m spread=zone:1 prefer=1:ZONE:In:Z1|Z2",
        "zones=a:2,2,2",
    ),
    (
        101,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p zone=1 | node m D4s_v5 pool=p zone=2 | pods o on=n 1m app=a | pods o2 on=m 1m app=a | node q D2s_v5 pool=p zone=3 | pods o3 on=q 1800m app=a | pods a 1cpu spread=zone:1:3 volume-zones=3",
        "zones=a:2,1,1",
    ),
    // Pod affinity and anti-affinity.
    (
        102,
        "type x 4cpu 8Gi $0.10 pods=5 | pool p types=x | pods a x10 1m affinity=hostname",
        "new=1 stay=5",
    ),
    (
        103,
        "pool p types=D4s_v5 zones=2,3 | node n D4s_v5 pool=p zone=1 cordoned | pods old on=n 1m app=a | pods a x10 1m affinity=hostname require=ZONE:In:Z2|Z3",
        "new=0 stay=10",
    ),
    (
        104,
        "pool p types=D4s_v5 | pods a x3 1m affinity=zone require=ZONE:In:Z3",
        "new=1 zones=a:3",
    ),
    (
        105,
        "pool p types=D4s_v5 | pods a 1m affinity=zone/b select=CT=spot | pods b 1m select=CT=on-demand select=ZONE=Z1",
        "new=2 stay=0",
    ),
    (
        106,
        "pool p types=D4s_v5 | pods a 1m prefer-affinity=1:zone/nobody | pods b x2 1m prefer-anti=1:CT",
        "stay=0",
    ),
    (
        107,
        "pool p types=D4s_v5 | pods a 1m app=a | pods b 1m anti=hostname/a",
        "new=2",
    ),
    (
        107,
        "pool p types=D4s_v5 | pods a 1m anti=hostname/b | pods b 2m",
        "new=2",
    ),
    (
        108,
        "pool p types=D4s_v5 | pods a x3 1cpu spread=zone:1 | pods b 1m anti=zone/a",
        "new=3 stay=1",
    ),
    (
        109,
        "pool p types=D4s_v5 | pods a 2cpu | pods b 1m anti=zone/a",
        "new=1 stay=1",
    ),
    (
        110,
        "pool p types=D4s_v5 | pods a x3 1cpu spread=zone:1 anti=zone/b | pods b 1m",
        "new=3 stay=1",
    ),
    (
        111,
        "pool p types=D4s_v5 | pods a 1cpu anti=zone/b | pods b 1m",
        "new=1 stay=1",
    ),
    (
        112,
        "pool p types=D4s_v5 | pods a x3 1m anti=zone",
        "new=1 stay=2",
    ),
    (
        113,
        "pool p types=D4s_v5 | pods a x10 1m affinity=zone/nobody",
        "new=0 stay=10",
    ),
    (
        114,
        "pool p types=D4s_v5 | pods t 2cpu | pods a x10 1m affinity=zone/t",
        "new=1 stay=10",
    ),
    (
        114,
        "pool p types=D4s_v5 | pods t 2cpu select=ZONE=Z2 | pods a x10 1m affinity=zone/t",
        "new=1 stay=0",
    ),
    (
        115,
        "pool p types=D4s_v5 | pods db 1m | pods web 1m affinity=hostname/db | pods cache 1m affinity=hostname/web | pods ui 1m affinity=hostname/cache",
        "new=1 stay=0",
    ),
    (
        115,
        "pool p types=D4s_v5 | pods db 1m | pods web 2m affinity=hostname/db | pods cache 3m affinity=hostname/web | pods ui 4m affinity=hostname/cache",
        "new=1 stay=0",
    ),
    (
        116,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p zone=2 | pods t on=n 1m ns=else | pods a 1m affinity=zone/t",
        "stay=1",
    ),
    (
        117,
        "pool p types=D4s_v5 | pods a x3 1m spread=hostname:1 prefer-affinity=50:hostname",
        "new=3 stay=0",
    ),
    // Provisioner, volumes, limits.
    (
        123,
        "pool p types=D2s_v5 limit=cpu:1 | pods a 1cpu",
        "new=0 stay=1",
    ),
    (
        123,
        "pool p types=D2s_v5 limit=cpu:2 | pods a x2 900m",
        "new=1 stay=0",
    ),
    (
        123,
        "pool p types=D2s_v5 limit=cpu:3 | pods a x2 1500m",
        "new=1 stay=1",
    ),
    (
        124,
        "pool p types=D2s_v5 limit=pods:1 | pods a 1m",
        "new=0 stay=1",
    ),
    (
        125,
        "pool p types=D4s_v5 taint=k=v:PreferNoSchedule | daemon d 3cpu | pods a 1cpu",
        "new=0 stay=1",
    ),
    (
        125,
        "pool p types=D4s_v5 | daemon d 3cpu select=nope=1 | pods a 1cpu",
        "new=1 stay=0",
    ),
    (
        125,
        "pool p types=D4s_v5 | daemon d 3cpu require=ZONE:In:mars require=ZONE:In:Z1 | pods a 1cpu",
        "new=0 stay=1",
    ),
    (
        125,
        "pool p types=D4s_v5 | daemon d 3cpu prefer=1:ZONE:In:mars | pods a 1cpu",
        "new=0 stay=1",
    ),
    (
        125,
        "pool p types=D4s_v5 | daemon d 3cpu require=foo:NotIn:bar | pods a 1cpu",
        "new=0 stay=1",
    ),
    (
        126,
        "pool p types=D4s_v5 | daemon d 1m port=80 | pods a 1m port=80",
        "new=0 stay=1",
    ),
    (
        126,
        "pool p types=D4s_v5 | daemon d 1m port=80 select=TYPE=D2s_v5 | pods a 1m port=80",
        "new=1 stay=0",
    ),
    (
        130,
        "pool p types=D4s_v5 taint=k=v:PreferNoSchedule | pods a 1m prefer=1:ZONE:In:mars",
        "new=1 stay=0",
    ),
    (
        130,
        "pool p types=D4s_v5 taint=k=v:PreferNoSchedule weight=10 | pool q types=D2s_v5 | pods a 1m",
        "new=1 first=D2s_v5",
    ),
    (
        132,
        "pool p types=D2s_v5 weight=20 | pool q types=D4s_v5 weight=100 | pool r types=D8s_v5 | pods a 1m",
        "new=1 first=D4s_v5",
    ),
    (
        132,
        "pool p types=D2s_v5 weight=20 | pool q types=D4s_v5 weight=100 | pods a 1m select=karpenter.sh/nodepool=p",
        "new=1 first=D2s_v5",
    ),
    (
        133,
        "pool p types=D2s_v5 replicas=2 | pods a 1m",
        "new=0 stay=1",
    ),
    (
        133,
        "pool p types=D2s_v5 replicas=2 weight=9 | pool q types=D4s_v5 | pods a 1m",
        "new=1 first=D4s_v5",
    ),
    (
        136,
        "pool p types=D4s_v5 | pods a 1m volume-zones=2 | pods b 1m volume-zones=1 select=ZONE=Z3",
        "new=1 zones=a:1 stay=1",
    ),
    (
        138,
        "pool p types=D4s_v5 | pods a 1m volume-zones=2 require=ZONE:In:mars require=CT:In:spot",
        "new=1 zones=a:1",
    ),
    (
        139,
        "pool p types=D4s_v5 | node n D4s_v5 pool=p zone=1 | pods o on=n 1m app=a | pods a 1m anti=zone volume-zones=1|2",
        "new=1 zones=a:1,1",
    ),
    (
        140,
        "pool p types=D4s_v5 | pods a 1m volume-zones=1|2 volume-zones=2|3",
        "new=1 zones=a:1",
    ),
];

fn expand(text: &str) -> String {
    text.replace('|', "\u{0}")
        .replace(" \u{0} ", "\n")
        .replace('\u{0}', "|")
        .replace("ZONE", labels::ZONE)
        .replace("TYPE", labels::INSTANCE_TYPE)
        .replace("CT", labels::CAPACITY_TYPE)
        .replace("Z1", "westeurope-1")
        .replace("Z2", "westeurope-2")
        .replace("Z3", "westeurope-3")
}

/// Pods of an app by zone, most first; zones that are certain only.
fn zones(snapshot: &Snapshot, placement: &Placement, app: &str) -> String {
    let labels: BTreeMap<&PodKey, &str> = snapshot
        .pending
        .iter()
        .map(|pod| (&pod.key, &*pod.shape.labels["app"]))
        .collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for node in &snapshot.nodes {
        let bound = node
            .pods
            .iter()
            .filter(|pod| &*pod.shape.labels["app"] == app);
        let placed = placement.existing.get(&node.name).into_iter().flatten();
        let count = bound.count() + placed.filter(|key| labels[key] == app).count();
        let zone = node.zone.as_ref().map_or("", |zone| zone.as_str());
        *counts.entry(zone.to_owned()).or_default() += count;
    }
    for claim in &placement.new_claims {
        let requirements = Requirements::from_specs(claim.requirements.iter());
        let values = requirements.get(labels::ZONE).map(Requirement::values);
        if let Some(zone) = values
            .filter(|values| values.len() == 1)
            .and_then(|v| v.first())
        {
            let count = claim.pods.iter().filter(|key| labels[key] == app).count();
            *counts.entry(zone.to_string()).or_default() += count;
        }
    }
    let mut sorted: Vec<usize> = counts.into_values().filter(|&count| count > 0).collect();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let texts: Vec<String> = sorted.iter().map(usize::to_string).collect();
    texts.join(",")
}

fn observed(word: &str, snapshot: &Snapshot, placement: &Placement) -> String {
    let (key, wanted) = word.split_once('=').expect("an expectation is key=value");
    let (subject, _) = wanted.split_once(':').unwrap_or((wanted, ""));
    let seen = match key {
        "new" => placement.new_claims.len().to_string(),
        "stay" => placement.unschedulable.len().to_string(),
        "zones" => format!("{subject}:{}", zones(snapshot, placement, subject)),
        "on" => {
            let placed = placement.existing.get(&subject.into());
            format!("{subject}:{}", placed.map_or(0, Vec::len))
        }
        "first" => {
            let first = placement.new_claims.first();
            let name = first.and_then(|claim| claim.instance_types.first());
            name.map_or_else(String::new, ToString::to_string)
        }
        other => panic!("unknown expectation {other}"),
    };
    format!("{key}={seen}")
}

#[test]
fn pinned_behaviours_hold() {
    let mut wrong = Vec::new();
    for (number, text, expected) in CASES {
        let text = expand(text);
        let snapshot = fixture::parse(&text).snapshot;
        let placement = place(&text);
        let words = expected.split_whitespace();
        let seen: Vec<String> = words
            .map(|word| observed(word, &snapshot, &placement))
            .collect();
        let seen = seen.join(" ");
        if seen != *expected {
            wrong.push(format!(
                "#{number}: expected {expected}, seen {seen}\n{text}\n"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
