//! Counters never drift, and runs repeat.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{CapacityOverride, CapacityType};

#[derive(Clone, Debug)]
enum Act {
    Create {
        name: u8,
        spot: bool,
        zone: u8,
        big: bool,
    },
    Delete {
        name: u8,
    },
    Evict {
        name: u8,
    },
    Power {
        name: u8,
        off: bool,
    },
    Pass {
        seconds: i64,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..6_u8, any::<bool>(), 0..4_u8, any::<bool>())
            .prop_map(|(name, spot, zone, big)| Act::Create { name, spot, zone, big }),
        2 => (0..6_u8).prop_map(|name| Act::Delete { name }),
        1 => (0..6_u8).prop_map(|name| Act::Evict { name }),
        1 => (0..6_u8, any::<bool>()).prop_map(|(name, off)| Act::Power { name, off }),
        4 => (1..40_i64).prop_map(|seconds| Act::Pass { seconds }),
    ];
    prop::collection::vec(act, 1..40)
}

fn config() -> CloudConfig {
    let mut config = CloudConfig::default();
    config.quota.regional = 24;
    config.quota.low_priority = 12;
    config.capacity = vec![
        CapacityOverride {
            size: "Standard_D4as_v5".to_owned(),
            zone: None,
            capacity_type: None,
            available: 3,
            refusal: None,
        },
        CapacityOverride {
            size: "*".to_owned(),
            zone: Some("2".to_owned()),
            capacity_type: Some(CapacityType::Spot),
            available: 1,
            refusal: None,
        },
    ];
    config
}

fn run(world: &mut World, act: &Act) {
    let name = |name: &u8| format!("aks-{name}");
    match act {
        Act::Create {
            name: n,
            spot,
            zone,
            big,
        } => {
            let zone = [None, Some("1"), Some("2"), Some("3")][usize::from(*zone)];
            let size = if *big {
                "Standard_D8s_v5"
            } else {
                "Standard_D4as_v5"
            };
            world.put_nic(&name(n));
            world.put(
                &vm(&name(n)),
                &vm_body(
                    &name(n),
                    &Want {
                        size,
                        zone,
                        spot: *spot,
                        ..Want::default()
                    },
                ),
            );
        }
        Act::Delete { name: n } => {
            world.delete(&vm(&name(n)));
        }
        // Refused for what is not there or not spot; both are fine here.
        Act::Evict { name: n } => drop(world.cloud.evict(world.now, &name(n))),
        Act::Power { name: n, off } => {
            let verb = if *off { "/deallocate?" } else { "/start?" };
            world.post(&vm(&name(n)).replace('?', verb), &json!({}));
        }
        Act::Pass { seconds } => world.pass(*seconds),
    }
}

/// What the machines hold, counted anew.
fn check_counters(world: &World) {
    let cloud = &world.cloud;
    let (mut regional, mut spot, mut families) = (4_u32, 0_u32, BTreeMap::<&str, u32>::new());
    for vm in cloud.vms.values().filter(|vm| vm.holds_quota) {
        match vm.spec.placement.capacity_type {
            CapacityType::Spot => spot += vm.spec.cores,
            CapacityType::OnDemand => {
                regional += vm.spec.cores;
                *families.entry(vm.spec.family).or_default() += vm.spec.cores;
            }
        }
    }
    assert_eq!(cloud.quota.regional_usage(), regional);
    assert_eq!(cloud.quota.low_priority_usage(), spot);
    assert!(regional <= 24 && spot <= 12);
    for (family, cores) in families {
        assert_eq!(cloud.quota.family_usage(family), cores);
    }
    let held = |zone: Option<&str>, size: &str| {
        let allocations = cloud.vms.values().filter_map(|vm| vm.allocation.as_ref());
        let placed = allocations.filter(|at| {
            (size == "*" || at.size == size)
                && (zone.is_none()
                    || at.zone.as_deref() == zone && at.capacity_type == CapacityType::Spot)
        });
        u32::try_from(placed.count()).expect("few")
    };
    let left: Vec<u32> = cloud.capacity().iter().map(|pool| pool.available).collect();
    assert_eq!(
        left,
        [3 - held(None, "Standard_D4as_v5"), 1 - held(Some("2"), "*")]
    );
    for nic in cloud.nics.values() {
        assert!(
            nic.attached_to
                .as_ref()
                .is_none_or(|vm| cloud.vms.contains_key(vm))
        );
    }
    for disk in cloud.disks.values() {
        assert!(
            disk.owner
                .as_ref()
                .is_none_or(|vm| cloud.vms.contains_key(&vm.key()))
        );
    }
}

/// Starts and stops of every machine alternate.
fn check_events(events: &[CloudEvent]) {
    let mut up = std::collections::BTreeSet::new();
    for event in events {
        match event {
            CloudEvent::VmStarted(vm) => assert!(up.insert(vm.provider_id.clone()), "two starts"),
            CloudEvent::VmStopped { provider_id, .. } => {
                assert!(up.remove(provider_id), "no start");
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn counters_equal_what_machines_hold(acts in acts()) {
        let mut world = World::new(config(), 3);
        for act in &acts {
            run(&mut world, act);
            check_counters(&world);
        }
        // Whatever happened: after deleting all and a reservation window nothing is left.
        for name in 0..6 {
            world.delete(&vm(&format!("aks-{name}")));
        }
        world.pass(300);
        for name in 0..6 {
            world.delete(&nic(&format!("aks-{name}")));
        }
        world.pass(10);
        check_counters(&world);
        check_events(&world.events);
        let cloud = &world.cloud;
        prop_assert!(cloud.vms.is_empty() && cloud.nics.is_empty() && cloud.disks.is_empty());
        prop_assert_eq!(cloud.wake_at(), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes(acts in acts(), seed in 0..1000_u64) {
        let play = |seed: u64| {
            let mut world = World::new(config(), seed);
            for act in &acts {
                run(&mut world, act);
            }
            (format!("{:?}", world.events), world.log)
        };
        prop_assert_eq!(play(seed), play(seed));
    }

    #[test]
    fn no_request_panics(path in "(/[a-zA-Z.%0-9]{0,12}){0,9}", body in ".{0,40}", method in 0..6_u8) {
        let mut world = World::default();
        let verbs = [Method::Get, Method::Put, Method::Post, Method::Patch, Method::Delete, Method::Head];
        let method = verbs[usize::from(method)];
        for prefix in ["", SUBSCRIPTION, &format!("{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute")] {
            let target = format!("{prefix}{path}?api-version=2024-01-01");
            let answer = world.send(ArmRequest::new(method, BASE, &target).body(body.clone()));
            prop_assert!(answer.status < 500, "{}", answer.status);
        }
    }
}
