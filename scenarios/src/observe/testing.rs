//! A small world in order, for tests that break one thing in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fake_apiserver_components::api::{
    Api, Identity, Object, Request, Resource, Status, WatchEvent,
};
use fake_arm_cloud::{CapacityType, DiskView, MicroUsd, NicView, VmState, VmView};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::invariants::{Findings, History, REGISTRY};
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

pub(crate) fn start() -> Timestamp {
    "2026-01-05T08:00:00Z".parse().expect("a time")
}

/// A world in order: one claim with its node, machine, interface and disk. Each field may be broken.
pub(crate) struct World {
    pub(crate) objects: Vec<(Resource, Value)>,
    pub(crate) cloud: CloudView,
    pub(crate) history: History,
}

pub(crate) fn sound() -> World {
    let claim = json!({
        "metadata": {"name": "pool-abcde", "labels": {"karpenter.sh/nodepool": "pool"}},
        "status": {"providerID": PROVIDER_ID},
    });
    let node = json!({
        "metadata": {"name": "aks-pool-abcde", "labels": {"karpenter.sh/nodepool": "pool"}},
        "spec": {"providerID": PROVIDER_ID},
    });
    let pool = json!({"metadata": {"name": "pool"}, "spec": {"limits": {"cpu": "6"}}});
    let mut history = History::new(Duration::from_mins(6));
    history.calm_since = Some(start());
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
        history,
    }
}

fn tags() -> BTreeMap<String, String> {
    BTreeMap::from([("karpenter.sh_nodepool".to_owned(), "pool".to_owned())])
}

pub(crate) fn vm(name: &str) -> VmView {
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

pub(crate) fn nic(name: &str) -> NicView {
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

pub(crate) fn disk(attached_to: Option<&str>) -> DiskView {
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
    pub(crate) fn without(mut self, resource: Resource) -> Self {
        self.objects.retain(|(kind, _)| *kind != resource);
        self
    }

    /// What one invariant finds an hour after the start.
    pub(crate) fn check(&self, id: &str) -> Findings {
        let invariant = REGISTRY
            .iter()
            .find(|invariant| invariant.id == id)
            .expect("registered");
        self.observed(|observation| (invariant.check)(observation, &self.history))
    }

    /// Looks at the world an hour after the start.
    pub(crate) fn observed<T>(&self, look: impl FnOnce(&Observation<'_>) -> T) -> T {
        let objects = self
            .objects
            .iter()
            .map(|(kind, value)| (*kind, Object::new(Arc::new(value.clone()))))
            .collect();
        let mut mirror = Mirror::new();
        mirror.refresh(&Still(objects)).expect("it can be read");
        look(&Observation {
            now: start() + SignedDuration::from_hours(1),
            objects: &mirror,
            cloud: &self.cloud,
            elapsed: Duration::from_hours(1),
            requests: 0,
        })
    }
}
