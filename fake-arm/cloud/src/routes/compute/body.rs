//! Reading the body of a virtual machine.

use serde_json::{Map, Value, json};

use super::{VMS, images};
use crate::{
    catalog::Size,
    cloud::Cloud,
    config::CapacityType,
    error::{ArmError, Result},
    model::{EvictionPolicy, OsDisk, VmSpec},
    path::{ResourceId, key_of},
    physics::Placement,
    routes::resources::location_of,
};

pub(super) fn image_of(document: &Value) -> &Value {
    &document["properties"]["storageProfile"]["imageReference"]
}

/// Reads a body into a specification; nothing is changed.
pub(super) fn read(cloud: &Cloud, id: &ResourceId, body: &Value) -> Result<VmSpec> {
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
    if document.get("tags").is_none() {
        document["tags"] = json!({});
    }
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
