//! Bodies of what we create: network interface and virtual machine
//! (`Azure/karpenter-provider-azure` `pkg/providers/instance/vminstance.go`).

use std::collections::BTreeMap;

use controller_core::model::{CapacityType, Zone};
use serde_json::{Map, Value, json};

use crate::class::Class;
use crate::instancetype::Sku;
use crate::options::Options;
use crate::zones;

/// Tag with the name of the cluster.
pub(crate) const CLUSTER_TAG: &str = "karpenter.azure.com_cluster";
/// Tag with the name of the NodePool.
pub(crate) const POOL_TAG: &str = "karpenter.sh_nodepool";

/// Tags of everything made for a claim: the controller's, then the class's, then ours, which
/// nobody overrides. Azure refuses slashes in keys.
pub(crate) fn tags(
    options: &Options,
    class: &Class,
    pool: Option<&str>,
) -> BTreeMap<String, String> {
    let mut tags: BTreeMap<String, String> = options
        .machines
        .additional_tags
        .iter()
        .chain(class.spec().tags.iter().flatten())
        .map(|(key, value)| (key.replace('/', "_"), value.clone()))
        .collect();
    tags.insert(CLUSTER_TAG.to_owned(), options.cluster.name.clone());
    tags.insert("compute.aks.billing".to_owned(), "linux".to_owned());
    if let Some(pool) = pool {
        tags.insert(POOL_TAG.to_owned(), pool.to_owned());
    }
    tags
}

/// What a network interface is made from.
pub(crate) struct NicPlan<'a> {
    pub(crate) options: &'a Options,
    pub(crate) name: &'a str,
    pub(crate) tags: &'a BTreeMap<String, String>,
    pub(crate) subnet_id: &'a str,
    pub(crate) pools: &'a [String],
    pub(crate) security_group: Option<&'a str>,
    pub(crate) is_accelerated: bool,
    pub(crate) max_pods: i64,
}

/// The body of the network interface.
pub(crate) fn nic(plan: &NicPlan<'_>) -> Value {
    let network = &plan.options.network;
    let pools: Vec<Value> = plan.pools.iter().map(|id| json!({"id": id})).collect();
    let mut configurations = vec![json!({
        "name": plan.name,
        "properties": {
            "primary": true,
            "privateIPAllocationMethod": "Dynamic",
            "subnet": {"id": plan.subnet_id},
            "loadBalancerBackendAddressPools": pools,
        },
    })];
    // Without an overlay, pods take their addresses from the interface.
    if network.plugin == "azure" && !network.is_overlay() {
        configurations.extend((1..plan.max_pods).map(|index| {
            json!({
                "name": format!("ipconfig{index}"),
                "properties": {
                    "primary": false,
                    "privateIPAllocationMethod": "Dynamic",
                    "subnet": {"id": plan.subnet_id},
                },
            })
        }));
    }
    let mut properties = json!({
        "enableAcceleratedNetworking": plan.is_accelerated,
        "enableIPForwarding": false,
        "ipConfigurations": configurations,
    });
    if let Some(id) = plan.security_group {
        properties["networkSecurityGroup"] = json!({"id": id});
    }
    json!({"location": plan.options.region, "tags": plan.tags, "properties": properties})
}

/// What a virtual machine is made from.
pub(crate) struct VmPlan<'a> {
    pub(crate) options: &'a Options,
    pub(crate) class: &'a Class,
    pub(crate) name: &'a str,
    pub(crate) tags: &'a BTreeMap<String, String>,
    pub(crate) sku: &'a Sku,
    pub(crate) zone: &'a Zone,
    pub(crate) capacity_type: CapacityType,
    pub(crate) image_id: &'a str,
    pub(crate) nic_id: &'a str,
    pub(crate) custom_data: &'a str,
    pub(crate) wants_ultra_disk: bool,
}

