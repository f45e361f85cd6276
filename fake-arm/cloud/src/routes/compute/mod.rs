//! Microsoft.Compute: machines, disks, sizes, usages, images.

mod body;
mod create;
pub(super) mod images;

use serde_json::{Value, json};

use super::{
    Call, Reply, Scope, follow, operation_result, operation_status,
    resources::{registration, tags_of},
};
use crate::{
    cloud::Cloud,
    control::is_spot,
    error::{ArmError, Result},
    event::StopReason,
    exchange::Method,
    model::{Power, Provisioning, Vm},
    operations::Owner,
    path::{ResourceId, normal_location, same},
    physics::Step,
    render,
    timers::Timer,
};

const VMS: &str = "Microsoft.Compute/virtualMachines";
const DISKS: &str = "Microsoft.Compute/disks";

pub(super) fn route(
    cloud: &mut Cloud,
    call: &Call<'_>,
    scope: Scope<'_>,
    path: &[&str],
) -> Result<Reply> {
    if let Some(reply) = registration(cloud, call, scope, "Microsoft.Compute", path) {
        return reply;
    }
    let kind = path
        .first()
        .copied()
        .unwrap_or_default()
        .to_ascii_lowercase();
    match (kind.as_str(), scope, path.get(1..).unwrap_or_default()) {
        ("locations", Scope::Subscription, [location, rest @ ..]) => {
            in_location(cloud, call, location, rest)
        }
        ("skus", Scope::Subscription, []) => skus(cloud, call),
        ("virtualmachines", Scope::Subscription, []) => list_vms(cloud, call, None),
        ("virtualmachines", Scope::Group(group), []) => list_vms(cloud, call, Some(group)),
        ("virtualmachines", Scope::Group(group), [name, rest @ ..]) => {
            let id = ResourceId::in_group(&cloud.config.subscription_id, group, VMS, name);
            match rest {
                [] => vm(cloud, call, id),
                [what] if call.method() == Method::Get && same(what, "instanceView") => {
                    let vm = find(cloud, &id)?;
                    Ok(Reply::json(200, &render::instance_view(vm)))
                }
                [action] => act(cloud, call, &id, action),
                [what, extension] if same(what, "extensions") => {
                    self::extension(cloud, call, &id, extension)
                }
                _ => Err(ArmError::unknown_type(
                    "Microsoft.Compute",
                    &path.join("/"),
                    &call.api_version,
                )),
            }
        }
        ("disks", Scope::Subscription, []) => Ok(list_disks(cloud, call, None)),
        ("disks", Scope::Group(group), []) => Ok(list_disks(cloud, call, Some(group))),
        ("disks", Scope::Group(group), [name]) => {
            let id = ResourceId::in_group(&cloud.config.subscription_id, group, DISKS, name);
            disk(cloud, call, &id)
        }
        _ => Err(ArmError::unknown_type(
            "Microsoft.Compute",
            &path.join("/"),
            &call.api_version,
        )),
    }
}

fn in_location(cloud: &Cloud, call: &Call<'_>, location: &str, path: &[&str]) -> Result<Reply> {
    let here = normal_location(location) == cloud.config.region;
    match path {
        [what, id] if same(what, "operations") => operation_status(cloud, id),
        [what, id] if same(what, "operationresults") => operation_result(cloud, call, id),
        [what] if same(what, "usages") => {
            Ok(Reply::list(if here { usages(cloud) } else { Vec::new() }))
        }
        [what] if same(what, "vmSizes") => {
            Ok(Reply::list(if here { vm_sizes(cloud) } else { Vec::new() }))
        }
        [what] if same(what, "virtualMachines") => list_vms(cloud, call, None),
        [galleries, gallery, kind, image, versions]
            if same(galleries, "communityGalleries")
                && same(kind, "images")
                && same(versions, "versions") =>
        {
            let items = images::community_versions(&cloud.config.region, gallery, image);
            if items.is_empty() {
                return Err(ArmError::new(
                    404,
                    "NotFound",
                    format!("The community gallery image '{gallery}/{image}' was not found."),
                ));
            }
            Ok(Reply::page(call, items))
        }
        _ => Err(ArmError::unknown_type(
            "Microsoft.Compute",
            &format!("locations/{}", path.join("/")),
            &call.api_version,
        )),
    }
}

