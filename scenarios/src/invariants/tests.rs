//! Each invariant is shown to fire by a world that breaks what it watches, and to hold in the same
//! world unbroken.

use std::sync::Arc;

use crate::world::facts::{Change, Object, Resource};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{DeletedPod, Eviction, Metric, Priced, REGISTRY, Refusal, Replacement};
use crate::observe::testing::{World, disk, sound, start, vm};
use crate::observe::{Seen, resources};

/// A change of an object, as the store's history has it.
fn change(resource: Resource, before: Option<Value>, now: Value) -> Seen {
    let object = |value: Value| Object::new(Arc::new(value));
    Seen {
        revision: 7,
        resource,
        change: if before.is_some() {
            Change::Modified
        } else {
            Change::Added
        },
        before: before.map(object),
        object: object(now),
    }
}

/// The claim of a sound world, disrupted from now on.
fn disrupted(world: &mut World, reason: &str) {
    let before = world.objects[0].1.clone();
    let claim = &mut world.objects[0].1;
    claim["status"]["nodeName"] = json!("aks-pool-abcde");
    claim["status"]["conditions"] =
        json!([{"type": "DisruptionReason", "status": "True", "reason": reason}]);
    let changed = change(resources::CLAIMS, Some(before), claim.clone());
    world.history.facts.changes.push(changed);
}

fn pod(name: &str, evicted: bool) -> Value {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"nodeName": "aks-pool-abcde"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    if evicted {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-05T08:30:00Z");
        pod["status"]["conditions"] = json!([
            {"type": "Ready", "status": "True"},
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"},
        ]);
    }
    pod
}

/// A world in which the premise of an invariant about something that happened holds.
fn eventful(id: &str) -> World {
    let mut world = sound();
    let facts = &mut world.history.facts;
    match id {
        "INV-BUDGETS" => {
            world.objects[2].1["spec"]["disruption"]["budgets"] = json!([{"nodes": "1"}]);
            disrupted(&mut world, "Underutilized");
        }
        "INV-DO-NOT-DISRUPT" => disrupted(&mut world, "Empty"),
        "INV-PDB" => {
            let budget = json!({
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"selector": {"matchLabels": {"app": "web"}}},
                "status": {"desiredHealthy": 1},
            });
            let (old, evicted) = (pod("a", false), pod("a", true));
            facts
                .changes
                .push(change(resources::PODS, Some(old), evicted.clone()));
            world.objects.push((resources::PDBS, budget));
            world.objects.push((resources::PODS, evicted));
            world.objects.push((resources::PODS, pod("b", false)));
        }
        "INV-TERMINATION-GRACE" => {
            facts.deleted_pods.push(DeletedPod {
                pod: "default/a".to_owned(),
                node: "aks-pool-abcde".to_owned(),
                grace_seconds: 30,
            });
            let claim = &mut world.objects[0].1;
            claim["status"]["nodeName"] = json!("aks-pool-abcde");
            claim["metadata"]["deletionTimestamp"] = json!("2026-01-05T08:00:00Z");
            claim["spec"]["terminationGracePeriod"] = json!("1h0m0s");
        }
        "INV-QUOTA" => facts.refusals.push(Refusal {
            size: "Standard_D4s_v5".to_owned(),
            known_since: None,
        }),
        "INV-CHEAPER" => facts.replacements.push(Replacement {
            from: vec![priced("a", 300)],
            to: vec![Priced {
                offering: "Standard_D2s_v5 westeurope-1 spot".to_owned(),
                ..priced("b", 200)
            }],
        }),
        "INV-SPOT-DEADLINE" => {
            world.history.calm_since = Some(start());
            let claim = &mut world.objects[0].1;
            claim["status"]["nodeName"] = json!("aks-pool-abcde");
            claim["metadata"]["deletionTimestamp"] = json!("2026-01-05T08:30:05Z");
            let noticed = start() + SignedDuration::from_mins(30);
            world.history.facts.evictions.push(Eviction {
                provider_id: vm("aks-pool-abcde").provider_id,
                noticed,
                at: noticed + SignedDuration::from_secs(30),
                evicted: true,
            });
        }
        "INV-STORE-HISTORY" => {
            let claim = world.objects[0].1.clone();
            let same = change(resources::CLAIMS, Some(claim.clone()), claim);
            facts.changes.push(same);
        }
        "INV-PING-PONG" => {
            world.history.churn.insert("pool".to_owned(), 2);
            world.history.churn_nodes.insert("pool".to_owned(), 1);
        }
        _ => {}
    }
    world
}

fn priced(claim: &str, price: u64) -> Priced {
    Priced {
        claim: claim.to_owned(),
        offering: "Standard_D4s_v5 westeurope-1 spot".to_owned(),
        price,
    }
}

fn broken(id: &str) -> World {
    let mut world = eventful(id);
    let long_ago = start();
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
                .insert("NodeClaim//pool-abcde".to_owned(), long_ago);
        }
        "INV-LIMITS" => {
            let mut second = vm("aks-pool-fghij");
            second.provider_id = "azure:///other".to_owned();
            world.cloud.vms.push(second);
        }
        "INV-BUDGETS" => {
            let mut second = world.objects[0].1.clone();
            second["metadata"]["name"] = json!("pool-fghij");
            world.objects.push((resources::CLAIMS, second));
        }
        "INV-DO-NOT-DISRUPT" => {
            let protected = ("aks-pool-abcde".to_owned(), long_ago);
            let pods = &mut world.history.protected_pods;
            pods.insert("default/a".to_owned(), protected);
        }
        "INV-PDB" => {
            world.objects.pop();
        }
        "INV-TERMINATION-GRACE" => {
            world.objects[0].1["spec"]["terminationGracePeriod"] = json!("2h");
        }
        "INV-QUOTA" => world.history.facts.refusals[0].known_since = Some(long_ago),
        "INV-CHEAPER" => world.history.facts.replacements[0].to[0].price = 300,
        "INV-PING-PONG" => {
            world.history.churn.insert("pool".to_owned(), 7);
        }
        "INV-POD-VERDICT" => {
            world.history.calm_since = Some(long_ago - SignedDuration::from_mins(5));
            let pods = &mut world.history.waiting.unanswered;
            pods.insert((long_ago, "default/a".to_owned()));
        }
        "INV-SPOT-DEADLINE" => {
            world.objects[0].1["metadata"]["deletionTimestamp"] = Value::Null;
        }
        "INV-METRICS" => world.history.metrics.push(Metric {
            name: "karpenter_nodes_created_total".to_owned(),
            said: 1,
            truth: 2,
        }),
        "INV-STORE-HISTORY" => {
            let changed = &mut world.history.facts.changes[0];
            let mut other = changed.object.value().clone();
            other["metadata"]["uid"] = json!("another");
            changed.object = Object::new(Arc::new(other));
        }
        "INV-MEMORY" => world.history.tasks = 1_000,
        other => panic!("{other} has no world that breaks it: add one here"),
    }
    world
}

#[test]
fn every_invariant_holds_in_a_sound_world_and_fires_in_a_broken_one() {
    for invariant in REGISTRY {
        let sound = eventful(invariant.id).check(invariant.id);
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
