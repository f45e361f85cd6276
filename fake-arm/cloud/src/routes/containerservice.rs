//! Microsoft.ContainerService: managed clusters and the versions that nodes can have.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    Call, Reply, Scope, follow, operation_result, operation_status, resources::registration,
};
use crate::{
    cloud::Cloud,
    config::NapMode,
    error::{ArmError, Result},
    event::CloudEvent,
    exchange::Method,
    model::{Cluster, Provisioning},
    operations::Owner,
    path::{ResourceId, same},
    physics::Step,
    render,
    routes::compute::images,
    timers::Timer,
};

const CLUSTERS: &str = "Microsoft.ContainerService/managedClusters";

pub(super) fn route(
    cloud: &mut Cloud,
    call: &Call<'_>,
    scope: Scope<'_>,
    path: &[&str],
) -> Result<Reply> {
    if let Some(reply) = registration(cloud, call, scope, "Microsoft.ContainerService", path) {
        return reply;
    }
    match (scope, path) {
        (Scope::Subscription, [first, _, rest @ ..]) if same(first, "locations") => {
            in_location(cloud, call, rest)
        }
        (_, [kind]) if same(kind, "managedClusters") => {
            if call.method() != Method::Get {
                return call.not_allowed(CLUSTERS);
            }
            let inside = |cluster: &&Cluster| match scope {
                Scope::Group(group) => same(cluster.id.group(), group),
                _ => true,
            };
            let found = cloud.clusters.values().filter(inside).map(render::cluster);
            Ok(Reply::page(call, found.collect()))
        }
        (Scope::Group(group), [kind, name, rest @ ..]) if same(kind, "managedClusters") => {
            let id = ResourceId::in_group(&cloud.config.subscription_id, group, CLUSTERS, name);
            in_cluster(cloud, call, &id, rest)
        }
        _ => Err(ArmError::unknown_type(
            "Microsoft.ContainerService",
            &path.join("/"),
            &call.api_version,
        )),
    }
}

fn in_location(cloud: &Cloud, call: &Call<'_>, path: &[&str]) -> Result<Reply> {
    match path {
        [what, id] if same(what, "operations") => operation_status(cloud, id),
        [what, id] if same(what, "operationresults") => operation_result(cloud, call, id),
        [what] if same(what, "nodeImageVersions") => Ok(Reply::list(images::node_image_versions())),
        [what] if same(what, "kubernetesVersions") => Ok(kubernetes_versions(cloud)),
        _ => Err(ArmError::unknown_type(
            "Microsoft.ContainerService",
            &format!("locations/{}", path.join("/")),
            &call.api_version,
        )),
    }
}

/// The versions of the clusters there are; the list is under `values`.
fn kubernetes_versions(cloud: &Cloud) -> Reply {
    let versions: std::collections::BTreeSet<&str> = cloud
        .clusters
        .values()
        .map(|cluster| cluster.config.kubernetes_version.as_str())
        .collect();
    let values: Vec<Value> = versions
        .into_iter()
        .enumerate()
        .map(|(index, version)| {
            let minor = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
            json!({
                "version": minor,
                "isDefault": index == 0,
                "capabilities": {"supportPlan": ["KubernetesOfficial"]},
                "patchVersions": {version: {"upgrades": []}},
            })
        })
        .collect();
    Reply::json(200, &json!({"values": values}))
}

fn in_cluster(cloud: &mut Cloud, call: &Call<'_>, id: &ResourceId, path: &[&str]) -> Result<Reply> {
    let key = id.key();
    let Some(cluster) = cloud.clusters.get(&key) else {
        if call.method() == Method::Put && path.is_empty() {
            return Err(ArmError::new(
                400,
                "BadRequest",
                "This cloud cannot create another managed cluster: it would need an API server of its \
                 own. Configure the cluster at the start.",
            )
            .aks("CreateClusterNotSupported"));
        }
        return Err(ArmError::resource_not_found(
            &format!("{CLUSTERS}/{}", id.name()),
            id.group(),
        ));
    };
    let not_allowed = || call.not_allowed(CLUSTERS);
    match (call.method(), path) {
        (Method::Get, []) => Ok(Reply::json(200, &render::cluster(cluster))),
        (Method::Put | Method::Patch, []) => update(cloud, call, &key),
        (Method::Get, [what]) if same(what, "agentPools") => Ok(Reply::list(pools(cluster))),
        (Method::Get, [what, name]) if same(what, "agentPools") => {
            let pool = pools(cluster)
                .into_iter()
                .find(|pool| pool["name"].as_str() == Some(name));
            pool.map(|pool| Reply::json(200, &pool)).ok_or_else(|| {
                ArmError::new(
                    404,
                    "NotFound",
                    format!("Could not find the agentpool {name}."),
                )
                .aks("GetAgentPool_NotFound")
            })
        }
        (Method::Post, [verb])
            if same(verb, "listClusterUserCredential")
                || same(verb, "listClusterAdminCredential") =>
        {
            credentials(cloud, cluster, same(verb, "listClusterAdminCredential"))
        }
        (Method::Post, [verb]) if same(verb, "stop") && cluster.mode == NapMode::Auto => {
            Err(ArmError::new(
                400,
                "BadRequest",
                "Stopping a managed cluster with node auto-provisioning enabled is not supported.",
            )
            .aks("StopNotSupported"))
        }
        _ => not_allowed(),
    }
}