/// The SKU list; only `location eq '…'` filters exist.
fn skus(cloud: &Cloud, call: &Call<'_>) -> Result<Reply> {
    if call.method() != Method::Get {
        return call.not_allowed("Microsoft.Compute/skus");
    }
    let filter = call.request.parameter("$filter").unwrap_or_default();
    if filter.trim().is_empty() {
        return Ok(Reply::raw(cloud.catalog.skus()));
    }
    let wanted = filter
        .trim()
        .strip_prefix("location eq ")
        .and_then(|value| value.trim().strip_prefix('\'')?.strip_suffix('\''));
    match wanted {
        Some(location) if normal_location(location) == cloud.config.region => {
            Ok(Reply::raw(cloud.catalog.skus()))
        }
        Some(_) => Ok(Reply::list(Vec::new())),
        None => Err(ArmError::new(
            400,
            "InvalidFilter",
            format!("The filter '{filter}' is not supported: use location eq '{{location}}'."),
        )),
    }
}

/// Limits and live usage, the fixed counters first.
fn usages(cloud: &Cloud) -> Vec<Value> {
    let usage = |value: &str, localized: &str, current: u32, limit: u32| {
        json!({
            "limit": limit,
            "unit": "Count",
            "currentValue": current,
            "name": {"value": value, "localizedValue": localized},
        })
    };
    let quota = &cloud.quota;
    let machines = u32::try_from(cloud.vms.len()).unwrap_or(u32::MAX);
    let mut items = vec![
        usage("availabilitySets", "Availability Sets", 0, 2500),
        usage(
            "cores",
            "Total Regional vCPUs",
            quota.regional_usage(),
            quota.limits.regional,
        ),
        usage("virtualMachines", "Virtual Machines", machines, 25_000),
        usage(
            "virtualMachineScaleSets",
            "Virtual Machine Scale Sets",
            0,
            2500,
        ),
        usage(
            "lowPriorityCores",
            "Total Regional Spot vCPUs",
            quota.low_priority_usage(),
            quota.limits.low_priority,
        ),
    ];
    items.extend(cloud.catalog().families().iter().map(|&family| {
        usage(
            family,
            &localized(family),
            quota.family_usage(family),
            quota.family_limit(family),
        )
    }));
    items
}

/// `standardDSv5Family` reads `Standard DSv5 Family vCPUs`.
fn localized(family: &str) -> String {
    let lower = family.to_ascii_lowercase();
    let core = lower
        .strip_prefix("standard")
        .and_then(|rest| rest.strip_suffix("family"))
        .and_then(|core| family.get("standard".len().."standard".len() + core.len()));
    core.map_or_else(
        || format!("{family} vCPUs"),
        |core| format!("Standard {} Family vCPUs", core.trim()),
    )
}

fn vm_sizes(cloud: &Cloud) -> Vec<Value> {
    let sizes = cloud.catalog.sizes().iter();
    sizes
        .map(|size| {
            json!({
                "name": size.name,
                "numberOfCores": size.vcpus,
                "memoryInMB": size.memory_mib,
                "maxDataDiskCount": size.max_data_disks.unwrap_or(4),
                "osDiskSizeInMB": 1_047_552,
                "resourceDiskSizeInMB": 0,
            })
        })
        .collect()
}

fn expands(call: &Call<'_>) -> bool {
    call.request
        .parameter("$expand")
        .is_some_and(|it| same(&it, "instanceView"))
}

fn list_vms(cloud: &Cloud, call: &Call<'_>, group: Option<&str>) -> Result<Reply> {
    if call.method() != Method::Get {
        return call.not_allowed(VMS);
    }
    let inside = |vm: &&Vm| group.is_none_or(|group| same(vm.id.group(), group));
    let bodies = cloud
        .vms
        .values()
        .filter(inside)
        .map(|vm| render::vm(vm, expands(call)));
    Ok(Reply::page(call, bodies.collect()))
}

fn find<'a>(cloud: &'a Cloud, id: &ResourceId) -> Result<&'a Vm> {
    cloud
        .vms
        .get(&id.key())
        .ok_or_else(|| ArmError::resource_not_found(&format!("{VMS}/{}", id.name()), id.group()))
}

