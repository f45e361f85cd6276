//! Each invariant is shown to fire by a world that breaks what it watches, and to hold in the same
//! world unbroken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fake_apiserver_components::api::{
    Api, Identity, Object, Request, Resource, Status, WatchEvent,
};
use fake_arm_cloud::{CapacityType, DiskView, MicroUsd, NicView, VmState, VmView};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Findings, History, REGISTRY};
use crate::observe::{CloudView, Mirror, Observation, resources};

/// A store that holds still.
struct Still(Vec<(Resource, Object)>);

impl Api for Still {
    fn call(&mut self, _: Timestamp, _: &Request) -> Result<Object, Status> {
        unreachable!("nothing is written")
    }

    fn list(&self, _: &Identity, resource: Resource) -> Result<(Vec<Object>, u64), Status> {
        let of = self.0.iter().filter(|(kind, _)| *kind == resource);
        Ok((of.map(|(_, object)| object.clone()).collect(), 1))
    }

    fn changes(&self, _: &Identity, _: Resource, _: u64) -> Result<Vec<WatchEvent>, Status> {
        Ok(Vec::new())
    }

    fn revision(&self) -> u64 {
        1
    }
}

const PROVIDER_ID: &str = "azure:///subscriptions/s/resourceGroups/mc/providers/Microsoft.Compute/virtualMachines/aks-pool-abcde";

fn start() -> Timestamp {
    "2026-01-05T08:00:00Z".parse().expect("a time")
}

/// A world in order: one claim with its node, machine, interface and disk. Each field may be broken.
struct World {
    objects: Vec<(Resource, Value)>,
    cloud: CloudView,
    history: History,
}

fn sound() -> World {
    let claim = json!({
        "metadata": {"name": "pool-abcde", "labels": {"karpenter.sh/nodepool": "pool"}},
        "status": {"providerID": PROVIDER_ID},
    });
    let node = json!({
        "metadata": {"name": "aks-pool-abcde", "labels": {"karpenter.sh/nodepool": "pool"}},
        "spec": {"providerID": PROVIDER_ID},
    });
    let pool = json!({"metadata": {"name": "pool"}, "spec": {"limits": {"cpu": "6"}}});
    World {
        objects: vec![
            (resources::CLAIMS, claim),
            (resources::NODES, node),
            (resources::POOLS, pool),
        ],
        cloud: CloudView {
            vms: vec![vm("aks-pool-abcde")],
            nics: vec![nic("aks-pool-abcde")],
            disks: vec![disk(Some("aks-pool-abcde"))],
        },
        history: History::new(Duration::from_mins(6)),
    }
}

fn tags() -> BTreeMap<String, String> {
    BTreeMap::from([("karpenter.sh_nodepool".to_owned(), "pool".to_owned())])
}

fn vm(name: &str) -> VmView {
    VmView {
        arm_id: PROVIDER_ID.trim_start_matches("azure://").to_owned(),
        provider_id: PROVIDER_ID.replace("aks-pool-abcde", name),
        name: name.to_owned(),
        size: "Standard_D4s_v5".to_owned(),
        zone: "westeurope-1".to_owned(),
        capacity_type: CapacityType::OnDemand,
        cores: 4,
        memory_bytes: 16 << 30,
        state: VmState::Running,
        failure: None,
        created: start(),
        running_since: Some(start()),
        evicted_at: None,
        deleted: None,
        price_per_hour: MicroUsd(230_000),
        tags: tags(),
    }
}

fn nic(name: &str) -> NicView {
    NicView {
        arm_id: name.to_owned(),
        name: name.to_owned(),
        attached_to: None,
        reserved_until: None,
        created: start(),
        deleted: None,
        tags: tags(),
    }
}

fn disk(attached_to: Option<&str>) -> DiskView {
    DiskView {
        arm_id: "disk".to_owned(),
        name: "aks-pool-abcde_OsDisk_1".to_owned(),
        attached_to: attached_to.map(str::to_owned),
        size_gib: 128,
        created: start(),
        deleted: None,
    }
}

impl World {
    fn without(mut self, resource: Resource) -> Self {
        self.objects.retain(|(kind, _)| *kind != resource);
        self
    }

    /// What one invariant finds an hour after the start.
    fn check(&self, id: &str) -> Findings {
        let objects = self
            .objects
            .iter()
            .map(|(kind, value)| (*kind, Object::new(Arc::new(value.clone()))))
            .collect();
        let mut mirror = Mirror::new();
        mirror.refresh(&Still(objects)).expect("it can be read");
        let observation = Observation {
            now: start() + SignedDuration::from_hours(1),
            objects: &mirror,
            cloud: &self.cloud,
        };
        let invariant = REGISTRY
            .iter()
            .find(|invariant| invariant.id == id)
            .expect("registered");
        (invariant.check)(&observation, &self.history)
    }
}

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