fn credentials(cloud: &Cloud, cluster: &Cluster, admin: bool) -> Result<Reply> {
    let Some(kubeconfig) = cloud.facts.kubeconfig(&cluster.config.name) else {
        return Err(ArmError::new(
            404,
            "NotFound",
            format!(
                "The managed cluster '{}' has no API server here.",
                cluster.config.name
            ),
        )
        .aks("NoApiServer"));
    };
    let name = if admin { "clusterAdmin" } else { "clusterUser" };
    let value = STANDARD.encode(kubeconfig);
    Ok(Reply::json(
        200,
        &json!({"kubeconfigs": [{"name": name, "value": value}]}),
    ))
}

/// Agent pools as child resources: the profiles with an id.
fn pools(cluster: &Cluster) -> Vec<Value> {
    let profiles = cluster.document["properties"]["agentPoolProfiles"].as_array();
    profiles
        .into_iter()
        .flatten()
        .map(|profile| {
            let name = profile["name"].as_str().unwrap_or_default();
            let mut properties = profile.clone();
            if let Some(members) = properties.as_object_mut() {
                members.remove("name");
            }
            json!({
                "id": format!("{}/agentPools/{name}", cluster.id),
                "name": name,
                "type": "Microsoft.ContainerService/managedClusters/agentPools",
                "properties": properties,
            })
        })
        .collect()
}

/// Only tags and node auto-provisioning can change; read-only and other members are ignored, as
/// clients send back the whole document.
fn update(cloud: &mut Cloud, call: &Call<'_>, key: &str) -> Result<Reply> {
    let body = call.body()?;
    let Some(cluster) = cloud.clusters.get(key) else {
        return call.not_allowed(CLUSTERS);
    };
    if cluster
        .operation
        .as_ref()
        .is_some_and(|id| is_running(cloud, id))
    {
        return Err(ArmError::not_allowed(format!(
            "Operation is not allowed: Another operation ({}) is in progress, please wait for it to \
             finish before starting a new operation. See https://aka.ms/aks-pending-operation for more \
             details",
            cluster.provisioning.as_str()
        )));
    }
    let mode = match body["properties"]["nodeProvisioningProfile"]["mode"].as_str() {
        Some("Auto") => NapMode::Auto,
        Some("Manual") => NapMode::Manual,
        None => cluster.mode,
        Some(other) => {
            return Err(ArmError::new(
                400,
                "InvalidParameter",
                format!(
                    "The value of parameter nodeProvisioningProfile.mode is invalid: '{other}'."
                ),
            )
            .target("nodeProvisioningProfile.mode")
            .aks("InvalidNodeProvisioningMode"));
        }
    };
    if cluster.mode == NapMode::Auto && mode == NapMode::Manual {
        check_disabling(cloud, &cluster.config.name)?;
    }
    let (name, changed) = (cluster.config.name.clone(), cluster.mode != mode);
    let operation = cloud.start_operation(Owner::ContainerService, None);
    let Some(cluster) = cloud.clusters.get_mut(key) else {
        return call.not_allowed(CLUSTERS);
    };
    cluster.mode = mode;
    if let Some(tags) = body.get("tags") {
        cluster.document["tags"] = tags.clone();
    }
    cluster.operation = Some(operation.clone());
    let mut shown = render::cluster(cluster);
    shown["properties"]["provisioningState"] = json!(Provisioning::Updating.as_str());
    if changed {
        cloud.events.push(CloudEvent::NapModeChanged {
            cluster: name,
            mode,
        });
    }
    let delay = cloud.draw(Step::UpdateCluster, &operation);
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

fn is_running(cloud: &Cloud, operation: &str) -> bool {
    cloud
        .operations
        .get(operation)
        .is_some_and(|it| it.ended.is_none())
}

/// Node auto-provisioning goes only when it has no node left and no NodePool that may make one.
fn check_disabling(cloud: &Cloud, cluster: &str) -> Result<()> {
    let nodes = cloud.facts.provisioned_nodes(cluster);
    let pools = cloud.facts.open_node_pools(cluster);
    if nodes.is_empty() && pools.is_empty() {
        return Ok(());
    }
    let listed = |text: &str, names: &[String]| {
        if names.is_empty() {
            String::new()
        } else {
            format!(" {text}: {}.", names.join(", "))
        }
    };
    let message = format!(
        "Node auto-provisioning cannot be disabled on this managed cluster.{}{}",
        listed("Nodes it provisioned still exist", &nodes),
        listed("NodePools whose spec.limits.cpu is not 0", &pools)
    );
    Err(ArmError::new(400, "BadRequest", message).aks("DisableNodeProvisioningNotAllowed"))
}
