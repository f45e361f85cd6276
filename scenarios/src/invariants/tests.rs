//! Each invariant is shown to fire by a world that breaks what it watches, and to hold in the same
//! world unbroken.

use jiff::SignedDuration;
use serde_json::json;

use super::REGISTRY;
use crate::observe::resources;
use crate::observe::testing::{World, disk, sound, start, vm};

fn broken(id: &str) -> World {
    let mut world = sound();
    match id {
        "INV-VM-LEAK" | "INV-NIC-LEAK" => world = world.without(resources::CLAIMS),
        "INV-DISK-LEAK" => {
            world = world.without(resources::CLAIMS);
            world.cloud.disks = vec![disk(None)];
        }
        "INV-DOUBLE-LAUNCH" => world.cloud.vms.push(vm("aks-pool-abcde-2")),
        "INV-CORRESPOND" => world.cloud.vms.clear(),
        "INV-FINALIZERS" => {
            let (_, claim) = &mut world.objects[0];
            claim["metadata"]["deletionTimestamp"] = json!("2026-01-05T08:00:00Z");
            claim["metadata"]["finalizers"] = json!(["karpenter.sh/termination"]);
            world
                .history
                .deleting_since
                .insert("NodeClaim//pool-abcde".to_owned(), start());
        }
        "INV-LIMITS" => {
            let mut second = vm("aks-pool-fghij");
            second.provider_id = "azure:///other".to_owned();
            world.cloud.vms.push(second);
        }
        other => panic!("{other} has no world that breaks it: add one here"),
    }
    world
}

#[test]
fn every_invariant_holds_in_a_sound_world_and_fires_in_a_broken_one() {
    for invariant in REGISTRY {
        let sound = sound().check(invariant.id);
        assert_eq!(sound.violations, Vec::<String>::new(), "{}", invariant.id);
        let broken = broken(invariant.id).check(invariant.id);
        assert!(
            !broken.violations.is_empty(),
            "{} does not fire",
            invariant.id
        );
        assert!(broken.premises > 0, "{}", invariant.id);
    }
}

#[test]
fn leftovers_are_tolerated_for_the_grace_period() {
    let mut world = sound().without(resources::CLAIMS);
    let late = start() + SignedDuration::from_mins(57);
    world
        .history
        .claims_gone
        .insert("pool-abcde".to_owned(), late);
    assert!(world.check("INV-VM-LEAK").violations.is_empty());
    assert!(world.check("INV-NIC-LEAK").violations.is_empty());
}

#[test]
fn ids_are_unique_and_documented() {
    for (index, invariant) in REGISTRY.iter().enumerate() {
        assert!(invariant.id.starts_with("INV-") && !invariant.doc.is_empty());
        assert!(
            REGISTRY[index + 1..]
                .iter()
                .all(|other| other.id != invariant.id)
        );
    }
}
