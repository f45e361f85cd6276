//! Random small worlds, and their translation for the code that is judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_core::labels;
use controller_core::model::{
    AffinityTerm, CapacityType, ClaimConditions, ClaimView, ConsolidationPolicy, DisruptionSpec,
    Effect, InstanceType, LabelSelector, Node, NodePool, Offering, Overhead, Pod, PodKey, PodShape,
    PoolCatalog, Price, SelectorOperator, SelectorRequirement, Snapshot, SpreadConstraint, Taint,
    Toleration, TolerationOperator,
};
use controller_core::quantity::Resources;
use controller_core::requirements::{Operator, RequirementSpec, Requirements};
use controller_core::scheduling::Placement;
use jiff::Timestamp;

use crate::oracle::{Claim, Host, Pool, Size, Verdict, Work, World, ZONES};

/// Park–Miller: the same worlds on every machine.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0 * 48_271 % 2_147_483_647;
        usize::try_from(self.0 >> 4).expect("31 bits fit") % bound
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn maybe(&mut self, percent: usize, bound: usize) -> Option<usize> {
        self.chance(percent).then(|| self.below(bound))
    }

    fn some(&mut self, bound: usize) -> Vec<usize> {
        let kept: Vec<usize> = (0..bound).filter(|_| self.chance(70)).collect();
        if kept.is_empty() {
            vec![self.below(bound)]
        } else {
            kept
        }
    }
}

fn work(dice: &mut Dice) -> Work {
    Work {
        cpu: [500, 1000, 2000, 3500][dice.below(4)],
        memory: [1, 2, 4, 7][dice.below(4)],
        zone: dice.maybe(25, ZONES),
        spot: dice.maybe(20, 2).map(|spot| spot == 1),
        tolerates: dice.maybe(50, 2),
        app: dice.below(3),
        zone_skew: dice.maybe(30, 2).map(|skew| skew + 1),
        alone: dice.chance(20),
    }
}

pub(crate) fn world(dice: &mut Dice) -> World {
    let sizes: Vec<Size> = (0..=dice.below(4))
        .map(|_| {
            let cpu = [1000, 2000, 4000, 8000][dice.below(4)];
            let offerings = (0..ZONES)
                .flat_map(|zone| [(zone, true), (zone, false)])
                .filter_map(|(zone, spot)| {
                    let price = cpu / if spot { 3 } else { 1 };
                    dice.chance(75)
                        .then(|| (zone, spot, price, dice.chance(75)))
                })
                .collect();
            Size {
                cpu,
                memory: cpu / 250,
                offerings,
            }
        })
        .collect();
    let pools: Vec<Pool> = (0..=dice.below(2))
        .map(|_| Pool {
            weight: i32::try_from(dice.below(3)).expect("small"),
            sizes: dice.some(sizes.len()),
            zones: dice.some(ZONES),
            spot: dice.some(2).into_iter().map(|spot| spot == 1).collect(),
            taint: dice.maybe(30, 2),
            cpu_limit: dice
                .maybe(30, 9)
                .map(|cpus| i64::try_from(cpus).expect("small") * 1000),
        })
        .collect();
    let mut hosts = Vec::new();
    for _ in 0..dice.below(4) {
        let host = Host {
            size: dice.below(sizes.len()),
            zone: dice.below(ZONES),
            spot: dice.chance(50),
            pool: dice.below(pools.len()),
            taint: dice.maybe(20, 2),
            pods: (0..dice.below(2))
                .map(|_| Work {
                    cpu: 250,
                    memory: 0,
                    zone_skew: None,
                    ..work(dice)
                })
                .collect(),
        };
        hosts.push(host);
    }
    let daemon_cpu = if dice.chance(40) { 250 } else { 0 };
    let pods = (0..=dice.below(5)).map(|_| work(dice)).collect();
    World {
        sizes,
        pools,
        hosts,
        daemon_cpu,
        pods,
    }
}

/// The world with an untainted host, or a large size that every pool allows and that is sold
/// everywhere.
pub(crate) fn with_more(world: &World, dice: &mut Dice) -> World {
    let mut more = world.clone();
    if dice.chance(50) {
        more.hosts.push(Host {
            size: dice.below(world.sizes.len()),
            zone: dice.below(ZONES),
            spot: dice.chance(50),
            pool: 0,
            taint: None,
            pods: Vec::new(),
        });
        // The host must not use up the pool's limit: that is a loss, not a gain.
        more.pools[0].cpu_limit = None;
    } else {
        let forms = (0..ZONES).flat_map(|zone| [(zone, true), (zone, false)]);
        more.sizes.push(Size {
            cpu: 16_000,
            memory: 64,
            offerings: forms.map(|(zone, spot)| (zone, spot, 99, true)).collect(),
        });
        for pool in &mut more.pools {
            pool.sizes.push(world.sizes.len());
        }
    }
    more
}

