//! Figures of the decision core, one JSON object per line.
//!
//! The workloads are those of Karpenter's `scheduling_benchmark_test.go`: 400 types, one pool, a
//! diverse or a preference mix of pods. `--quick` measures a tenth of each.

#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use controller_core::disruption::{DisruptionPolicy, StepBudget, plan_disruption};
use controller_core::labels;
use controller_core::model::{
    AffinityTerm, Budget, CapacityType, ClaimConditions, ClaimView, ConsolidationPolicy,
    DisruptionSpec, InstanceType, LabelSelector, Node, NodeName, NodePool, Offering, Overhead, Pod,
    PodKey, PodShape, PoolCatalog, PreferredTerm, Price, SelectorOperator, SelectorRequirement,
    Snapshot, SpreadConstraint, WeightedAffinityTerm,
};
use controller_core::quantity::Resources;
use controller_core::requirements::{Operator, RequirementSpec};
use controller_core::scheduling::{
    MinValuesPolicy, Placement, PreferencePolicy, SchedulingInput, SchedulingOptions, schedule,
};
use jiff::Timestamp;

const OPTIONS: SchedulingOptions = SchedulingOptions {
    preferences: PreferencePolicy::Respect,
    min_values: MinValuesPolicy::Strict,
    steps_max: u64::MAX,
};
const MI: i64 = 1 << 20;
const GI: i64 = 1 << 30;

fn main() {
    let scale = if std::env::args().any(|argument| argument == "--quick") {
        10
    } else {
        1
    };
    for count in [1_000 / scale, 10_000 / scale, 20_000 / scale] {
        let (seconds, placement) = place(&empty_cluster(), &diverse(count), OPTIONS);
        let name = format!("diverse-{count}");
        row(
            &format!("{name} rate"),
            rate(count, seconds),
            "pods/s",
            200_000.0,
            Better::More,
        );
        plain(
            &format!("{name} nodes"),
            as_f64(placement.new_claims.len()),
            "nodes",
        );
        plain(&format!("{name} price"), price(&placement), "$/h");
        plain(
            &format!("{name} unplaced"),
            as_f64(placement.unschedulable.len()),
            "pods",
        );
    }
    let count = 4_000 / scale;
    for (name, preferences, goal) in [
        ("respect", PreferencePolicy::Respect, 0.1),
        ("ignore", PreferencePolicy::Ignore, 0.05),
    ] {
        let options = SchedulingOptions {
            preferences,
            ..OPTIONS
        };
        let (seconds, placement) = place(&empty_cluster(), &preferring(count), options);
        row(
            &format!("{name}-{count} time"),
            seconds,
            "s",
            goal,
            Better::Less,
        );
        plain(
            &format!("{name}-{count} nodes"),
            as_f64(placement.new_claims.len()),
            "nodes",
        );
    }
    let (nodes, pods) = (5_000 / scale, 50_000 / scale);
    let cluster = cluster(nodes, 0, 16);
    let (seconds, _) = place(&cluster, &generic(pods), OPTIONS);
    row(
        &format!("existing {pods} pods on {nodes} nodes"),
        seconds,
        "s",
        2.0,
        Better::Less,
    );
    consolidation(500 / scale);
}

fn consolidation(nodes: usize) {
    // Full nodes, one at a time: no single one can be improved, so every one is simulated.
    let mut cluster = cluster(nodes, 15, 5);
    for catalog in cluster.pools.values_mut() {
        catalog.pool.disruption.budgets[0].nodes = Ok(1);
    }
    let policy = DisruptionPolicy {
        scheduling: OPTIONS,
        spot_to_spot: false,
    };
    let budget = StepBudget {
        simulations_max: u32::MAX,
    };
    let now = Timestamp::UNIX_EPOCH + Duration::from_hours(1);
    let (seconds, plan) = timed(|| plan_disruption(&cluster, &policy, now, budget));
    let per_candidate = seconds * 1000.0 / as_f64(nodes);
    row(
        &format!("consolidation full {nodes} nodes"),
        per_candidate,
        "ms/node",
        55.0,
        Better::Less,
    );
    plain(
        "consolidation commands",
        as_f64(plan.commands.len()),
        "commands",
    );
}