fn vm(cloud: &mut Cloud, call: &Call<'_>, id: ResourceId) -> Result<Reply> {
    if matches!(call.method(), Method::Put | Method::Patch | Method::Delete) {
        let etag = cloud
            .vms
            .get(&id.key())
            .map(|vm| format!("\"{}\"", vm.etag));
        call.check_preconditions(id.as_str(), etag.as_deref())?;
    }
    match call.method() {
        Method::Get => Ok(Reply::json(
            200,
            &render::vm(find(cloud, &id)?, expands(call)),
        )),
        Method::Put => create::put(cloud, call, id),
        Method::Patch => patch(cloud, call, &id),
        Method::Delete => Ok(cloud.begin_delete(&id.key()).map_or_else(
            || Reply::empty(204),
            |operation| follow(cloud, call, Reply::empty(202), &operation, true),
        )),
        _ => call.not_allowed(VMS),
    }
}

/// Tags are replaced as a whole, identity too; other members cannot be patched here.
fn patch(cloud: &mut Cloud, call: &Call<'_>, id: &ResourceId) -> Result<Reply> {
    let body = call.body()?;
    find(cloud, id)?;
    let operation = cloud.start_operation(Owner::Compute, Some(id.key()));
    let Some(vm) = cloud.vms.get_mut(&id.key()) else {
        return call.not_allowed(VMS);
    };
    if vm.provisioning == Provisioning::Deleting {
        return Err(create::marked_for_deletion("PATCH", id));
    }
    if let Some(tags) = tags_of(&body) {
        vm.spec.document["tags"] = Value::Object(tags);
    }
    if let Some(identity) = body.get("identity") {
        vm.spec.document["identity"] = identity.clone();
    }
    vm.etag += 1;
    let shown = render::vm(vm, false);
    let delay = cloud.draw(Step::Extension, &operation);
    cloud.after(
        delay,
        Timer::OperationDone {
            operation: operation.clone(),
        },
    );
    Ok(follow(
        cloud,
        call,
        Reply::json(200, &shown),
        &operation,
        false,
    ))
}

/// POST actions.
fn act(cloud: &mut Cloud, call: &Call<'_>, id: &ResourceId, action: &str) -> Result<Reply> {
    let vm = find(cloud, id)?;
    if call.method() != Method::Post {
        return call.not_allowed(&format!("{VMS}/{action}"));
    }
    if vm.provisioning == Provisioning::Deleting {
        return Err(create::marked_for_deletion(action, id));
    }
    let action = action.to_ascii_lowercase();
    if action == "simulateeviction" {
        return simulate_eviction(cloud, id);
    }
    let (goal, stops) = match action.as_str() {
        "start" => (Power::Running, None),
        "restart" => (Power::Running, Some(StopReason::Restarted)),
        "poweroff" => (Power::Stopped, Some(StopReason::PoweredOff)),
        "deallocate" => (Power::Deallocated, Some(StopReason::Deallocated)),
        _ => {
            return Err(ArmError::unknown_type(
                "Microsoft.Compute",
                &format!("virtualMachines/{action}"),
                &call.api_version,
            ));
        }
    };
    if matches!(
        vm.provisioning,
        Provisioning::Creating | Provisioning::Updating
    ) {
        return Err(ArmError::not_allowed(format!(
            "Operation '{action}' is not allowed on VM '{}' since another operation is in progress.",
            id.name()
        )));
    }
    if vm.provisioning == Provisioning::Failed {
        return Err(ArmError::not_allowed(format!(
            "Operation '{action}' is not allowed on VM '{}' since its provisioning has failed.",
            id.name()
        )));
    }
    let nothing_to_start = action == "start" && vm.power == Some(Power::Running);
    let operation = if nothing_to_start {
        let operation = cloud.start_operation(Owner::Compute, None);
        cloud.end_operation(
            Some(operation.clone()),
            crate::operations::Progress::Succeeded,
        );
        operation
    } else {
        cloud.begin_power(&id.key(), goal, stops)
    };
    Ok(follow(cloud, call, Reply::empty(202), &operation, true))
}

/// Answered at once; the eviction follows.
fn simulate_eviction(cloud: &mut Cloud, id: &ResourceId) -> Result<Reply> {
    let vm = find(cloud, id)?;
    if !is_spot(vm) {
        return Err(ArmError::not_allowed(format!(
            "Operation 'simulateEviction' is not allowed on VM '{}' since it is not an Azure Spot Virtual \
             Machine.",
            id.name()
        )));
    }
    let (key, epoch) = (id.key(), vm.epoch);
    let delay = cloud.draw(Step::Evict, &key);
    cloud.after(delay, Timer::EvictionAnnounced { vm: key, epoch });
    Ok(Reply::empty(204))
}

