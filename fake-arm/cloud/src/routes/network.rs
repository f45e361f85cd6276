//! Microsoft.Network: interfaces with their addresses, and documents to read.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{
    Call, Reply, Scope, follow, operation_result, operation_status,
    resources::{location_of, registration, tags_of},
};
use crate::{
    cloud::Cloud,
    error::{ArmError, Result},
    exchange::Method,
    model::{Document, Nic},
    operations::{Owner, Progress},
    path::{ResourceId, key_of, same},
    physics::Step,
    render,
    timers::Timer,
};

const NICS: &str = "Microsoft.Network/networkInterfaces";
/// Types that are kept as documents.
const DOCUMENTS: [&str; 5] = [
    "Microsoft.Network/virtualNetworks",
    "Microsoft.Network/networkSecurityGroups",
    "Microsoft.Network/loadBalancers",
    "Microsoft.Network/publicIPAddresses",
    "Microsoft.Network/routeTables",
];
/// Azure keeps the first four addresses of a subnet and the last one.
const FIRST_ADDRESS: u32 = 4;

pub(super) fn route(
    cloud: &mut Cloud,
    call: &Call<'_>,
    scope: Scope<'_>,
    path: &[&str],
) -> Result<Reply> {
    if let Some(reply) = registration(cloud, call, scope, "Microsoft.Network", path) {
        return reply;
    }
    match (scope, path) {
        (Scope::Subscription, [first, _, what, id]) if same(first, "locations") => {
            if same(what, "operations") {
                operation_status(cloud, id)
            } else {
                operation_result(cloud, call, id)
            }
        }
        (Scope::Subscription, [kind]) if same(kind, "networkInterfaces") => {
            Ok(list(cloud, call, None))
        }
        (Scope::Group(group), [kind]) if same(kind, "networkInterfaces") => {
            Ok(list(cloud, call, Some(group)))
        }
        (Scope::Group(group), [kind, name]) if same(kind, "networkInterfaces") => {
            let id = ResourceId::in_group(&cloud.config.subscription_id, group, NICS, name);
            nic(cloud, call, id)
        }
        _ => documents(cloud, call, scope, &DOCUMENTS, path),
    }
}

/// Microsoft.ManagedIdentity.
pub(super) fn identities(
    cloud: &Cloud,
    call: &Call<'_>,
    scope: Scope<'_>,
    path: &[&str],
) -> Result<Reply> {
    if let Some(reply) = registration(cloud, call, scope, "Microsoft.ManagedIdentity", path) {
        return reply;
    }
    documents(
        cloud,
        call,
        scope,
        &["Microsoft.ManagedIdentity/userAssignedIdentities"],
        path,
    )
}

/// GET of a document, of a list of them, or of a subnet inside a network.
fn documents(
    cloud: &Cloud,
    call: &Call<'_>,
    scope: Scope<'_>,
    kinds: &[&'static str],
    path: &[&str],
) -> Result<Reply> {
    let wanted = path.first().copied().unwrap_or_default();
    let namespace = kinds
        .first()
        .and_then(|kind| kind.split('/').next())
        .unwrap_or_default();
    let Some(kind) = kinds
        .iter()
        .find(|kind| kind.split('/').nth(1).is_some_and(|it| same(it, wanted)))
    else {
        return Err(ArmError::unknown_type(namespace, wanted, &call.api_version));
    };
    if call.method() != Method::Get {
        return call.not_allowed(kind);
    }
    let within = |document: &&Document| match scope {
        Scope::Group(group) => same(document.id.group(), group),
        _ => true,
    };
    match (scope, path) {
        (_, [_]) => {
            let found = cloud
                .documents
                .values()
                .filter(|it| it.kind == *kind)
                .filter(within);
            Ok(Reply::page(
                call,
                found.map(|document| document.body.clone()).collect(),
            ))
        }
        (Scope::Group(group), [_, name, rest @ ..]) => {
            let id = ResourceId::in_group(&cloud.config.subscription_id, group, kind, name);
            let missing = || ArmError::resource_not_found(&format!("{kind}/{name}"), group);
            let document = cloud.documents.get(&id.key()).ok_or_else(missing)?;
            match rest {
                [] => Ok(Reply::json(200, &document.body)),
                [child] if same(child, "subnets") => {
                    let subnets = document.body["properties"]["subnets"].as_array().cloned();
                    Ok(Reply::page(call, subnets.unwrap_or_default()))
                }
                [child, subnet] if same(child, "subnets") => {
                    let id = format!("{id}/subnets/{subnet}");
                    let found = find_subnet(cloud, &id);
                    found.map(|body| Reply::json(200, body)).ok_or_else(|| {
                        ArmError::resource_not_found(
                            &format!("{kind}/{name}/subnets/{subnet}"),
                            group,
                        )
                    })
                }
                _ => Err(ArmError::unknown_type(
                    namespace,
                    &path.join("/"),
                    &call.api_version,
                )),
            }
        }
        _ => Err(ArmError::unknown_type(
            namespace,
            &path.join("/"),
            &call.api_version,
        )),
    }
}

/// The subnet of that id, inside its network's document.
fn find_subnet<'a>(cloud: &'a Cloud, id: &str) -> Option<&'a Value> {
    let key = key_of(id);
    let (network, _) = key.split_once("/subnets/")?;
    let subnets = cloud.documents.get(network)?.body["properties"]["subnets"].as_array()?;
    subnets
        .iter()
        .find(|subnet| subnet["id"].as_str().is_some_and(|it| key_of(it) == key))
}