fn place(snapshot: &Snapshot, pods: &[Pod], options: SchedulingOptions) -> (f64, Placement) {
    let excluded = BTreeSet::<NodeName>::new();
    let input = SchedulingInput {
        snapshot,
        pods,
        excluded: &excluded,
        options,
    };
    timed(|| schedule(&input))
}

#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures real time"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = std::time::Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64(), result)
}

#[derive(Clone, Copy)]
enum Better {
    More,
    Less,
}

fn row(figure: &str, value: f64, unit: &str, goal: f64, better: Better) {
    let met = match better {
        Better::More => value >= goal,
        Better::Less => value <= goal,
    };
    println!(
        "{{\"area\":\"scheduling\",\"figure\":\"{figure}\",\"value\":{value:.4},\
         \"unit\":\"{unit}\",\"goal\":{goal},\"met\":{met}}}"
    );
}

fn plain(figure: &str, value: f64, unit: &str) {
    println!(
        "{{\"area\":\"scheduling\",\"figure\":\"{figure}\",\"value\":{value:.2},\
         \"unit\":\"{unit}\",\"goal\":null,\"met\":null}}"
    );
}

#[expect(clippy::cast_precision_loss, reason = "figures are small")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

fn rate(count: usize, seconds: f64) -> f64 {
    as_f64(count) / seconds
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn price(placement: &Placement) -> f64 {
    let total: i64 = placement.new_claims.iter().map(|claim| claim.price.0).sum();
    total as f64 / Price::DOLLAR as f64
}

/// Park–Miller: the same pods on every machine.
struct Dice(u64);

impl Dice {
    fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        self.0 = self.0 * 48_271 % 2_147_483_647;
        let index = usize::try_from(self.0).unwrap_or(0) % options.len();
        options[index]
    }
}

fn one_of<const N: usize>(key: &str, values: [&str; N]) -> RequirementSpec {
    RequirementSpec::new(key, Operator::In, values.map(Arc::from))
}

fn instance_type(index: i64) -> InstanceType {
    let cpu = index + 1;
    // 0.1·CPU + 0.1·(memory ÷ 1e9), in billionths of a dollar.
    let price = Price(cpu * Price::DOLLAR / 10 + 2 * cpu * GI / 10);
    let forms = [
        (CapacityType::Spot, 1),
        (CapacityType::Spot, 2),
        (CapacityType::OnDemand, 1),
        (CapacityType::OnDemand, 2),
        (CapacityType::OnDemand, 3),
    ];
    let offering = |(capacity_type, zone)| Offering {
        zone: format!("test-zone-{zone}").as_str().into(),
        capacity_type,
        requirements: Vec::new(),
        price,
        available: true,
    };
    let large = cpu > 4;
    let name = format!("fake-it-{index}");
    let mut requirements = vec![
        one_of(labels::INSTANCE_TYPE, [&name]),
        one_of(labels::ARCH, ["amd64"]),
        one_of(labels::OS, ["linux", "windows", "darwin"]),
        one_of(labels::ZONE, ["test-zone-1", "test-zone-2", "test-zone-3"]),
        one_of(labels::CAPACITY_TYPE, ["spot", "on-demand"]),
        one_of("size", [if large { "large" } else { "small" }]),
        one_of("integer", [&cpu.to_string()]),
    ];
    let special = if large {
        one_of("special", ["optional"])
    } else {
        RequirementSpec::new("special", Operator::DoesNotExist, [])
    };
    requirements.push(special);
    InstanceType {
        name: name.as_str().into(),
        requirements,
        offerings: forms.map(offering).to_vec(),
        capacity: Resources {
            cpu_milli: cpu * 1000,
            memory_bytes: 2 * cpu * GI,
            pods: 10 * cpu,
            ..Resources::default()
        },
        overhead: Overhead {
            kube_reserved: Resources {
                cpu_milli: 100,
                memory_bytes: 10 * MI,
                ..Resources::default()
            },
            ..Overhead::default()
        },
    }
}

