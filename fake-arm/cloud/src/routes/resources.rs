//! Microsoft.Resources: subscriptions, locations, groups, providers.

use serde_json::{Map, Value, json};

use super::{Call, Reply, Scope, operation_result};
use crate::{
    catalog::Location,
    cloud::Cloud,
    error::{ArmError, Result},
    exchange::Method,
    model::Group,
    operations::Owner,
    path::{ResourceId, normal_location, same},
    physics::Step,
    render,
    timers::Timer,
};

/// `GET /subscriptions`.
pub(super) fn subscriptions(cloud: &Cloud, call: &Call<'_>) -> Result<Reply> {
    if call.method() != Method::Get {
        return call.not_allowed("Microsoft.Resources/subscriptions");
    }
    let body = json!({"value": [subscription(cloud)], "count": {"type": "Total", "value": 1}});
    Ok(Reply::json(200, &body))
}

fn subscription(cloud: &Cloud) -> Value {
    let id = &cloud.config.subscription_id;
    json!({
        "id": format!("/subscriptions/{id}"),
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "tags": {},
        "subscriptionId": id,
        "tenantId": cloud.config.tenant_id,
        "displayName": "Fake Subscription",
        "state": "Enabled",
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
    })
}

/// `GET /tenants`.
pub(super) fn tenants(cloud: &Cloud, call: &Call<'_>) -> Result<Reply> {
    if call.method() != Method::Get {
        return call.not_allowed("Microsoft.Resources/tenants");
    }
    let id = &cloud.config.tenant_id;
    Ok(Reply::list(vec![json!({
        "id": format!("/tenants/{id}"),
        "tenantId": id,
        "countryCode": "NL",
        "displayName": "Fake Tenant",
        "defaultDomain": "fake.onmicrosoft.com",
        "domains": ["fake.onmicrosoft.com"],
        "tenantCategory": "Home",
        "tenantType": "AAD",
    })]))
}

/// Everything below a subscription that belongs to no other provider.
pub(super) fn in_subscription(cloud: &mut Cloud, call: &Call<'_>, path: &[&str]) -> Result<Reply> {
    let kind = path
        .first()
        .map(|first| first.to_ascii_lowercase())
        .unwrap_or_default();
    match (
        call.method(),
        kind.as_str(),
        path.get(1..).unwrap_or_default(),
    ) {
        (Method::Get, "", []) => Ok(Reply::json(200, &subscription(cloud))),
        (Method::Get, "locations", []) => Ok(locations(cloud)),
        (Method::Get, "resourcegroups", []) => Ok(Reply::list(
            cloud.groups.values().map(render::group).collect(),
        )),
        (Method::Get, "resources", []) => Ok(resources(cloud, call)),
        (Method::Get, "providers", []) => Ok(Reply::list(
            PROVIDERS.iter().map(|it| provider(cloud, it)).collect(),
        )),
        (Method::Get, "providers", [namespace]) => show_provider(cloud, namespace),
        (Method::Get, "operationresults", [id]) => operation_result(cloud, call, id),
        (_, "resourcegroups", [name]) => group(cloud, call, name),
        (Method::Get, "resourcegroups", [name, last]) if same(last, "resources") => {
            if !cloud.groups.contains_key(&name.to_lowercase()) {
                return Err(ArmError::group_not_found(name));
            }
            Ok(Reply::list(all_resources(cloud, Some(name))))
        }
        _ => Err(ArmError::new(
            404,
            "NotFound",
            format!("No route matches the path '{}'.", call.request.path),
        )),
    }
}

fn locations(cloud: &Cloud) -> Reply {
    let subscription = &cloud.config.subscription_id;
    Reply::list(
        Location::all()
            .map(|at| render::location(subscription, &at))
            .collect(),
    )
}

/// `az resource list`: the only filter that clients send is by group.
fn resources(cloud: &Cloud, call: &Call<'_>) -> Reply {
    let filter = call.request.parameter("$filter").unwrap_or_default();
    let group = filter
        .split_once("resourceGroup eq '")
        .and_then(|(_, rest)| rest.split_once('\''))
        .map(|(name, _)| name);
    Reply::list(all_resources(cloud, group))
}

fn all_resources(cloud: &Cloud, group: Option<&str>) -> Vec<Value> {
    let brief = |body: Value| {
        let mut short = Map::new();
        for member in [
            "id",
            "name",
            "type",
            "location",
            "tags",
            "sku",
            "zones",
            "managedBy",
        ] {
            if let Some(value) = body.get(member) {
                short.insert(member.to_owned(), value.clone());
            }
        }
        Value::Object(short)
    };
    let bodies = (cloud.vms.values().map(|vm| render::vm(vm, false)))
        .chain(cloud.nics.values().map(|nic| render::nic(nic, None)))
        .chain(cloud.disks.values().map(render::disk))
        .chain(
            cloud
                .documents
                .values()
                .map(|document| document.body.clone()),
        )
        .chain(cloud.clusters.values().map(render::cluster));
    let inside = |body: &Value| {
        let id = ResourceId::new(body.get("id").and_then(Value::as_str).unwrap_or_default());
        group.is_none_or(|group| same(id.group(), group))
    };
    bodies.filter(inside).map(brief).collect()
}