fn zone_name(zone: usize) -> String {
    format!("zone-{zone}")
}

fn capacity_type(spot: bool) -> CapacityType {
    if spot {
        CapacityType::Spot
    } else {
        CapacityType::OnDemand
    }
}

fn one_of(key: &str, values: impl IntoIterator<Item = String>) -> RequirementSpec {
    RequirementSpec::new(key, Operator::In, values.into_iter().map(Arc::from))
}

fn taint(number: usize) -> Taint {
    Taint {
        key: format!("t{number}").into(),
        value: "".into(),
        effect: Effect::NoSchedule,
    }
}

fn app(number: usize) -> LabelSelector {
    LabelSelector {
        requirements: vec![SelectorRequirement {
            key: "app".into(),
            operator: SelectorOperator::In,
            values: vec![number.to_string().into()],
        }],
    }
}

fn shape(work: &Work) -> PodShape {
    let mut selector: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    if let Some(zone) = work.zone {
        selector.insert(labels::ZONE.into(), zone_name(zone).into());
    }
    if let Some(spot) = work.spot {
        selector.insert(
            labels::CAPACITY_TYPE.into(),
            capacity_type(spot).as_str().into(),
        );
    }
    let toleration = |number: usize| Toleration {
        key: format!("t{number}").into(),
        operator: TolerationOperator::Exists,
        value: "".into(),
        effect: None,
    };
    let spread = work.zone_skew.map(|skew| SpreadConstraint {
        max_skew: i32::try_from(skew).expect("small"),
        topology_key: labels::ZONE.into(),
        hard: true,
        selector: Some(app(work.app)),
        min_domains: None,
        honor_affinity: true,
        honor_taints: false,
    });
    let alone = AffinityTerm {
        topology_key: labels::HOSTNAME.into(),
        selector: Some(app(work.app)),
        namespaces: Vec::new(),
        namespace_selector: None,
    };
    PodShape {
        namespace: "default".into(),
        labels: [("app".into(), work.app.to_string().into())].into(),
        requests: Resources {
            cpu_milli: work.cpu,
            memory_bytes: work.memory,
            pods: 1,
            ..Resources::default()
        },
        node_selector: selector,
        tolerations: work.tolerates.map(toleration).into_iter().collect(),
        spread: spread.into_iter().collect(),
        anti_affinity: if work.alone { vec![alone] } else { Vec::new() },
        ..PodShape::default()
    }
}

