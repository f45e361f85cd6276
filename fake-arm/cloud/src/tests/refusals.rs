//! What the platform does not give.

use super::*;
use crate::{CapacityOverride, CapacityType, QuotaKind};

fn sold_out(size: &str) -> CapacityOverride {
    CapacityOverride {
        size: size.to_owned(),
        zone: None,
        capacity_type: None,
        available: 0,
        refusal: None,
    }
}

fn message(answer: &ArmResponse) -> String {
    answer.json()["error"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_sold_out_size_is_refused_at_once_and_reserves_the_interface() {
    let mut world = World::default();
    world
        .cloud
        .set_capacity(&sold_out("standard_d4as_v5"))
        .expect("a size");
    let refused = world.create("aks-a", &Want::default());
    assert_eq!(refused.status, 409);
    insta::assert_json_snapshot!(refused.json(), @r#"
    {
      "error": {
        "code": "SkuNotAvailable",
        "message": "The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: Standard_D4as_v5' is currently not available in location 'westeurope'. Please try another size or deploy to a different location or different zone. See https://aka.ms/azureskunotavailable for details.",
        "target": "sku.name"
      }
    }
    "#);
    assert_eq!(world.get(&vm("aks-a")).status, 404);
    let reserved = world.delete(&nic("aks-a"));
    assert_eq!(
        (reserved.status, reserved.json()["error"]["code"].as_str()),
        (400, Some("NicReservedForAnotherVm"))
    );
    // The same name may use it at once, with another size.
    let other = world.create(
        "aks-a",
        &Want {
            size: "Standard_D4s_v5",
            ..Want::default()
        },
    );
    assert_eq!(other.status, 201);
}

#[test]
fn a_reserved_interface_can_be_deleted_after_three_minutes() {
    let mut world = World::default();
    world
        .cloud
        .set_capacity(&sold_out("Standard_D4as_v5"))
        .expect("a size");
    world.create("aks-a", &Want::default());
    world.pass(181);
    let delete = world.delete(&nic("aks-a"));
    assert_eq!(delete.status, 202);
    world.pass(2);
    assert_eq!(world.get(&nic("aks-a")).status, 404);
    assert_eq!(world.delete(&nic("aks-a")).status, 204);
}

#[test]
fn a_drained_zone_fails_inside_the_operation() {
    let mut world = World::default();
    let pool = CapacityOverride {
        zone: Some("westeurope-1".to_owned()),
        available: 1,
        ..sold_out("Standard_D4as_v5")
    };
    world.cloud.set_capacity(&pool).expect("a zone");
    world.create("aks-a", &Want::default());
    world.pass(20);
    let second = world.create("aks-b", &Want::default());
    assert_eq!(second.status, 201);
    world.pass(20);
    let status = world.poll(&second);
    assert_eq!(status["status"], "Failed");
    assert_eq!(status["error"]["code"], "ZonalAllocationFailed");
    let failed = world.get(&vm("aks-b")).json();
    assert_eq!(failed["properties"]["provisioningState"], "Failed");
    // A failed machine keeps its interface and holds no quota.
    assert_eq!(
        world.delete(&nic("aks-b")).json()["error"]["code"],
        "NicInUse"
    );
    assert_eq!(world.usage("standardDASv5Family"), 4);
    // Other zones are not concerned; the place comes back with the machine that held it.
    let elsewhere = world.create(
        "aks-c",
        &Want {
            zone: Some("2"),
            ..Want::default()
        },
    );
    world.delete(&vm("aks-a"));
    world.delete(&vm("aks-b"));
    world.pass(20);
    assert_eq!(world.poll(&elsewhere)["status"], "Succeeded");
    let again = world.create("aks-d", &Want::default());
    world.pass(20);
    assert_eq!(world.poll(&again)["status"], "Succeeded");
}

#[test]
fn spot_without_room_is_overconstrained_and_on_demand_is_not_concerned() {
    let mut world = World::default();
    let pool = CapacityOverride {
        zone: Some("1".to_owned()),
        capacity_type: Some(CapacityType::Spot),
        ..sold_out("*")
    };
    world.cloud.set_capacity(&pool).expect("a pool");
    let spot = world.create("aks-s", &Want::spot());
    let regular = world.create("aks-r", &Want::default());
    world.pass(20);
    let status = world.poll(&spot);
    assert_eq!(
        status["error"]["code"],
        "OverconstrainedZonalAllocationRequest"
    );
    assert!(
        status["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .contains("Low Priority VMs")
    );
    assert_eq!(world.poll(&regular)["status"], "Succeeded");
}

#[test]
fn quota_refusals_carry_the_words_that_clients_look_for() {
    let mut world = World::default();
    world
        .cloud
        .set_quota(&QuotaKind::Family("standardDASv5Family".to_owned()), 6)
        .expect("a family");
    world.create("aks-a", &Want::default());
    let family = world.create("aks-b", &Want::default());
    assert_eq!(family.status, 409);
    assert_eq!(family.json()["error"]["code"], "OperationNotAllowed");
    insta::assert_snapshot!(message(&family).split(" Submit").next().unwrap_or_default(), @"Operation could not be completed as it results in exceeding approved standardDASv5Family Cores quota. Additional details - Deployment Model: Resource Manager, Location: westeurope, Current Limit: 6, Current Usage: 4, Additional Required: 4, (Minimum) New Limit Required: 8.");
    assert!(message(&family).contains("Submit a request for Quota increase"));

    world
        .cloud
        .set_quota(&QuotaKind::Regional, 10)
        .expect("a limit");
    let regional = world.create(
        "aks-c",
        &Want {
            size: "Standard_D4s_v5",
            ..Want::default()
        },
    );
    assert!(message(&regional).contains("exceeding approved Total Regional Cores quota"));

    world
        .cloud
        .set_quota(&QuotaKind::LowPriority, 0)
        .expect("a limit");
    let spot = world.create("aks-d", &Want::spot());
    assert!(message(&spot).contains("LowPriorityCores"));
    assert!(message(&spot).contains("Current Limit: 0"));
    // The system pool's four cores and the one machine.
    assert_eq!(
        (world.usage("cores"), world.usage("lowPriorityCores")),
        (8, 0)
    );
    assert!(
        world
            .cloud
            .set_quota(&QuotaKind::Family("x".to_owned()), 1)
            .is_err()
    );
}

#[test]
fn bodies_that_make_no_sense_are_refused_with_their_field() {
    let cases: [(&str, &str, Value); 8] = [
        (
            "/properties/hardwareProfile/vmSize",
            "vmSize",
            json!("Standard_X1"),
        ),
        ("/zones", "zones", json!(["1", "2"])),
        ("/properties/priority", "priority", json!("Cheap")),
        ("/properties/evictionPolicy", "", json!("Delete")),
        (
            "/properties/storageProfile/imageReference",
            "imageReference",
            json!({}),
        ),
        (
            "/properties/osProfile/customData",
            "customData",
            json!("not base64!"),
        ),
        ("/properties/networkProfile", "networkInterfaces", json!({})),
        ("/location", "", json!("nowhere")),
    ];
    let mut world = World::default();
    world.put_nic("aks-a");
    for (pointer, target, value) in cases {
        let mut body = vm_body("aks-a", &Want::default());
        let (parent, member) = pointer.rsplit_once('/').expect("a pointer");
        body.pointer_mut(parent).expect("a parent")[member] = value;
        let refused = world.put(&vm("aks-a"), &body);
        assert_eq!(refused.status, 400, "{pointer}");
        assert_eq!(
            refused.json()["error"]["target"]
                .as_str()
                .unwrap_or_default(),
            target,
            "{pointer}"
        );
    }
    let text = world.send(ArmRequest::new(Method::Put, BASE, &vm("aks-a")).body("{"));
    assert_eq!(text.json()["error"]["code"], "InvalidRequestContent");
    let absent = world.put(&vm("aks-z"), &vm_body("aks-z", &Want::default()));
    assert_eq!(absent.json()["error"]["code"], "InvalidResourceReference");
}

#[test]
fn a_subnet_has_an_end() {
    let mut config = CloudConfig::default();
    config.clusters[0].network.subnet_prefix = "10.224.0.0/29".to_owned();
    let mut world = World::new(config, 1);
    let addresses: Vec<String> = ["a", "b", "c"]
        .map(|name| {
            let body = world.put_nic(name).json();
            body["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"].to_string()
        })
        .to_vec();
    assert_eq!(
        addresses,
        ["\"10.224.0.4\"", "\"10.224.0.5\"", "\"10.224.0.6\""]
    );
    assert_eq!(world.put_nic("d").json()["error"]["code"], "SubnetIsFull");
    world.delete(&nic("b"));
    world.pass(2);
    assert_eq!(world.put_nic("d").status, 201);
}

#[test]
fn a_configuration_must_name_what_exists() {
    let start = "2026-01-05T08:00:00Z".parse().expect("a time");
    let error = |config: CloudConfig| {
        Cloud::new(config, 1, start)
            .expect_err("refused")
            .to_string()
    };
    let pool = CloudConfig {
        capacity: vec![sold_out("Standard_X")],
        ..CloudConfig::default()
    };
    insta::assert_snapshot!(error(pool), @"capacity[0].size: region westeurope does not sell the size 'Standard_X'");
    let region = CloudConfig {
        region: "mars".to_owned(),
        ..CloudConfig::default()
    };
    assert!(error(region).starts_with("region: no sizes and prices are known for 'mars'"));
    let unknown = serde_json::from_value::<CloudConfig>(json!({"regoin": "x"}));
    assert!(
        unknown
            .expect_err("refused")
            .to_string()
            .contains("unknown field `regoin`")
    );
}