fn group(cloud: &mut Cloud, call: &Call<'_>, name: &str) -> Result<Reply> {
    let key = name.to_lowercase();
    match call.method() {
        Method::Get => match cloud.groups.get(&key) {
            Some(group) => Ok(Reply::json(200, &render::group(group))),
            None => Err(ArmError::group_not_found(name)),
        },
        Method::Head => Ok(Reply::empty(if cloud.groups.contains_key(&key) {
            204
        } else {
            404
        })),
        Method::Put => put_group(cloud, call, name),
        Method::Patch => {
            let tags = tags_of(&call.body()?);
            let Some(group) = cloud.groups.get_mut(&key) else {
                return Err(ArmError::group_not_found(name));
            };
            group.tags = tags.unwrap_or_default();
            Ok(Reply::json(200, &render::group(group)))
        }
        Method::Delete => delete_group(cloud, call, name),
        _ => call.not_allowed("Microsoft.Resources/resourceGroups"),
    }
}

/// The `tags` of a body, when it has any.
pub(super) fn tags_of(body: &Value) -> Option<Map<String, Value>> {
    body.get("tags").and_then(Value::as_object).cloned()
}

fn put_group(cloud: &mut Cloud, call: &Call<'_>, name: &str) -> Result<Reply> {
    let body = call.body()?;
    let well_formed = |c: char| c.is_alphanumeric() || "_-.()".contains(c);
    if name.len() > 90 || name.ends_with('.') || !name.chars().all(well_formed) {
        return Err(ArmError::new(
            400,
            "InvalidResourceGroup",
            format!("The provided resource group name '{name}' has these invalid characters."),
        ));
    }
    let location = location_of(&body)?;
    let key = name.to_lowercase();
    if let Some(group) = cloud.groups.get_mut(&key) {
        if group.deleting.is_some() {
            return Err(ArmError::new(
                409,
                "ResourceGroupBeingDeleted",
                format!(
                    "The resource group '{name}' is in deprovisioning state and cannot perform this \
                     operation."
                ),
            ));
        }
        if group.location != location {
            return Err(ArmError::new(
                409,
                "InvalidResourceGroupLocation",
                format!(
                    "Invalid resource group location '{location}'. The Resource group already exists \
                     in location '{}'.",
                    group.location
                ),
            ));
        }
        group.tags = tags_of(&body).unwrap_or_default();
        return Ok(Reply::json(200, &render::group(group)));
    }
    let group = Group {
        id: ResourceId::new(format!(
            "/subscriptions/{}/resourceGroups/{name}",
            cloud.config.subscription_id
        )),
        location,
        tags: tags_of(&body).unwrap_or_default(),
        managed_by: None,
        deleting: None,
    };
    let reply = Reply::json(201, &render::group(&group));
    cloud.groups.insert(key, group);
    Ok(reply)
}

/// The normalized `location` of a body, which must be a known region.
pub(super) fn location_of(body: &Value) -> Result<String> {
    let Some(given) = body
        .get("location")
        .and_then(Value::as_str)
        .filter(|it| !it.is_empty())
    else {
        return Err(ArmError::new(
            400,
            "LocationRequired",
            "The location property is required for this definition.",
        ));
    };
    let location = normal_location(given);
    if Location::find(&location).is_some() {
        return Ok(location);
    }
    Err(ArmError::new(
        400,
        "LocationNotAvailableForResourceGroup",
        format!("The provided location '{given}' is not available for resource group."),
    ))
}

/// Deletion goes by `Location` alone.
fn delete_group(cloud: &mut Cloud, call: &Call<'_>, name: &str) -> Result<Reply> {
    let key = name.to_lowercase();
    let Some(group) = cloud.groups.get(&key) else {
        return Err(ArmError::group_not_found(name));
    };
    let (running, prefix) = (group.deleting.clone(), format!("{}/", group.id.key()));
    // A cluster and the nodes of its scale set live as long as the cloud: the emulator would have
    // to take down an API server that others still use.
    if let Some(cluster) = cloud
        .clusters
        .keys()
        .find(|cluster| cluster.starts_with(&prefix))
    {
        return Err(ArmError::not_allowed(format!(
            "The resource group '{name}' holds the managed cluster '{cluster}', which this cloud \
             keeps."
        )));
    }
    let operation = running.unwrap_or_else(|| {
        let operation = cloud.start_operation(Owner::Resources, None);
        if let Some(group) = cloud.groups.get_mut(&key) {
            group.deleting = Some(operation.clone());
        }
        let delay = cloud.draw(Step::DeleteGroup, &key);
        cloud.after(delay, Timer::GroupDeleted { group: key.clone() });
        operation
    });
    Ok(Reply::empty(202)
        .header(
            "location",
            format!(
                "{}/subscriptions/{}/operationresults/{operation}?api-version={}",
                call.request.base, cloud.config.subscription_id, call.api_version
            ),
        )
        .header(
            "retry-after",
            cloud.config.latency.retry_after().to_string(),
        ))
}