fn list(cloud: &Cloud, call: &Call<'_>, group: Option<&str>) -> Reply {
    let inside = |nic: &&Nic| group.is_none_or(|group| same(nic.id.group(), group));
    let bodies = cloud
        .nics
        .values()
        .filter(inside)
        .map(|nic| shown(cloud, nic));
    Reply::page(call, bodies.collect())
}

fn shown(cloud: &Cloud, nic: &Nic) -> Value {
    render::nic(
        nic,
        nic.attached_to.as_ref().and_then(|key| cloud.vms.get(key)),
    )
}

fn nic(cloud: &mut Cloud, call: &Call<'_>, id: ResourceId) -> Result<Reply> {
    let key = id.key();
    if matches!(call.method(), Method::Put | Method::Patch | Method::Delete) {
        let etag = cloud
            .nics
            .get(&key)
            .map(|nic| format!("W/\"{}\"", nic.etag));
        call.check_preconditions(id.as_str(), etag.as_deref())?;
    }
    match call.method() {
        Method::Put => put(cloud, call, id),
        Method::Delete => delete(cloud, call, &key),
        Method::Get | Method::Patch => {
            let missing =
                ArmError::resource_not_found(&format!("{NICS}/{}", id.name()), id.group());
            let Some(nic) = cloud.nics.get_mut(&key) else {
                return Err(missing);
            };
            if call.method() == Method::Patch {
                nic.document["tags"] = Value::Object(tags_of(&call.body()?).unwrap_or_default());
                nic.etag += 1;
            }
            Ok(Reply::json(
                200,
                &cloud
                    .nics
                    .get(&key)
                    .map(|nic| shown(cloud, nic))
                    .unwrap_or_default(),
            ))
        }
        _ => call.not_allowed(NICS),
    }
}

/// Creates or replaces; completes at once but still names an operation, as Network does.
fn put(cloud: &mut Cloud, call: &Call<'_>, id: ResourceId) -> Result<Reply> {
    let asked = call.body()?;
    let key = id.key();
    if let Some(nic) = cloud.nics.get(&key) {
        if nic.deleting.is_some() {
            return Err(ArmError::new(
                429,
                "AnotherOperationInProgress",
                format!("Another operation on this or dependent resource is in progress: {id}."),
            ));
        }
        if nic.asked == asked {
            return Ok(Reply::json(200, &shown(cloud, nic)));
        }
    }
    let (document, addresses) = fill_in(cloud, &id, &asked)?;
    let old = cloud.nics.remove(&key);
    let status = if old.is_some() { 200 } else { 201 };
    for (subnet, offset) in old.iter().flat_map(|nic| &nic.addresses) {
        if !addresses.contains(&(subnet.clone(), *offset))
            && let Some(used) = cloud.addresses.get_mut(subnet)
        {
            used.remove(offset);
        }
    }
    for (subnet, offset) in &addresses {
        cloud
            .addresses
            .entry(subnet.clone())
            .or_default()
            .insert(*offset);
    }
    let nic = Nic {
        created: old.as_ref().map_or(cloud.now, |nic| nic.created),
        attached_to: old.as_ref().and_then(|nic| nic.attached_to.clone()),
        reserved: old.as_ref().and_then(|nic| nic.reserved.clone()),
        epoch: cloud.first_epoch(),
        etag: old.as_ref().map_or(1, |nic| nic.etag + 1),
        deleting: None,
        id,
        document,
        asked,
        addresses,
    };
    let reply = Reply::json(status, &shown(cloud, &nic));
    cloud.nics.insert(key, nic);
    let operation = cloud.start_operation(Owner::Network, None);
    cloud.end_operation(Some(operation.clone()), Progress::Succeeded);
    Ok(follow(cloud, call, reply, &operation, false))
}