/// The body of the virtual machine.
pub(crate) fn vm(plan: &VmPlan<'_>) -> Value {
    let mut properties = json!({
        "hardwareProfile": {"vmSize": plan.sku.name.as_str()},
        "priority": "Regular",
        "storageProfile": {"imageReference": image(plan.image_id), "osDisk": os_disk(plan)},
        "networkProfile": {"networkInterfaces": [
            {"id": plan.nic_id, "properties": {"primary": true, "deleteOption": "Delete"}},
        ]},
        "osProfile": os_profile(plan),
    });
    if plan.capacity_type == CapacityType::Spot {
        properties["priority"] = json!("Spot");
        properties["evictionPolicy"] = json!("Delete");
        // Evicted for want of capacity only, never for its price.
        properties["billingProfile"] = json!({"maxPrice": -1});
    }
    if let Some(profile) = security_profile(plan.class) {
        properties["securityProfile"] = profile;
    }
    if plan.wants_ultra_disk {
        properties["additionalCapabilities"] = json!({"ultraSSDEnabled": true});
    }
    let mut body = json!({
        "location": plan.options.region,
        "zones": zones::wire(plan.zone),
        "tags": plan.tags,
        "properties": properties,
    });
    let identities = &plan.options.machines.node_identities;
    if !identities.is_empty() {
        let identities: Map<String, Value> = identities
            .iter()
            .map(|id| (id.clone(), json!({})))
            .collect();
        body["identity"] = json!({"type": "UserAssigned", "userAssignedIdentities": identities});
    }
    body
}

fn image(id: &str) -> Value {
    if id.starts_with("/CommunityGalleries/") {
        json!({"communityGalleryImageId": id})
    } else {
        json!({"id": id})
    }
}

fn os_disk(plan: &VmPlan<'_>) -> Value {
    let size_gb = i64::from(plan.class.spec().os_disk_size_gb());
    let mut disk = json!({
        "name": plan.name,
        "diskSizeGB": size_gb,
        "createOption": "FromImage",
        "deleteOption": "Delete",
    });
    // A temporary disk that would be large enough does not count when there is a cache disk
    // that is not: the same choice as for AKS node pools.
    if let Some(ephemeral) = plan
        .sku
        .ephemeral_disk
        .as_ref()
        .filter(|disk| size_gb <= disk.max_gb)
    {
        disk["caching"] = json!("ReadOnly");
        disk["diffDiskSettings"] = json!({"option": "Local", "placement": ephemeral.placement});
    }
    if let Some(set) = &plan.options.machines.disk_encryption_set_id {
        disk["managedDisk"] = json!({"diskEncryptionSet": {"id": set}});
    }
    disk
}

fn os_profile(plan: &VmPlan<'_>) -> Value {
    let machines = &plan.options.machines;
    let user = &machines.admin_username;
    json!({
        "adminUsername": user,
        "computerName": plan.name,
        "customData": plan.custom_data,
        "linuxConfiguration": {
            "disablePasswordAuthentication": true,
            "ssh": {"publicKeys": [{
                "keyData": machines.ssh_public_key,
                "path": format!("/home/{user}/.ssh/authorized_keys"),
            }]},
        },
    })
}

fn security_profile(class: &Class) -> Option<Value> {
    let security = class.spec().security.as_ref()?;
    let mut profile = Map::new();
    if let Some(encryption) = security.encryption_at_host {
        profile.insert("encryptionAtHost".to_owned(), json!(encryption));
    }
    if class.spec().is_trusted_launch() {
        let launch = security.trusted_launch.as_ref();
        profile.insert("securityType".to_owned(), json!("TrustedLaunch"));
        profile.insert(
            "uefiSettings".to_owned(),
            json!({
                "secureBootEnabled": launch.and_then(|launch| launch.secure_boot).unwrap_or(false),
                "vTpmEnabled": launch.and_then(|launch| launch.vtpm).unwrap_or(false),
            }),
        );
    }
    (!profile.is_empty()).then_some(Value::Object(profile))
}
