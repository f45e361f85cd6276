//! PUT of a virtual machine: reading, checking, refusing, accepting.

use serde_json::{Map, Value, json};

use super::{VMS, images};
use crate::{
    catalog::Size,
    cloud::Cloud,
    config::{CapacityType, Refusal},
    error::{ArmError, Result},
    model::{Disk, EvictionPolicy, OsDisk, Provisioning, Vm, VmSpec},
    operations::Owner,
    path::{ResourceId, key_of, same},
    physics::{Exceeded, Placement, QuotaName},
    render,
    routes::{Call, Reply, follow, network, resources::location_of},
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
        if vm.provisioning != Provisioning::Failed {
            return update(cloud, call, &key, spec);
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
fn update(cloud: &mut Cloud, call: &Call<'_>, key: &str, spec: VmSpec) -> Result<Reply> {
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

fn image_of(document: &Value) -> &Value {
    &document["properties"]["storageProfile"]["imageReference"]
}

/// Reads a body into a specification; nothing is changed.
fn read(cloud: &Cloud, id: &ResourceId, body: &Value) -> Result<VmSpec> {
    let name = id.name();
    if name.len() > 64 || name.is_empty() {
        return Err(ArmError::new(
            400,
            "InvalidResourceName",
            format!("The VM name '{name}' must have 1 to 64 characters."),
        ));
    }
    let location = location_of(body)?;
    if location != cloud.config.region {
        return Err(ArmError::new(
            400,
            "LocationNotAvailableForResourceType",
            format!(
                "The provided location '{location}' is not available for resource type '{VMS}'. List of \
                 available regions for the resource type is '{}'.",
                cloud.config.region
            ),
        ));
    }
    let properties = &body["properties"];
    let size = size_of(cloud, properties)?;
    let zone = zone_of(cloud, size, body)?;
    let spot = spot_of(size, properties)?;
    images::check_reference(&properties["storageProfile"]["imageReference"])?;
    let computer_name = properties["osProfile"]["computerName"]
        .as_str()
        .unwrap_or_default();
    if computer_name.is_empty() || computer_name.len() > 64 {
        return Err(ArmError::invalid_parameter(
            "computerName",
            format!("The computer name '{computer_name}' must have 1 to 64 characters."),
        ));
    }
    Ok(VmSpec {
        placement: Placement {
            size: size.name.to_owned(),
            zone,
            capacity_type: if spot.is_some() {
                CapacityType::Spot
            } else {
                CapacityType::OnDemand
            },
        },
        family: size.family,
        cores: size.vcpus,
        eviction_policy: spot.unwrap_or(EvictionPolicy::Deallocate),
        nics: nics_of(properties)?,
        os_disk: os_disk_of(cloud, id, properties)?,
        computer_name: computer_name.to_owned(),
        custom_data: custom_data_of(properties)?,
        document: shown(body, &location),
    })
}

fn size_of<'a>(cloud: &'a Cloud, properties: &Value) -> Result<&'a Size> {
    let given = properties["hardwareProfile"]["vmSize"]
        .as_str()
        .unwrap_or_default();
    if given.is_empty() {
        return Err(ArmError::invalid_parameter(
            "hardwareProfile.vmSize",
            "Required parameter 'hardwareProfile.vmSize' is missing (null).",
        ));
    }
    cloud.catalog.size(given).ok_or_else(|| {
        ArmError::invalid_parameter(
            "vmSize",
            format!(
                "The requested VM size {given} is not available in the current region. The sizes \
                 available in the current region can be listed with the SKU list."
            ),
        )
    })
}

fn zone_of(cloud: &Cloud, size: &Size, body: &Value) -> Result<Option<String>> {
    let zones = body
        .get("zones")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let zone = match zones {
        [] => return Ok(None),
        [zone] => zone.as_str().unwrap_or_default(),
        _ => {
            return Err(ArmError::invalid_parameter(
                "zones",
                "A virtual machine can be in one availability zone only.",
            ));
        }
    };
    if cloud
        .catalog
        .zones_of(size)
        .iter()
        .any(|known| known == zone)
    {
        return Ok(Some(zone.to_owned()));
    }
    Err(ArmError::new(
        400,
        "AvailabilityZoneNotSupported",
        format!(
            "The zone(s) '{zone}' for resource '{}' is not supported. The supported zones for location \
             '{}' are '{}'",
            size.name,
            cloud.config.region,
            cloud.catalog.zones_of(size).join(",")
        ),
    ))
}

/// `None` for an on-demand machine.
fn spot_of(size: &Size, properties: &Value) -> Result<Option<EvictionPolicy>> {
    let spot = match properties["priority"].as_str() {
        None | Some("Regular") => false,
        Some("Spot" | "Low") => true,
        Some(other) => {
            return Err(ArmError::invalid_parameter(
                "priority",
                format!(
                    "The value '{other}' of parameter priority is invalid: use Regular or Spot."
                ),
            ));
        }
    };
    let policy = properties["evictionPolicy"].as_str();
    let max_price = properties["billingProfile"]["maxPrice"].as_f64();
    if !spot {
        return match (policy, max_price) {
            (None, None) => Ok(None),
            (Some(_), _) => Err(ArmError::new(
                400,
                "EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines",
                "Eviction policy can be set only on Azure Spot Virtual Machines.",
            )),
            (None, Some(_)) => Err(ArmError::new(
                400,
                "MaxPriceIsSupportedOnlyForAzureSpotVirtualMachines",
                "Max price is supported only for Azure Spot Virtual Machines.",
            )),
        };
    }
    let Some(price) = size.spot else {
        return Err(ArmError::new(
            400,
            "AzureSpotIsNotSupportedForThisVMSize",
            format!("Azure Spot is not supported for the VM size {}.", size.name),
        ));
    };
    if let Some(offered) = max_price {
        check_max_price(size, offered, price.0)?;
    }
    match policy {
        None | Some("Deallocate") => Ok(Some(EvictionPolicy::Deallocate)),
        Some("Delete") => Ok(Some(EvictionPolicy::Delete)),
        Some(other) => Err(ArmError::invalid_parameter(
            "evictionPolicy",
            format!("The value '{other}' of parameter evictionPolicy is invalid."),
        )),
    }
}

/// `micro` is the current price in millionths of a dollar; −1 offers any price.
fn check_max_price(size: &Size, offered: f64, micro: u64) -> Result<()> {
    let any = (offered + 1.0).abs() < 1e-9;
    if any {
        return Ok(());
    }
    if offered <= 0.0 {
        return Err(ArmError::new(
            400,
            "MaxPriceValueInvalid",
            "Max price must be -1 or a value greater than 0.",
        ));
    }
    let current = crate::MicroUsd(micro).to_string();
    let enough = current
        .parse::<f64>()
        .is_ok_and(|current| offered >= current);
    if enough {
        return Ok(());
    }
    Err(ArmError::new(
        409,
        "SpotPriceGreaterThanProvidedMaxPrice",
        format!(
            "Unable to perform operation 'Create VM' since the provided max price '{offered} USD' is \
             lower than the current spot price '{current} USD' for Azure Spot Virtual Machine size '{}'.",
            size.name
        ),
    ))
}

fn nics_of(properties: &Value) -> Result<Vec<(String, bool)>> {
    let list = properties["networkProfile"]["networkInterfaces"].as_array();
    let nics: Vec<(String, bool)> = list
        .into_iter()
        .flatten()
        .filter_map(|nic| {
            let goes = nic["properties"]["deleteOption"].as_str() == Some("Delete");
            Some((key_of(nic["id"].as_str()?), goes))
        })
        .collect();
    if nics.is_empty() {
        return Err(ArmError::invalid_parameter(
            "networkInterfaces",
            "Required parameter 'networkProfile.networkInterfaces' is missing (null).",
        ));
    }
    Ok(nics)
}

fn os_disk_of(cloud: &Cloud, id: &ResourceId, properties: &Value) -> Result<OsDisk> {
    let disk = &properties["storageProfile"]["osDisk"];
    let gib = disk["diskSizeGB"].as_u64().unwrap_or(30);
    // 30 GiB is what the smallest Linux image needs; 4095 the largest operating-system disk.
    if !(30..=4095).contains(&gib) {
        return Err(ArmError::invalid_parameter(
            "osDisk.diskSizeGB",
            format!(
                "The value '{gib}' of parameter osDisk.diskSizeGB is out of range: 30 to 4095."
            ),
        ));
    }
    let ephemeral = disk["diffDiskSettings"]["option"].as_str() == Some("Local");
    let name = disk["name"]
        .as_str()
        .filter(|name| !name.is_empty())
        .map_or_else(
            || {
                let suffix = cloud.seeds.guid("os-disk", &id.key()).replace('-', "");
                format!("{}_OsDisk_1_{suffix}", id.name())
            },
            str::to_owned,
        );
    Ok(OsDisk {
        name,
        gib,
        ephemeral,
        goes_with_vm: disk["deleteOption"].as_str() == Some("Delete"),
        account: disk["managedDisk"]["storageAccountType"]
            .as_str()
            .unwrap_or("Premium_LRS")
            .to_owned(),
    })
}

/// Kept as sent: whether it can be read is found out by the machine that boots with it.
fn custom_data_of(properties: &Value) -> Result<String> {
    let data = properties["osProfile"]["customData"]
        .as_str()
        .unwrap_or_default();
    // The service's bound: 64 kB before encoding.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
    if data.len() <= 87_380 && data.bytes().all(plain) {
        return Ok(data.to_owned());
    }
    Err(ArmError::invalid_parameter(
        "customData",
        "Custom data in OSProfile must be in Base64 encoding and with a maximum length of 87380 \
         characters.",
    ))
}

/// The body as `GET` shows it: known top-level members, no secrets.
fn shown(body: &Value, location: &str) -> Value {
    let mut document = Map::new();
    for member in ["tags", "zones", "identity", "plan", "properties"] {
        if let Some(value) = body.get(member) {
            document.insert(member.to_owned(), value.clone());
        }
    }
    let mut document = Value::Object(document);
    document["location"] = json!(location);
    if document
        .get("zones")
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty)
        && let Some(members) = document.as_object_mut()
    {
        members.remove("zones");
    }
    if let Some(profile) = document["properties"]["osProfile"].as_object_mut() {
        profile.remove("customData");
        profile.remove("adminPassword");
        profile.remove("secrets");
    }
    if let Some(properties) = document["properties"].as_object_mut() {
        for computed in ["vmId", "provisioningState", "timeCreated", "instanceView"] {
            properties.remove(computed);
        }
    }
    document
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
        .map_err(|exceeded| quota_error(cloud, &exceeded))
}