/// Ids and addresses of every IP configuration. Nothing is changed yet.
fn fill_in(cloud: &Cloud, id: &ResourceId, asked: &Value) -> Result<(Value, Vec<(String, u32)>)> {
    let location = location_of(asked)?;
    check_references(cloud, id, asked)?;
    let Some(configs) = asked["properties"]["ipConfigurations"]
        .as_array()
        .filter(|it| !it.is_empty())
    else {
        return Err(ArmError::new(
            400,
            "NetworkInterfaceMustHaveIpConfiguration",
            format!("Network interface {id} must have at least one ip configuration."),
        ));
    };
    let kept: Vec<(String, u32)> = cloud
        .nics
        .get(&id.key())
        .map(|nic| nic.addresses.clone())
        .unwrap_or_default();
    let mut taken: Vec<(String, u32)> = Vec::new();
    let mut shown = Vec::new();
    for (index, config) in configs.iter().enumerate() {
        let subnet_id = config["properties"]["subnet"]["id"]
            .as_str()
            .unwrap_or_default();
        let subnet =
            find_subnet(cloud, subnet_id).ok_or_else(|| missing_reference(subnet_id, id))?;
        let key = key_of(subnet_id);
        let previous = kept
            .get(index)
            .filter(|(subnet, _)| *subnet == key)
            .map(|(_, offset)| *offset);
        let (base, size) = range_of(subnet);
        let free = |offset: &u32| {
            !cloud
                .addresses
                .get(&key)
                .is_some_and(|used| used.contains(offset))
                && !taken.contains(&(key.clone(), *offset))
        };
        let offset = previous
            .or_else(|| (FIRST_ADDRESS..size.saturating_sub(1)).find(free))
            .ok_or_else(|| subnet_is_full(subnet, configs.len()))?;
        taken.push((key, offset));
        shown.push(shown_configuration(
            id,
            config,
            index,
            Ipv4Addr::from(base + offset),
        ));
    }
    let mut document = asked.clone();
    document["location"] = json!(location);
    if document.get("tags").is_none() {
        document["tags"] = json!({});
    }
    document["properties"]["ipConfigurations"] = json!(shown);
    let identity = id.key();
    document["properties"]["macAddress"] = json!(mac_address(cloud, &identity));
    document["properties"]["resourceGuid"] = json!(cloud.seeds.guid("nic", &identity));
    Ok((document, taken))
}

fn shown_configuration(id: &ResourceId, config: &Value, index: usize, address: Ipv4Addr) -> Value {
    let mut config = config.clone();
    let name = config["name"].as_str().unwrap_or("ipconfig1").to_owned();
    config["id"] = json!(format!("{id}/ipConfigurations/{name}"));
    config["type"] = json!(format!("{NICS}/ipConfigurations"));
    config["name"] = json!(name);
    let properties = &mut config["properties"];
    properties["provisioningState"] = json!("Succeeded");
    properties["privateIPAddress"] = json!(address.to_string());
    if properties.get("privateIPAllocationMethod").is_none() {
        properties["privateIPAllocationMethod"] = json!("Dynamic");
    }
    if properties.get("primary").is_none() {
        properties["primary"] = json!(index == 0);
    }
    properties["privateIPAddressVersion"] = json!("IPv4");
    config
}

/// Microsoft's vendor prefix and three octets of the interface's own.
fn mac_address(cloud: &Cloud, identity: &str) -> String {
    let number = cloud.seeds.between("mac", identity, 0, 0x00ff_ffff);
    format!(
        "00-0D-3A-{:02X}-{:02X}-{:02X}",
        number >> 16,
        (number >> 8) & 0xff,
        number & 0xff
    )
}

