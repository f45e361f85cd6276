//! Clusters and pods that are generated: Karpenter's 400 types, a catalogue like Azure's, nodes,
//! pods of random shapes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use controller_core::labels;
use controller_core::model::{
    Budget, CapacityType, ClaimConditions, ClaimView, ConsolidationPolicy, DisruptionSpec,
    InstanceType, Node, NodePool, Offering, Overhead, Pod, PodKey, PodShape, PoolCatalog, Price,
    Snapshot,
};
use controller_core::quantity::Resources;
use controller_core::requirements::{Operator, RequirementSpec};
use jiff::Timestamp;

pub(crate) const MI: i64 = 1 << 20;
pub(crate) const GI: i64 = 1 << 30;

/// Park–Miller: the same pods on every machine.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0 * 48_271 % 2_147_483_647;
        usize::try_from(self.0 >> 3).unwrap_or(0) % bound
    }

    pub(crate) fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.below(options.len())]
    }
}

pub(crate) fn one_of<const N: usize>(key: &str, values: [&str; N]) -> RequirementSpec {
    RequirementSpec::new(key, Operator::In, values.map(Arc::from))
}

pub(crate) fn instance_type(index: i64) -> InstanceType {
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

pub(crate) fn empty_cluster() -> Snapshot {
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
pub(crate) fn cluster(nodes: usize, pods_per_node: usize, cpu: i64) -> Snapshot {
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

pub(crate) fn node(name: &str, instance_type: &InstanceType, pods: Vec<Pod>) -> Node {
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

pub(crate) fn requests(cpu_milli: i64, memory_mi: i64) -> Resources {
    Resources {
        cpu_milli,
        memory_bytes: memory_mi * MI,
        pods: 1,
        ..Resources::default()
    }
}

pub(crate) fn pod_of(index: usize, shape: &Arc<PodShape>) -> Pod {
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
pub(crate) fn pods(shapes: impl Iterator<Item = PodShape>) -> Vec<Pod> {
    let mut known: BTreeMap<PodShape, Arc<PodShape>> = BTreeMap::new();
    let share = |(index, shape): (usize, PodShape)| {
        let shared = known
            .entry(shape.clone())
            .or_insert_with(|| Arc::new(shape));
        pod_of(index, shared)
    };
    shapes.enumerate().map(share).collect()
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

pub(crate) fn generic(count: usize) -> Vec<Pod> {
    let mut dice = Dice(42);
    pods((0..count).map(|_| random_shape(&mut dice, "my-label")))
}
