//! PUT of a virtual machine: reading, checking, refusing, accepting.

use serde_json::{Map, json};

use super::{
    VMS,
    body::{image_of, read},
};
use crate::{
    cloud::Cloud,
    config::Refusal,
    error::{ArmError, Result},
    model::{Disk, Provisioning, Vm, VmSpec},
    operations::Owner,
    path::{ResourceId, same},
    render,
    routes::{Call, Reply, follow, network},
};

/// Creates a machine, or answers for one that exists.
pub(super) fn put(cloud: &mut Cloud, call: &Call<'_>, id: ResourceId) -> Result<Reply> {
    let body = call.body()?;
    let key = id.key();
    let mut spec = read(cloud, &id, &body)?;
    let existing = cloud.vms.get(&key);
    let fresh = existing.is_none();
    if let Some(vm) = existing {
        check_unchanged(vm, &spec)?;
        if vm.provisioning != Provisioning::Failed || vm.guest_report.is_some() {
            return update(cloud, call, &key, &spec);
        }
        // A failed machine keeps its identity and is tried again.
        spec.os_disk.name.clone_from(&vm.spec.os_disk.name);
    }
    check_nics(cloud, &id, &spec)?;
    let admitted = admit(cloud, &spec);
    if let Err(error) = admitted {
        reserve_nics(cloud, &id, &spec);
        return Err(error);
    }
    let operation = cloud.start_operation(Owner::Compute, Some(key.clone()));
    store(cloud, id, spec, &operation);
    cloud.begin_create(&key);
    let shown = cloud
        .vms
        .get(&key)
        .map(|vm| render::vm(vm, false))
        .unwrap_or_default();
    let reply = Reply::json(if fresh { 201 } else { 200 }, &shown);
    Ok(follow(cloud, call, reply, &operation, false))
}

/// A PUT to a machine that exists and is well: tags and identity may change, nothing else does.
fn update(cloud: &mut Cloud, call: &Call<'_>, key: &str, spec: &VmSpec) -> Result<Reply> {
    let Some(vm) = cloud.vms.get_mut(key) else {
        return call.not_allowed(VMS);
    };
    if vm.provisioning == Provisioning::Deleting {
        return Err(marked_for_deletion("PUT", &vm.id));
    }
    let mut changed = false;
    for member in ["tags", "identity"] {
        let wanted = spec
            .document
            .get(member)
            .cloned()
            .unwrap_or_else(|| json!({}));
        let stored = vm
            .spec
            .document
            .get(member)
            .cloned()
            .unwrap_or_else(|| json!({}));
        if wanted != stored {
            vm.spec.document[member] = wanted;
            changed = true;
        }
    }
    vm.etag += u64::from(changed);
    Ok(Reply::json(200, &render::vm(vm, false)))
}

pub(super) fn marked_for_deletion(verb: &str, id: &ResourceId) -> ArmError {
    ArmError::not_allowed(format!(
        "Operation '{verb}' is not allowed on VM '{}' since the VM is marked for deletion. You can only \
         retry the Delete operation (or wait for an ongoing one to complete).",
        id.name()
    ))
}

/// What cannot change on a machine that exists.
fn check_unchanged(vm: &Vm, spec: &VmSpec) -> Result<()> {
    let (old, new) = (&vm.spec, spec);
    let checks = [
        ("zones", old.placement.zone == new.placement.zone),
        (
            "priority",
            old.placement.capacity_type == new.placement.capacity_type,
        ),
        (
            "osProfile.computerName",
            old.computer_name == new.computer_name,
        ),
        (
            "osProfile.customData",
            new.custom_data.is_empty() || old.custom_data == new.custom_data,
        ),
        (
            "hardwareProfile.vmSize",
            same(&old.placement.size, &new.placement.size),
        ),
        (
            "imageReference",
            image_of(&old.document) == image_of(&new.document),
        ),
    ];
    match checks.into_iter().find(|(_, unchanged)| !unchanged) {
        Some((property, _)) => Err(ArmError::property_change(property)),
        None => Ok(()),
    }
}

/// Every interface must exist and be free for this machine.
fn check_nics(cloud: &Cloud, id: &ResourceId, spec: &VmSpec) -> Result<()> {
    let key = id.key();
    for (nic_key, _) in &spec.nics {
        let Some(nic) = cloud.nics.get(nic_key).filter(|nic| nic.deleting.is_none()) else {
            return Err(ArmError::new(
                400,
                "InvalidResourceReference",
                format!(
                    "Resource {nic_key} referenced by resource {id} was not found. Please make sure that \
                     the referenced resource exists, and that both resources are in the same region."
                ),
            ));
        };
        let other = nic.attached_to.as_ref().filter(|owner| **owner != key);
        if let Some(vm) = other.and_then(|owner| cloud.vms.get(owner)) {
            return Err(network::in_use(nic, &vm.id));
        }
        if let Some(error) = network::reservation(cloud, nic, Some(&key)) {
            return Err(error);
        }
    }
    Ok(())
}