fn empty_cluster() -> Snapshot {
    let pool = NodePool {
        name: "default".into(),
        uid: "default".into(),
        weight: 0,
        ready: true,
        requirements: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        taints: Vec::new(),
        startup_taints: Vec::new(),
        node_class: "default".into(),
        node_class_group: "karpenter.test.sh".into(),
        node_class_kind: "TestNodeClass".into(),
        expire_after: None,
        termination_grace_period: None,
        limits: [
            ("cpu".into(), 10_000_000_000),
            ("memory".into(), 10_000_000 * GI),
        ]
        .into(),
        disruption: DisruptionSpec {
            policy: ConsolidationPolicy::WhenEmptyOrUnderutilized,
            consolidate_after: Some(Duration::ZERO),
            budgets: vec![Budget {
                nodes: Err(100),
                reasons: Vec::new(),
                schedule: None,
                duration: None,
            }],
        },
        hash: "1".into(),
        replicas: None,
    };
    let instance_types = Arc::new((0..400).map(instance_type).collect());
    let pools = [(
        "default".into(),
        PoolCatalog {
            pool,
            instance_types,
        },
    )]
    .into();
    Snapshot {
        pools,
        ..Snapshot::default()
    }
}

/// Nodes of `cpu` vCPU, each with pods that leave no room.
fn cluster(nodes: usize, pods_per_node: usize, cpu: i64) -> Snapshot {
    let mut snapshot = empty_cluster();
    let instance_type = instance_type(cpu - 1);
    let full = Arc::new(PodShape {
        namespace: "default".into(),
        requests: requests(320, 640),
        ..PodShape::default()
    });
    for index in 0..nodes {
        let name = format!("node-{index:05}");
        let pods = (0..pods_per_node)
            .map(|pod| Pod {
                node: Some(name.as_str().into()),
                ..pod_of(index * pods_per_node + pod, &full)
            })
            .collect();
        snapshot.nodes.push(node(&name, &instance_type, pods));
    }
    snapshot
}

fn node(name: &str, instance_type: &InstanceType, pods: Vec<Pod>) -> Node {
    let labels = [
        (labels::HOSTNAME, name),
        (labels::NODEPOOL, "default"),
        (labels::ZONE, "test-zone-1"),
        (labels::CAPACITY_TYPE, "on-demand"),
        (labels::INSTANCE_TYPE, instance_type.name.as_str()),
        (labels::ARCH, "amd64"),
        (labels::OS, "linux"),
    ];
    Node {
        name: name.into(),
        provider_id: None,
        claim: Some(ClaimView {
            name: name.into(),
            pool: "default".into(),
            conditions: ClaimConditions {
                launched: true,
                registered: true,
                initialized: true,
                consolidatable: true,
                drifted: false,
            },
            created: Timestamp::UNIX_EPOCH,
            deleting: false,
            last_pod_event: None,
            expire_after: None,
            termination_grace_period: None,
            initialized_at: Some(Timestamp::UNIX_EPOCH),
            drifted_at: None,
            startup_taints: Vec::new(),
            requests: Resources::default(),
        }),
        labels: labels.map(|(key, value)| (key.into(), value.into())).into(),
        taints: Vec::new(),
        capacity: instance_type.capacity.clone(),
        allocatable: instance_type.allocatable(),
        pods,
        has_node: true,
        ready: true,
        deleting: false,
        nominated_until: None,
        do_not_disrupt: false,
        cordoned: false,
        instance_type: Some(instance_type.name.clone()),
        zone: Some("test-zone-1".into()),
        capacity_type: Some(CapacityType::OnDemand),
    }
}

fn requests(cpu_milli: i64, memory_mi: i64) -> Resources {
    Resources {
        cpu_milli,
        memory_bytes: memory_mi * MI,
        pods: 1,
        ..Resources::default()
    }
}