fn pod(name: String, work: &Work, node: Option<&str>) -> Pod {
    let name: Arc<str> = name.into();
    Pod {
        key: PodKey {
            namespace: "default".into(),
            name: Arc::clone(&name),
        },
        uid: name,
        shape: Arc::new(shape(work)),
        node: node.map(Into::into),
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

fn instance_type(index: usize, size: &Size) -> InstanceType {
    let name = format!("size-{index}");
    let offering = |&(zone, spot, price, available): &(usize, bool, i64, bool)| Offering {
        zone: zone_name(zone).as_str().into(),
        capacity_type: capacity_type(spot),
        requirements: Vec::new(),
        price: Price(price),
        available,
    };
    InstanceType {
        name: name.as_str().into(),
        requirements: vec![one_of(labels::INSTANCE_TYPE, [name])],
        offerings: size.offerings.iter().map(offering).collect(),
        capacity: Resources {
            cpu_milli: size.cpu,
            memory_bytes: size.memory,
            pods: 110,
            ..Resources::default()
        },
        overhead: Overhead::default(),
    }
}

fn pool(index: usize, pool: &Pool) -> NodePool {
    NodePool {
        name: format!("pool-{index}").as_str().into(),
        uid: "".into(),
        weight: pool.weight,
        ready: true,
        requirements: vec![
            one_of(
                labels::INSTANCE_TYPE,
                pool.sizes.iter().map(|size| format!("size-{size}")),
            ),
            one_of(labels::ZONE, pool.zones.iter().map(|&zone| zone_name(zone))),
            one_of(
                labels::CAPACITY_TYPE,
                pool.spot
                    .iter()
                    .map(|&spot| capacity_type(spot).as_str().to_owned()),
            ),
        ],
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        taints: pool.taint.map(taint).into_iter().collect(),
        startup_taints: Vec::new(),
        node_class: "default".into(),
        node_class_group: "example.com".into(),
        node_class_kind: "NodeClass".into(),
        expire_after: None,
        termination_grace_period: None,
        limits: pool
            .cpu_limit
            .map(|limit| ("cpu".into(), limit))
            .into_iter()
            .collect(),
        disruption: DisruptionSpec {
            policy: ConsolidationPolicy::WhenEmpty,
            consolidate_after: None,
            budgets: Vec::new(),
        },
        hash: "".into(),
        replicas: None,
    }
}

fn node(index: usize, host: &Host, types: &[InstanceType]) -> Node {
    let name = format!("host-{index}");
    let instance_type = &types[host.size];
    let labels = [
        (labels::HOSTNAME, name.clone()),
        (labels::ZONE, zone_name(host.zone)),
        (
            labels::CAPACITY_TYPE,
            capacity_type(host.spot).as_str().to_owned(),
        ),
        (labels::INSTANCE_TYPE, instance_type.name.to_string()),
    ];
    let pods = host.pods.iter().enumerate();
    Node {
        name: name.as_str().into(),
        provider_id: None,
        claim: Some(ClaimView {
            name: name.as_str().into(),
            pool: format!("pool-{}", host.pool).as_str().into(),
            conditions: ClaimConditions {
                initialized: true,
                ..ClaimConditions::default()
            },
            created: Timestamp::UNIX_EPOCH,
            deleting: false,
            last_pod_event: None,
            expire_after: None,
            termination_grace_period: None,
            initialized_at: None,
            drifted_at: None,
            startup_taints: Vec::new(),
            requests: Resources::default(),
        }),
        labels: labels.map(|(key, value)| (key.into(), value.into())).into(),
        taints: host.taint.map(taint).into_iter().collect(),
        capacity: instance_type.capacity.clone(),
        allocatable: instance_type.allocatable(),
        pods: pods
            .map(|(i, work)| pod(format!("old-{index}-{i}"), work, Some(&name)))
            .collect(),
        has_node: true,
        ready: true,
        deleting: false,
        nominated_until: None,
        do_not_disrupt: false,
        cordoned: false,
        instance_type: Some(instance_type.name.clone()),
        zone: None,
        capacity_type: None,
    }
}

/// The world as the judged code sees it.
pub(crate) fn snapshot(world: &World) -> Snapshot {
    let types: Vec<InstanceType> = world
        .sizes
        .iter()
        .enumerate()
        .map(|(i, size)| instance_type(i, size))
        .collect();
    let instance_types = Arc::new(types);
    let pools = world.pools.iter().enumerate().map(|(index, from)| {
        let pool = pool(index, from);
        (
            pool.name.clone(),
            PoolCatalog {
                pool,
                instance_types: Arc::clone(&instance_types),
            },
        )
    });
    let nodes = world.hosts.iter().enumerate();
    let pods = world.pods.iter().enumerate();
    let daemon = PodShape {
        namespace: "kube-system".into(),
        requests: Resources {
            cpu_milli: world.daemon_cpu,
            ..Resources::default()
        },
        daemon: true,
        ..PodShape::default()
    };
    Snapshot {
        pools: pools.collect(),
        nodes: nodes
            .map(|(index, host)| node(index, host, &instance_types))
            .collect(),
        pending: pods
            .map(|(index, work)| pod(format!("pod-{index}"), work, None))
            .collect(),
        daemons: if world.daemon_cpu > 0 {
            vec![Arc::new(daemon)]
        } else {
            Vec::new()
        },
        ..Snapshot::default()
    }
}

fn number(name: &str) -> usize {
    let (_, digits) = name.rsplit_once('-').expect("names end in a number");
    digits.parse().expect("names end in a number")
}

/// The answer as the oracle sees it. A claim can become every available offering that its
/// requirements allow.
pub(crate) fn verdict(world: &World, placement: &Placement) -> Verdict {
    let indexes = |keys: &[PodKey]| keys.iter().map(|key| number(&key.name)).collect::<Vec<_>>();
    let mut on_hosts = vec![Vec::new(); world.hosts.len()];
    for (node, keys) in &placement.existing {
        on_hosts[number(node.as_str())] = indexes(keys);
    }
    let claims = placement.new_claims.iter().map(|claim| {
        let asked = Requirements::from_specs(claim.requirements.iter());
        let mut options = Vec::new();
        for (size, description) in world.sizes.iter().enumerate() {
            for &(zone, spot, _, available) in &description.offerings {
                let allowed = asked.has(labels::INSTANCE_TYPE, &format!("size-{size}"))
                    && asked.has(labels::ZONE, &zone_name(zone))
                    && asked.has(labels::CAPACITY_TYPE, capacity_type(spot).as_str());
                if available && allowed {
                    options.push((size, zone, spot));
                }
            }
        }
        Claim {
            pool: number(claim.pool.as_str()),
            options,
            pods: indexes(&claim.pods),
        }
    });
    Verdict {
        on_hosts,
        claims: claims.collect(),
        unplaced: placement
            .unschedulable
            .keys()
            .map(|key| number(&key.name))
            .collect(),
    }
}