/// What is refused at once: sizes that are not offered, and quota. Reserves the cores.
fn admit(cloud: &mut Cloud, spec: &VmSpec) -> Result<()> {
    if cloud.capacity.refusal(&spec.placement) == Some(Refusal::SkuNotAvailable) {
        return Err(cloud.refusal_error(Refusal::SkuNotAvailable, &spec.placement));
    }
    cloud
        .quota
        .reserve(spec.family, spec.placement.capacity_type, spec.cores)
        .map_err(|exceeded| cloud.quota_error(&exceeded))
}

/// A refused PUT leaves its interfaces reserved for the machine that did not come to be.
fn reserve_nics(cloud: &mut Cloud, id: &ResourceId, spec: &VmSpec) {
    let until = cloud.now + crate::lifecycle::NIC_RESERVATION;
    for (nic, _) in &spec.nics {
        if let Some(nic) = cloud.nics.get_mut(nic) {
            nic.reserved = Some((id.clone(), until));
        }
    }
}

/// Stores an admitted machine, its disk, and the links of its interfaces.
fn store(cloud: &mut Cloud, id: ResourceId, spec: VmSpec, operation: &str) {
    let key = id.key();
    for (nic, _) in &spec.nics {
        if let Some(nic) = cloud.nics.get_mut(nic) {
            nic.attached_to = Some(key.clone());
            nic.reserved = None;
            nic.etag += 1;
        }
    }
    store_disk(cloud, &id, &spec);
    let mut spec = spec;
    complete(cloud, &id, &mut spec);
    if let Some(vm) = cloud.vms.get_mut(&key) {
        vm.spec = spec;
        vm.settle(Provisioning::Creating, cloud.now);
        vm.failure = None;
        vm.holds_quota = true;
        vm.operation = Some(operation.to_owned());
        vm.epoch += 1;
        return;
    }
    let vm = Vm {
        guid: cloud.next_guid("vm"),
        spec,
        created: cloud.now,
        provisioning: Provisioning::Creating,
        settled: cloud.now,
        failure: None,
        guest_report: None,
        power: None,
        running_since: None,
        allocation: None,
        holds_quota: true,
        operation: Some(operation.to_owned()),
        power_goal: None,
        evicted_at: None,
        evicted: false,
        extensions: std::collections::BTreeMap::new(),
        epoch: cloud.first_epoch(),
        etag: 1,
        id,
    };
    cloud.vms.insert(key, vm);
}

/// Fills in what the service decides about the operating-system disk.
fn complete(cloud: &Cloud, vm: &ResourceId, spec: &mut VmSpec) {
    let wanted = spec.os_disk.clone();
    let disk = &mut spec.document["properties"]["storageProfile"]["osDisk"];
    disk["name"] = json!(wanted.name);
    disk["osType"] = json!("Linux");
    disk["diskSizeGB"] = json!(wanted.gib);
    disk["deleteOption"] = json!(if wanted.goes_with_vm {
        "Delete"
    } else {
        "Detach"
    });
    if disk.get("caching").is_none() {
        disk["caching"] = json!(if wanted.ephemeral {
            "ReadOnly"
        } else {
            "ReadWrite"
        });
    }
    if !wanted.ephemeral {
        let (group, kind) = (vm.group(), "Microsoft.Compute/disks");
        let id = ResourceId::in_group(&cloud.config.subscription_id, group, kind, &wanted.name);
        disk["managedDisk"]["id"] = json!(id.as_str());
        disk["managedDisk"]["storageAccountType"] = json!(wanted.account);
    }
}

fn store_disk(cloud: &mut Cloud, vm: &ResourceId, spec: &VmSpec) {
    let wanted = &spec.os_disk;
    if wanted.ephemeral {
        return;
    }
    let key = cloud.disk_key(vm, &wanted.name);
    let kind = "Microsoft.Compute/disks";
    let disk = Disk {
        id: ResourceId::in_group(
            &cloud.config.subscription_id,
            vm.group(),
            kind,
            &wanted.name,
        ),
        created: cloud.now,
        location: cloud.config.region.clone(),
        zone: spec.placement.zone.clone(),
        gib: wanted.gib,
        account: wanted.account.clone(),
        image: image_of(&spec.document).clone(),
        tags: Map::new(),
        owner: Some(vm.clone()),
        deleting: None,
        epoch: cloud.first_epoch(),
    };
    cloud.disks.insert(key, disk);
}