/// A namespace and the types this cloud has of it.
struct Provider {
    namespace: &'static str,
    types: &'static [&'static str],
}

const PROVIDERS: [Provider; 7] = [
    Provider {
        namespace: "Microsoft.Compute",
        types: &[
            "virtualMachines",
            "virtualMachines/extensions",
            "disks",
            "skus",
            "locations/usages",
            "locations/vmSizes",
        ],
    },
    Provider {
        namespace: "Microsoft.Network",
        types: &[
            "networkInterfaces",
            "virtualNetworks",
            "networkSecurityGroups",
            "loadBalancers",
            "publicIPAddresses",
            "routeTables",
        ],
    },
    Provider {
        namespace: "Microsoft.ContainerService",
        types: &["managedClusters", "managedClusters/agentPools"],
    },
    Provider {
        namespace: "Microsoft.ManagedIdentity",
        types: &["userAssignedIdentities"],
    },
    Provider {
        namespace: "Microsoft.Resources",
        types: &["resourceGroups", "subscriptions"],
    },
    Provider {
        namespace: "Microsoft.ResourceGraph",
        types: &["resources"],
    },
    Provider {
        namespace: "Microsoft.Authorization",
        types: &["roleAssignments", "roleDefinitions", "locks"],
    },
];

fn find_provider(namespace: &str) -> Option<&'static Provider> {
    PROVIDERS
        .iter()
        .find(|provider| same(provider.namespace, namespace))
}

fn show_provider(cloud: &Cloud, namespace: &str) -> Result<Reply> {
    match find_provider(namespace) {
        Some(found) => Ok(Reply::json(200, &provider(cloud, found))),
        None => Err(unknown(namespace)),
    }
}

fn unknown(namespace: &str) -> ArmError {
    ArmError::new(
        404,
        "InvalidResourceNamespace",
        format!("The resource namespace '{namespace}' is invalid."),
    )
}

fn provider(cloud: &Cloud, provider: &Provider) -> Value {
    let place = Location::find(&cloud.config.region).map_or("", |at| at.display_name);
    let types: Vec<Value> = provider
        .types
        .iter()
        .map(|kind| {
            json!({
                "resourceType": kind,
                "locations": [place],
                "apiVersions": ["2025-04-01", "2024-11-01"],
                "defaultApiVersion": "2025-04-01",
                "zoneMappings": [{"location": place, "zones": cloud.catalog.zones}],
                "capabilities": "SupportsTags, SupportsLocation",
            })
        })
        .collect();
    json!({
        "id": format!(
            "/subscriptions/{}/providers/{}",
            cloud.config.subscription_id, provider.namespace
        ),
        "namespace": provider.namespace,
        "registrationState": "Registered",
        "registrationPolicy": "RegistrationRequired",
        "resourceTypes": types,
    })
}

/// A provider without routes of its own: registration is answered, the rest is unknown.
pub(super) fn unknown_namespace(
    cloud: &Cloud,
    call: &Call<'_>,
    scope: Scope<'_>,
    namespace: &str,
    path: &[&str],
) -> Result<Reply> {
    let found = find_provider(namespace).ok_or_else(|| unknown(namespace))?;
    registration(cloud, call, scope, found.namespace, path).unwrap_or_else(|| {
        let kind = path.first().copied().unwrap_or_default();
        Err(ArmError::unknown_type(namespace, kind, &call.api_version))
    })
}

/// `GET {subscription}/providers/{ns}` and `POST …/register`: every provider is registered.
pub(super) fn registration(
    cloud: &Cloud,
    call: &Call<'_>,
    scope: Scope<'_>,
    namespace: &str,
    path: &[&str],
) -> Option<Result<Reply>> {
    match (call.method(), scope, path) {
        (Method::Get, Scope::Subscription, []) => Some(show_provider(cloud, namespace)),
        (Method::Post, Scope::Subscription, [verb]) if same(verb, "register") => {
            Some(show_provider(cloud, namespace))
        }
        _ => None,
    }
}
