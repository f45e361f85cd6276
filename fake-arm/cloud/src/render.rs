//! Stored resources as ARM shows them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    catalog::Location,
    model::{Cluster, Disk, Group, Nic, Power, Provisioning, Vm},
};

/// A time with the seven decimals that Azure prints.
pub(crate) fn time(at: Timestamp) -> String {
    let nanos = at.subsec_nanosecond();
    format!("{}.{:07}Z", at.strftime("%Y-%m-%dT%H:%M:%S"), nanos / 100)
}

/// A resource group.
pub(crate) fn group(group: &Group) -> Value {
    let state = if group.deleting.is_some() {
        "Deleting"
    } else {
        "Succeeded"
    };
    let mut body = json!({
        "id": group.id.as_str(),
        "name": group.id.name(),
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "tags": group.tags,
        "properties": {"provisioningState": state},
    });
    if let Some(owner) = &group.managed_by {
        body["managedBy"] = json!(owner);
    }
    body
}

/// A virtual machine; `expand` adds the instance view.
pub(crate) fn vm(vm: &Vm, expand: bool) -> Value {
    let mut body = vm.spec.document.clone();
    body["id"] = json!(vm.id.as_str());
    body["name"] = json!(vm.id.name());
    body["type"] = json!("Microsoft.Compute/virtualMachines");
    body["etag"] = json!(format!("\"{}\"", vm.etag));
    let properties = &mut body["properties"];
    properties["vmId"] = json!(vm.guid);
    properties["provisioningState"] = json!(vm.provisioning.as_str());
    properties["timeCreated"] = json!(time(vm.created));
    if expand {
        properties["instanceView"] = instance_view(vm);
    }
    if !vm.extensions.is_empty() {
        body["resources"] = vm.extensions.values().cloned().collect();
    }
    body
}

/// The instance view of a machine.
pub(crate) fn instance_view(vm: &Vm) -> Value {
    let mut statuses = vec![provisioning_status(vm)];
    if let Some(power) = vm.power {
        statuses.push(json!({
            "code": format!("PowerState/{}", power.as_str()),
            "level": "Info",
            "displayStatus": format!("VM {}", power.as_str()),
        }));
    }
    let mut view = json!({
        "computerName": vm.spec.computer_name,
        "hyperVGeneration": "V2",
        "disks": [],
        "statuses": statuses,
    });
    if let Some(report) = &vm.guest_report {
        view["extensions"] = json!([{
            "name": "vmssCSE",
            "type": "Microsoft.Azure.Extensions.CustomScript",
            // The script's exit code is in the message only; the status has always code 0.
            "statuses": [{
                "code": "ProvisioningState/failed/0",
                "level": "Error",
                "displayStatus": "Provisioning failed",
                "message": report,
            }],
        }]);
    }
    if vm.provisioning == Provisioning::Succeeded && vm.power == Some(Power::Running) {
        view["vmAgent"] = json!({
            "vmAgentVersion": "2.11.1.4",
            "statuses": [{
                "code": "ProvisioningState/succeeded",
                "level": "Info",
                "displayStatus": "Ready",
                "message": "Guest Agent is running",
                "time": time(vm.settled),
            }],
        });
    }
    view
}

fn provisioning_status(vm: &Vm) -> Value {
    match (&vm.failure, vm.provisioning) {
        (Some(failure), Provisioning::Failed) => json!({
            "code": format!("ProvisioningState/failed/{}", failure.code),
            "level": "Error",
            "displayStatus": "Provisioning failed",
            "message": failure.message,
            "time": time(vm.settled),
        }),
        (_, state) => {
            let display = match state {
                Provisioning::Succeeded => "Provisioning succeeded",
                other => other.as_str(),
            };
            json!({
                "code": format!("ProvisioningState/{}", state.as_str().to_lowercase()),
                "level": "Info",
                "displayStatus": display,
                "time": time(vm.settled),
            })
        }
    }
}

/// A network interface.
pub(crate) fn nic(nic: &Nic, vm: Option<&Vm>) -> Value {
    let mut body = nic.document.clone();
    let state = if nic.deleting.is_some() {
        "Deleting"
    } else {
        "Succeeded"
    };
    body["id"] = json!(nic.id.as_str());
    body["name"] = json!(nic.id.name());
    body["type"] = json!("Microsoft.Network/networkInterfaces");
    body["etag"] = json!(format!("W/\"{}\"", nic.etag));
    body["properties"]["provisioningState"] = json!(state);
    if let Some(vm) = vm {
        body["properties"]["virtualMachine"] = json!({"id": vm.id.as_str()});
    }
    body
}

/// A managed disk.
pub(crate) fn disk(disk: &Disk) -> Value {
    let state = if disk.deleting.is_some() {
        "Deleting"
    } else {
        "Succeeded"
    };
    let mut body = json!({
        "id": disk.id.as_str(),
        "name": disk.id.name(),
        "type": "Microsoft.Compute/disks",
        "location": disk.location,
        "tags": disk.tags,
        "sku": {"name": disk.account, "tier": disk.account.split('_').next().unwrap_or_default()},
        "properties": {
            "osType": "Linux",
            "creationData": {"createOption": "FromImage", "imageReference": disk.image},
            "diskSizeGB": disk.gib,
            "diskSizeBytes": disk.gib << 30,
            "diskState": if disk.owner.is_some() { "Attached" } else { "Unattached" },
            "provisioningState": state,
            "timeCreated": time(disk.created),
        },
    });
    if let Some(zone) = &disk.zone {
        body["zones"] = json!([zone]);
    }
    if let Some(owner) = &disk.owner {
        body["managedBy"] = json!(owner.as_str());
    }
    body
}

/// A managed cluster.
pub(crate) fn cluster(cluster: &Cluster) -> Value {
    let mut body = cluster.document.clone();
    let state = json!(cluster.provisioning.as_str());
    body["properties"]["provisioningState"] = state;
    body["properties"]["nodeProvisioningProfile"]["mode"] = json!(cluster.mode.as_str());
    body
}

/// A region in the list of locations.
pub(crate) fn location(subscription: &str, at: &Location) -> Value {
    let prefix = format!("/subscriptions/{subscription}/locations");
    let paired: Vec<Value> = at
        .paired()
        .map(|name| json!({"name": name, "id": format!("{prefix}/{name}")}))
        .collect();
    let mut body = json!({
        "id": format!("{prefix}/{}", at.name),
        "name": at.name,
        "type": "Region",
        "displayName": at.display_name,
        "regionalDisplayName": format!("({}) {}", at.geography_group, at.display_name),
        "metadata": {
            "regionType": "Physical",
            "regionCategory": at.category,
            "geography": at.geography,
            "geographyGroup": at.geography_group,
            "pairedRegion": paired,
        },
    });
    let zones: Vec<Value> = at
        .zones()
        .map(|(logical, physical)| json!({"logicalZone": logical, "physicalZone": physical}))
        .collect();
    if !zones.is_empty() {
        body["availabilityZoneMappings"] = json!(zones);
    }
    body
}