fn extension(cloud: &mut Cloud, call: &Call<'_>, vm: &ResourceId, name: &str) -> Result<Reply> {
    find(cloud, vm)?;
    let id = ResourceId::new(format!("{vm}/extensions/{name}"));
    let (key, slot) = (vm.key(), name.to_lowercase());
    let stored = cloud
        .vms
        .get(&key)
        .and_then(|vm| vm.extensions.get(&slot))
        .cloned();
    let kind = format!("{VMS}/{}/extensions/{name}", vm.name());
    match (call.method(), stored) {
        (Method::Get, Some(body)) => Ok(Reply::json(200, &body)),
        (Method::Get | Method::Patch, None) => Err(ArmError::resource_not_found(&kind, vm.group())),
        (Method::Put | Method::Patch, stored) => {
            let mut body = call.body()?;
            if let (Method::Patch, Some(old)) = (call.method(), &stored) {
                let tags = body.get("tags").cloned();
                body = old.clone();
                if let Some(tags) = tags {
                    body["tags"] = tags;
                }
            }
            if let Some(properties) = body["properties"].as_object_mut() {
                properties.remove("protectedSettings");
            }
            body["id"] = json!(id.as_str());
            body["name"] = json!(name);
            body["type"] = json!("Microsoft.Compute/virtualMachines/extensions");
            body["properties"]["provisioningState"] = json!("Succeeded");
            let operation = cloud.start_operation(Owner::Compute, None);
            if let Some(vm) = cloud.vms.get_mut(&key) {
                vm.extensions.insert(slot, body.clone());
                vm.etag += 1;
            }
            let delay = cloud.draw(Step::Extension, id.as_str());
            cloud.after(
                delay,
                Timer::OperationDone {
                    operation: operation.clone(),
                },
            );
            let reply = Reply::json(if stored.is_some() { 200 } else { 201 }, &body);
            Ok(follow(cloud, call, reply, &operation, false))
        }
        (Method::Delete, stored) => {
            if stored.is_none() {
                return Ok(Reply::empty(204));
            }
            let operation = cloud.start_operation(Owner::Compute, None);
            if let Some(vm) = cloud.vms.get_mut(&key) {
                vm.extensions.remove(&slot);
            }
            let delay = cloud.draw(Step::Extension, id.as_str());
            cloud.after(
                delay,
                Timer::OperationDone {
                    operation: operation.clone(),
                },
            );
            Ok(follow(cloud, call, Reply::empty(202), &operation, true))
        }
        _ => call.not_allowed(&format!("{VMS}/extensions")),
    }
}

fn list_disks(cloud: &Cloud, call: &Call<'_>, group: Option<&str>) -> Reply {
    let disks = cloud.disks.values();
    let inside = disks.filter(|disk| group.is_none_or(|group| same(disk.id.group(), group)));
    Reply::page(call, inside.map(render::disk).collect())
}

fn disk(cloud: &mut Cloud, call: &Call<'_>, id: &ResourceId) -> Result<Reply> {
    let key = id.key();
    let stored = cloud.disks.get(&key);
    match (call.method(), stored) {
        (Method::Get, Some(disk)) => Ok(Reply::json(200, &render::disk(disk))),
        (Method::Get, None) => Err(ArmError::resource_not_found(
            &format!("{DISKS}/{}", id.name()),
            id.group(),
        )),
        (Method::Delete, None) => Ok(Reply::empty(204)),
        (Method::Delete, Some(disk)) => {
            if let Some(owner) = &disk.owner {
                return Err(ArmError::not_allowed(format!(
                    "Disk {} is attached to VM {owner}.",
                    id.name()
                )));
            }
            let running = disk.deleting.clone();
            let operation = running.unwrap_or_else(|| {
                let operation = cloud.start_operation(Owner::Compute, None);
                let epoch = cloud.first_epoch();
                if let Some(disk) = cloud.disks.get_mut(&key) {
                    disk.deleting = Some(operation.clone());
                    disk.epoch = epoch;
                }
                let delay = cloud.draw(Step::DeleteDisk, &key);
                cloud.after(
                    delay,
                    Timer::DiskDeleted {
                        disk: key.clone(),
                        epoch,
                    },
                );
                operation
            });
            Ok(follow(cloud, call, Reply::empty(202), &operation, true))
        }
        _ => call.not_allowed(DISKS),
    }
}