/// The quota refusal, with the fragments that clients look for.
fn quota_error(cloud: &Cloud, exceeded: &Exceeded) -> ArmError {
    let (name, counter, help) = match &exceeded.what {
        QuotaName::Family(family) => (family.as_str(), family.as_str(), "per-vm-quota-requests"),
        QuotaName::Regional => ("Total Regional", "cores", "regional-quota-requests"),
        QuotaName::LowPriority => ("LowPriority", "LowPriorityCores", "low-priority-quota"),
    };
    let name = if exceeded.what == QuotaName::LowPriority {
        "LowPriorityCores".to_owned()
    } else {
        format!("{name} Cores")
    };
    let Exceeded {
        limit,
        usage,
        required,
        ..
    } = exceeded;
    let region = &cloud.config.region;
    ArmError::not_allowed(format!(
        "Operation could not be completed as it results in exceeding approved {name} quota. Additional \
         details - Deployment Model: Resource Manager, Location: {region}, Current Limit: {limit}, Current \
         Usage: {usage}, Additional Required: {required}, (Minimum) New Limit Required: {}. Submit a request \
         for Quota increase at \
         https://aka.ms/ProdportalCRP/#blade/Microsoft_Azure_Capacity/UsageAndQuota.ReactView/Parameters/\
         {{\"subscriptionId\":\"{}\",\"resourceName\":\"{counter}\",\"location\":\"{region}\"}} by specifying \
         parameters listed in the 'Details' section for deployment to succeed. Please read more about quota \
         limits at https://docs.microsoft.com/en-us/azure/azure-supportability/{help}",
        usage + required,
        cloud.config.subscription_id,
    ))
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
    if let Some(vm) = cloud.vms.get_mut(&key) {
        vm.spec = spec;
        vm.provisioning = Provisioning::Creating;
        vm.failure = None;
        vm.holds_quota = true;
        vm.operation = Some(operation.to_owned());
        vm.epoch += 1;
        vm.etag += 1;
        return;
    }
    let vm = Vm {
        vm_id: cloud.next_guid("vm"),
        spec,
        created: cloud.now,
        provisioning: Provisioning::Creating,
        failure: None,
        power: None,
        running_since: None,
        announced: false,
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
