//! The life of a machine.

use serde_json::json;

use super::*;
use crate::{NapMode, StopReason, VmState};

#[test]
fn a_machine_boots_and_goes_with_its_interface_and_disk() {
    let mut world = World::default();
    world.events.clear();
    let put = world.create("aks-a", &Want::default());
    assert_eq!(put.status, 201);
    assert_eq!(put.json()["properties"]["provisioningState"], "Creating");
    assert_eq!(put.header("retry-after"), Some("1"));
    assert!(
        put.json()["properties"]["osProfile"]
            .get("customData")
            .is_none()
    );
    assert_eq!(world.poll(&put)["status"], "InProgress");

    world.pass(15);
    assert_eq!(world.poll(&put)["status"], "Succeeded");
    let [CloudEvent::VmStarted(started)] = world.events.as_slice() else {
        panic!("one start: {:?}", world.events)
    };
    insta::assert_debug_snapshot!(started, @r#"
    StartedVm {
        arm_id: "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/MC_nap-dev_nap-dev_westeurope/providers/Microsoft.Compute/virtualMachines/aks-a",
        provider_id: "azure:///subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/mc_nap-dev_nap-dev_westeurope/providers/Microsoft.Compute/virtualMachines/aks-a",
        host_name: "aks-a",
        custom_data: "IyEvYmluL3No",
        vm_size: "Standard_D4as_v5",
        region: "westeurope",
        zone: "westeurope-1",
        cores: 4,
        memory_bytes: 17179869184,
        os_disk_bytes: 137438953472,
        gpu_count: 0,
        tags: {
            "karpenter.sh_nodepool": "default",
        },
        agent_pool: None,
    }
    "#);
    let view = world.get(&vm("aks-a").replace('?', "?$expand=instanceView&"));
    let statuses = &view.json()["properties"]["instanceView"]["statuses"];
    assert_eq!(statuses[1]["code"], "PowerState/running");
    assert_eq!(
        world.get(&disk("aks-a")).json()["properties"]["diskState"],
        "Attached"
    );
    assert_eq!(world.cloud.vms()[0].price_per_hour.to_string(), "0.208");

    world.events.clear();
    let delete = world.delete(&vm("aks-a"));
    assert_eq!(delete.status, 202);
    world.pass(10);
    assert_eq!(world.poll(&delete)["status"], "Succeeded");
    for gone in [vm("aks-a"), nic("aks-a"), disk("aks-a")] {
        assert_eq!(world.get(&gone).status, 404, "{gone}");
    }
    assert!(matches!(
        world.events.as_slice(),
        [CloudEvent::VmStopped {
            reason: StopReason::Deleted,
            ..
        }]
    ));
    assert_eq!(world.cloud.vms()[0].state, VmState::Gone);
    assert_eq!(world.delete(&vm("aks-a")).status, 204);
}

#[test]
fn the_same_put_twice_starts_nothing_new() {
    let mut world = World::default();
    world.create("aks-a", &Want::default());
    let again = world.create("aks-a", &Want::default());
    assert_eq!(
        (again.status, again.header("azure-asyncoperation")),
        (200, None)
    );
    let moved = world.put(
        &vm("aks-a"),
        &vm_body(
            "aks-a",
            &Want {
                zone: Some("2"),
                ..Want::default()
            },
        ),
    );
    assert_eq!(moved.status, 409);
    assert_eq!(moved.json()["error"]["code"], "PropertyChangeNotAllowed");
    assert_eq!(moved.json()["error"]["target"], "zones");
    world.pass(20);
    let starts = world
        .events
        .iter()
        .filter(|event| matches!(event, CloudEvent::VmStarted(vm) if vm.agent_pool.is_none()));
    assert_eq!(starts.count(), 1);
}

#[test]
fn paths_compare_without_case_and_slashes_collapse() {
    let mut world = World::default();
    world.create("aks-a", &Want::default());
    let shouted = vm("aks-a")
        .to_uppercase()
        .replace("API-VERSION", "api-version");
    assert_eq!(world.get(&format!("/{shouted}")).json()["name"], "aks-a");
}

#[test]
fn a_deleted_machine_preempts_its_creation() {
    let mut world = World::default();
    let put = world.create("aks-a", &Want::default());
    world.delete(&vm("aks-a"));
    let status = world.poll(&put);
    assert_eq!(status["status"], "Canceled");
    assert_eq!(status["error"]["code"], "OperationPreempted");
    world.pass(30);
    assert!(
        !world
            .events
            .iter()
            .any(|event| matches!(event, CloudEvent::VmStopped { .. }))
    );
    assert_eq!(world.get(&nic("aks-a")).status, 404);
}

#[test]
fn an_eviction_is_announced_and_the_interface_outlives_the_machine() {
    let mut world = World::default();
    world.create("aks-s", &Want::spot());
    world.pass(20);
    world.events.clear();
    world
        .cloud
        .evict(world.now, "aks-s")
        .expect("a spot machine");
    world.pass(1);
    let [CloudEvent::ScheduledEvent { not_before, .. }] = world.events.as_slice() else {
        panic!("a notice: {:?}", world.events)
    };
    assert_eq!(not_before.duration_since(world.now).as_secs(), 29);
    world.pass(28);
    assert_eq!(world.events.len(), 1);
    world.pass(10);
    assert!(matches!(
        world.events.as_slice(),
        [
            _,
            CloudEvent::VmStopped {
                reason: StopReason::Evicted,
                ..
            }
        ]
    ));
    assert_eq!(world.get(&vm("aks-s")).status, 404);
    let refused = world.delete(&nic("aks-s"));
    assert_eq!(refused.json()["error"]["code"], "NicReservedForAnotherVm");
    world.pass(180);
    assert_eq!(world.get(&nic("aks-s")).status, 404);
    assert_eq!(world.usage("lowPriorityCores"), 0);
}

#[test]
fn a_deallocated_spot_machine_keeps_its_quota_but_not_its_place() {
    let mut world = World::default();
    let want = Want {
        eviction: "Deallocate",
        ..Want::spot()
    };
    world.create("aks-s", &want);
    world.pass(20);
    let action = vm("aks-s").replace('?', "/simulateEviction?");
    assert_eq!(world.post(&action, &json!({})).status, 204);
    world.pass(60);
    let vm_now = &world.cloud.vms()[0];
    assert_eq!(
        (vm_now.state, vm_now.price_per_hour.0),
        (VmState::Stopped, 0)
    );
    assert_eq!(world.usage("lowPriorityCores"), 4);
}

#[test]
fn machines_and_interfaces_are_found_by_tag() {
    let mut world = World::default();
    world.create("aks-a", &Want::default());
    let query = |kind: &str, group: &str| {
        json!({"subscriptions": ["00000000-0000-0000-0000-000000000001"], "query": format!(
            "Resources | where type == \"{kind}\" | where resourceGroup == \"{group}\" | where tags \
             has_cs \"karpenter.sh_nodepool\" | where not(tags has_cs \
             \"karpenter.azure.com_aksmachine_nodeclaim\")"), "options": {"resultFormat": "objectArray"}})
    };
    let target = "/providers/Microsoft.ResourceGraph/resources?api-version=2024-04-01";
    let group = GROUP.to_lowercase();
    for kind in [
        "microsoft.compute/virtualmachines",
        "microsoft.network/networkinterfaces",
    ] {
        let found = world.post(target, &query(kind, &group)).json();
        assert_eq!(
            (&found["count"], &found["data"][0]["name"]),
            (&json!(1), &json!("aks-a"))
        );
        assert_eq!(world.post(target, &query(kind, "other")).json()["count"], 0);
    }
    let bad = world.post(target, &json!({"query": "Resources | summarize count()"}));
    assert_eq!(bad.status, 400);
}

#[test]
fn a_group_takes_everything_with_it() {
    let mut world = World::default();
    let group = format!("{SUBSCRIPTION}/resourcegroups/rg?api-version=2024-11-01");
    assert_eq!(
        world
            .put(&group, &json!({"location": "West Europe"}))
            .status,
        201
    );
    assert_eq!(
        world.put(&group, &json!({"location": "westeurope"})).status,
        200
    );
    let delete = world.delete(&group);
    assert_eq!(
        (delete.status, delete.header("azure-asyncoperation")),
        (202, None)
    );
    let location = delete.header("location").expect("a URL").replace(BASE, "");
    assert_eq!(world.get(&location).status, 202);
    world.pass(10);
    assert_eq!(world.get(&location).status, 204);
    let gone = world.get(&group);
    assert_eq!(
        (gone.status, &gone.json()["error"]["code"]),
        (404, &json!("ResourceGroupNotFound"))
    );
}

#[test]
fn provisioning_is_switched_off_only_when_nothing_is_left() {
    struct Busy;
    impl crate::ClusterFacts for Busy {
        fn provisioned_nodes(&self, _: &str) -> Vec<String> {
            vec!["aks-a".to_owned()]
        }
        fn open_node_pools(&self, _: &str) -> Vec<String> {
            vec!["default".to_owned()]
        }
        fn kubeconfig(&self, _: &str) -> Option<String> {
            Some("apiVersion: v1".to_owned())
        }
    }
    let mut world = World::default();
    let target = format!(
        "{SUBSCRIPTION}/resourceGroups/nap-dev/providers/Microsoft.ContainerService/managedClusters/nap-dev"
    );
    let versioned = format!("{target}?api-version=2026-06-01");
    let mut cluster = world.get(&versioned).json();
    assert_eq!(
        cluster["properties"]["nodeProvisioningProfile"]["mode"],
        "Auto"
    );
    cluster["properties"]["nodeProvisioningProfile"]["mode"] = json!("Manual");
    world.cloud.set_cluster_facts(Box::new(Busy));
    let refused = world.put(&versioned, &cluster);
    assert_eq!(refused.status, 400);
    insta::assert_snapshot!(refused.json()["message"].as_str().unwrap_or_default(), @"Node auto-provisioning cannot be disabled on this managed cluster. Nodes it provisioned still exist: aks-a. NodePools whose spec.limits.cpu is not 0: default.");
    let credentials = world.post(
        &format!("{target}/listClusterUserCredential?api-version=2026-06-01"),
        &json!({}),
    );
    assert_eq!(
        credentials.json()["kubeconfigs"][0]["value"],
        "YXBpVmVyc2lvbjogdjE="
    );

    world
        .cloud
        .set_cluster_facts(Box::new(crate::NoClusterFacts));
    let accepted = world.put(&versioned, &cluster);
    assert_eq!(accepted.status, 200);
    world.pass(10);
    assert_eq!(world.poll(&accepted)["status"], "Succeeded");
    assert!(matches!(
        world.events.last(),
        Some(CloudEvent::NapModeChanged {
            mode: NapMode::Manual,
            ..
        })
    ));
}

#[test]
fn a_guest_that_fails_says_why_and_keeps_its_place() {
    let mut world = World::default();
    let put = world.create("aks-a", &Want::default());
    let has_started = |world: &World| {
        world
            .events
            .iter()
            .any(|it| matches!(it, CloudEvent::VmStarted(vm) if vm.host_name == "aks-a"))
    };
    while !has_started(&world) {
        let at = world.cloud.wake_at().expect("it will start");
        world.now = at.max(world.now);
        let events = world.cloud.advance(world.now);
        world.events.extend(events);
    }
    let before = world.get(&vm("aks-a")).json();
    assert_eq!(before["properties"]["provisioningState"], "Creating");
    world
        .cloud
        .guest_failed(world.now, "aks-a", 34, "kubelet does not start")
        .expect("a VM");
    let status = world.poll(&put);
    assert_eq!(status["error"]["code"], "VMExtensionProvisioningError");
    let view = world
        .get(&vm("aks-a").replace('?', "?$expand=instanceView&"))
        .json();
    let view = &view["properties"]["instanceView"];
    assert_eq!(
        view["statuses"][0]["code"],
        "ProvisioningState/failed/VMExtensionProvisioningError"
    );
    let told = &view["extensions"][0]["statuses"][0];
    assert_eq!(told["code"], "ProvisioningState/failed/0");
    insta::assert_snapshot!(told["message"].as_str().expect("a text"), @r#"
    Enable failed: failed to execute command: command terminated with exit status=34
    [stdout]
    { "ExitCode": "34", "Output": "kubelet does not start", "Error": "" }

    [stderr]
    "#);
    assert_eq!(view["statuses"][1]["code"], "PowerState/running");
    assert_eq!(world.usage("cores"), 8);
    world.delete(&vm("aks-a"));
    world.pass(10);
    assert_eq!(
        (world.usage("cores"), world.get(&nic("aks-a")).status),
        (4, 404)
    );
}

#[test]
fn a_list_shows_what_has_changed_since_it_was_last_asked_for() {
    let mut world = World::default();
    for index in 0..5 {
        world.create(&format!("aks-{index}"), &Want::default());
    }
    let list = vm("").replace("/?", "?");
    let state = |world: &mut World| {
        world.get(&list).json()["value"][0]["properties"]["provisioningState"].clone()
    };
    assert_eq!(state(&mut world), "Creating");
    assert_eq!(state(&mut world), "Creating");
    world.pass(20);
    assert_eq!(state(&mut world), "Succeeded");
    world.delete(&vm("aks-0"));
    assert_eq!(state(&mut world), "Deleting");
}