/// The security group and the backend pools that the body names must exist.
fn check_references(cloud: &Cloud, id: &ResourceId, asked: &Value) -> Result<()> {
    if let Some(group) = asked["properties"]["networkSecurityGroup"]["id"].as_str()
        && !cloud.documents.contains_key(&key_of(group))
    {
        return Err(missing_reference(group, id));
    }
    let configs = asked["properties"]["ipConfigurations"]
        .as_array()
        .into_iter()
        .flatten();
    for config in configs {
        let pools = config["properties"]["loadBalancerBackendAddressPools"].as_array();
        for pool in pools
            .into_iter()
            .flatten()
            .filter_map(|pool| pool["id"].as_str())
        {
            let key = key_of(pool);
            let balancer = key
                .split("/backendaddresspools/")
                .next()
                .unwrap_or_default();
            let known = cloud.documents.get(balancer).is_some_and(|document| {
                let pools = document.body["properties"]["backendAddressPools"].as_array();
                pools.into_iter().flatten().any(|known| {
                    known["id"]
                        .as_str()
                        .is_some_and(|known| key_of(known) == key)
                })
            });
            if !known {
                return Err(missing_reference(pool, id));
            }
        }
    }
    Ok(())
}

fn missing_reference(wanted: &str, by: &ResourceId) -> ArmError {
    ArmError::new(
        400,
        "InvalidResourceReference",
        format!(
            "Resource {wanted} referenced by resource {by} was not found. Please make sure that the \
             referenced resource exists, and that both resources are in the same region."
        ),
    )
}

/// First address and number of addresses of a subnet.
fn range_of(subnet: &Value) -> (u32, u32) {
    let prefix = subnet["properties"]["addressPrefix"]
        .as_str()
        .unwrap_or_default();
    let (address, bits) = prefix.split_once('/').unwrap_or((prefix, "32"));
    let address: Ipv4Addr = address.parse().unwrap_or(Ipv4Addr::UNSPECIFIED);
    let bits: u32 = bits.parse().unwrap_or(32);
    (
        u32::from(address),
        1_u32.checked_shl(32 - bits.min(32)).unwrap_or(u32::MAX),
    )
}

fn subnet_is_full(subnet: &Value, wanted: usize) -> ArmError {
    ArmError::new(
        400,
        "SubnetIsFull",
        format!(
            "Subnet {} with address prefix {} does not have enough capacity for {wanted} IP addresses.",
            subnet["name"].as_str().unwrap_or_default(),
            subnet["properties"]["addressPrefix"]
                .as_str()
                .unwrap_or_default()
        ),
    )
}

/// The error that stands against the use of an interface by `vm` (`None`: against its deletion).
pub(super) fn reservation(cloud: &Cloud, nic: &Nic, vm: Option<&str>) -> Option<ArmError> {
    let (owner, until) = nic.reserved.as_ref()?;
    if *until <= cloud.now || vm.is_some_and(|vm| owner.key() == vm) {
        return None;
    }
    Some(ArmError::new(
        400,
        "NicReservedForAnotherVm",
        format!(
            "Nic(s) in request is reserved for another Virtual Machine for 180 seconds. Please provide \
             another nic(s) or retry after 180 seconds. Reserved VM: {owner}"
        ),
    ))
}

/// The error for an interface that a machine uses.
pub(super) fn in_use(nic: &Nic, vm: &ResourceId) -> ArmError {
    ArmError::new(
        400,
        "NicInUse",
        format!(
            "Network Interface {} is used by existing resource {vm}. In order to delete the network \
             interface, it must be dissociated from the resource. To learn more, see aka.ms/deletenic.",
            nic.id
        ),
    )
}

fn delete(cloud: &mut Cloud, call: &Call<'_>, key: &str) -> Result<Reply> {
    let Some(nic) = cloud.nics.get(key) else {
        return Ok(Reply::empty(204));
    };
    if let Some(operation) = nic.deleting.clone() {
        return Ok(follow(cloud, call, Reply::empty(202), &operation, true));
    }
    if let Some(vm) = nic.attached_to.as_ref().and_then(|vm| cloud.vms.get(vm)) {
        return Err(in_use(nic, &vm.id));
    }
    if let Some(error) = reservation(cloud, nic, None) {
        return Err(error);
    }
    let operation = cloud.start_operation(Owner::Network, None);
    let epoch = cloud.first_epoch();
    if let Some(nic) = cloud.nics.get_mut(key) {
        nic.deleting = Some(operation.clone());
        nic.epoch = epoch;
    }
    let delay = cloud.draw(Step::DeleteNic, key);
    cloud.after(
        delay,
        Timer::NicDeleted {
            nic: key.to_owned(),
            epoch,
        },
    );
    Ok(follow(cloud, call, Reply::empty(202), &operation, true))
}