fn pod_of(index: usize, shape: &Arc<PodShape>) -> Pod {
    let name: Arc<str> = format!("pod-{index:06}").into();
    Pod {
        key: PodKey {
            namespace: "default".into(),
            name: Arc::clone(&name),
        },
        uid: name,
        shape: Arc::clone(shape),
        node: None,
        created: Timestamp::UNIX_EPOCH,
        do_not_disrupt: false,
        deletion: None,
        terminal: false,
        mirror: false,
        ready: true,
        stateful: false,
        grace_period: None,
        deletion_cost: 0,
    }
}

/// Shares shapes between equal pods, as the cluster mirror does.
fn pods(shapes: impl Iterator<Item = PodShape>) -> Vec<Pod> {
    let mut known: BTreeMap<PodShape, Arc<PodShape>> = BTreeMap::new();
    let share = |(index, shape): (usize, PodShape)| {
        let shared = known
            .entry(shape.clone())
            .or_insert_with(|| Arc::new(shape));
        pod_of(index, shared)
    };
    shapes.enumerate().map(share).collect()
}

fn selector(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        requirements: vec![SelectorRequirement {
            key: key.into(),
            operator: SelectorOperator::In,
            values: vec![value.into()],
        }],
    }
}

fn term(topology_key: &str, key: &str, value: &str) -> AffinityTerm {
    AffinityTerm {
        topology_key: topology_key.into(),
        selector: Some(selector(key, value)),
        namespaces: Vec::new(),
        namespace_selector: None,
    }
}

const LETTERS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

fn random_shape(dice: &mut Dice, key: &str) -> PodShape {
    PodShape {
        namespace: "default".into(),
        labels: [(key.into(), dice.pick(&LETTERS).into())].into(),
        requests: requests(
            dice.pick(&[100, 250, 500, 1000, 1500]),
            dice.pick(&[100, 256, 512, 1024, 2048, 4096]),
        ),
        ..PodShape::default()
    }
}

fn generic(count: usize) -> Vec<Pod> {
    let mut dice = Dice(42);
    pods((0..count).map(|_| random_shape(&mut dice, "my-label")))
}

fn diverse(count: usize) -> Vec<Pod> {
    let mut dice = Dice(42);
    let spread = |dice: &mut Dice, key: &str| {
        let mut shape = random_shape(dice, "my-label");
        shape.spread.push(SpreadConstraint {
            max_skew: 1,
            topology_key: key.into(),
            hard: true,
            selector: Some(selector("my-label", dice.pick::<&str>(&LETTERS))),
            min_domains: None,
            honor_affinity: true,
            honor_taints: false,
        });
        shape
    };
    let fifth = count / 5;
    pods((0..count).map(|index| match index / fifth {
        1 => spread(&mut dice, labels::ZONE),
        2 => spread(&mut dice, labels::HOSTNAME),
        3 => {
            let mut shape = random_shape(&mut dice, "my-affininity");
            let own = shape.labels["my-affininity"].clone();
            shape
                .affinity
                .push(term(labels::ZONE, "my-affininity", &own));
            shape
        }
        4 => {
            let mut shape = random_shape(&mut dice, "my-label");
            shape.labels = [("app".into(), "nginx".into())].into();
            shape
                .anti_affinity
                .push(term(labels::HOSTNAME, "app", "nginx"));
            shape
        }
        _ => random_shape(&mut dice, "my-label"),
    }))
}

fn preferring(count: usize) -> Vec<Pod> {
    let anti = |weight, key| WeightedAffinityTerm {
        weight,
        term: term(key, "app", "nginx"),
    };
    let shape = PodShape {
        namespace: "default".into(),
        labels: [("app".into(), "nginx".into())].into(),
        requests: requests(100, 4096),
        preferred_affinity: vec![PreferredTerm {
            weight: 1,
            requirements: vec![one_of(labels::ZONE, ["test-zone-1"])],
        }],
        preferred_anti_affinity: vec![anti(10, labels::ZONE), anti(1, labels::HOSTNAME)],
        ..PodShape::default()
    };
    pods(std::iter::repeat_n(shape, count))
}
