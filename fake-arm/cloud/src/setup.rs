//! The resources a cloud begins with: the managed clusters and what AKS puts around them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    cloud::Cloud,
    config::{CapacityType, ClusterConfig, ConfigError},
    event::{AgentPool, CloudEvent, StartedVm, Taint},
    lifecycle::zone_label,
    model::{Cluster, Document, Group, Provisioning},
    path::ResourceId,
    random::Seeds,
};

/// What a controller of a managed cluster must be told about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    pub name: String,
    pub arm_id: String,
    pub resource_group: String,
    pub node_resource_group: String,
    pub kubernetes_version: String,
    /// `aks-subnet` of the cluster's own network.
    pub subnet_id: String,
    /// `properties.resourceGuid` of that network.
    pub vnet_guid: String,
    pub mode: crate::NapMode,
    pub default_node_pools: bool,
}

impl Cloud {
    /// Checks the configuration and creates what it names.
    pub(crate) fn apply_configuration(&mut self) -> Result<(), ConfigError> {
        for (index, pool) in self.config.capacity.clone().iter().enumerate() {
            self.check_pool(&format!("capacity[{index}]"), pool)?;
            self.capacity.set(pool);
        }
        for family in self.config.quota.family.keys() {
            self.check_family(&format!("quota.family.{family}"), family)?;
        }
        for (index, cluster) in self.config.clusters.clone().iter().enumerate() {
            self.add_cluster(&format!("clusters[{index}]"), cluster)?;
        }
        Ok(())
    }

    /// The managed clusters.
    pub fn clusters(&self) -> Vec<ClusterView> {
        self.clusters
            .values()
            .map(|cluster| self.cluster_view(cluster))
            .collect()
    }

    fn cluster_view(&self, cluster: &Cluster) -> ClusterView {
        let names = Names::of(
            &self.config.subscription_id,
            &self.config.region,
            &cluster.config,
        );
        ClusterView {
            name: cluster.config.name.clone(),
            arm_id: cluster.id.as_str().to_owned(),
            resource_group: cluster.config.resource_group.clone(),
            subnet_id: names.subnet(),
            vnet_guid: names.vnet_guid(),
            node_resource_group: names.node_group,
            kubernetes_version: cluster.config.kubernetes_version.clone(),
            mode: cluster.mode,
            default_node_pools: cluster.config.default_node_pools,
        }
    }

    fn add_cluster(&mut self, field: &str, config: &ClusterConfig) -> Result<(), ConfigError> {
        let names = Names::of(&self.config.subscription_id, &self.config.region, config);
        let id = ResourceId::in_group(
            &self.config.subscription_id,
            &config.resource_group,
            "Microsoft.ContainerService/managedClusters",
            &config.name,
        );
        if self.clusters.contains_key(&id.key()) {
            return Err(ConfigError::new(
                field,
                format!("cluster '{}' is given twice", config.name),
            ));
        }
        self.add_group(&config.resource_group, None);
        self.add_group(&names.node_group, Some(id.as_str()));
        for document in names.documents(&self.config.region, config) {
            self.documents.insert(document.id.key(), document);
        }
        self.start_system_pool(field, config, &names)?;
        let document = names.cluster_document(&self.config, config, &id);
        let cluster = Cluster {
            config: config.clone(),
            mode: config.node_provisioning,
            document,
            provisioning: Provisioning::Succeeded,
            operation: None,
            id: id.clone(),
        };
        self.clusters.insert(id.key(), cluster);
        Ok(())
    }

    fn add_group(&mut self, name: &str, managed_by: Option<&str>) {
        let id = ResourceId::new(format!(
            "/subscriptions/{}/resourceGroups/{name}",
            self.config.subscription_id
        ));
        self.groups.entry(name.to_lowercase()).or_insert(Group {
            id,
            location: self.config.region.clone(),
            tags: Map::new(),
            managed_by: managed_by.map(str::to_owned),
            deleting: None,
        });
    }

    /// The system pool runs from the start: a scale set, whose instances ARM lists apart from
    /// virtual machines.
    fn start_system_pool(
        &mut self,
        field: &str,
        config: &ClusterConfig,
        names: &Names,
    ) -> Result<(), ConfigError> {
        let pool = &config.system_pool;
        let Some(size) = self.catalog.size(&pool.vm_size).cloned() else {
            return Err(ConfigError::new(
                format!("{field}.systemPool.vmSize"),
                format!(
                    "region {} does not sell the size '{}'",
                    self.config.region, pool.vm_size
                ),
            ));
        };
        for index in 0..pool.count {
            self.quota
                .reserve(size.family, CapacityType::OnDemand, size.vcpus)
                .map_err(|_exceeded| {
                    ConfigError::new(
                        format!("{field}.systemPool"),
                        format!(
                            "the quota leaves no room for {} nodes of {}",
                            pool.count, size.name
                        ),
                    )
                })?;
            let zones = self.catalog.zones_of(&size);
            let zone = zones
                .get(index as usize % zones.len().max(1))
                .map(String::as_str);
            let scale_set = format!("aks-{}-{}-vmss", pool.name, names.digits);
            let set = names.id("Microsoft.Compute/virtualMachineScaleSets", &scale_set);
            let machine = ResourceId::new(format!("{set}/virtualMachines/{index}"));
            let event = StartedVm {
                arm_id: machine.as_str().to_owned(),
                provider_id: machine.provider_id(),
                host_name: format!("{scale_set}{index:06}"),
                custom_data: String::new(),
                vm_size: size.name.to_owned(),
                zone: zone_label(&self.config.region, zone),
                region: self.config.region.clone(),
                cores: size.vcpus,
                memory_bytes: size.memory_mib << 20,
                os_disk_bytes: 128 << 30,
                gpu_count: 0,
                tags: BTreeMap::new(),
                agent_pool: Some(agent_pool(config, &names.node_group)),
            };
            self.events.push(CloudEvent::VmStarted(Box::new(event)));
        }
        Ok(())
    }
}

/// Labels and taint that AKS gives to nodes of a system pool.
fn agent_pool(config: &ClusterConfig, node_group: &str) -> AgentPool {
    let pool = &config.system_pool;
    let labels = [
        ("agentpool", pool.name.as_str()),
        ("kubernetes.azure.com/agentpool", pool.name.as_str()),
        ("kubernetes.azure.com/cluster", node_group),
        ("kubernetes.azure.com/mode", "system"),
        ("kubernetes.azure.com/role", "agent"),
        ("kubernetes.io/os", "linux"),
    ];
    AgentPool {
        cluster: config.name.clone(),
        name: pool.name.clone(),
        labels: labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        taints: vec![Taint {
            key: "CriticalAddonsOnly".to_owned(),
            value: "true".to_owned(),
            effect: "NoSchedule".to_owned(),
        }],
        max_pods: 250,
        kubernetes_version: config.kubernetes_version.clone(),
    }
}

/// The names AKS gives to what it creates for a cluster. They do not depend on the seed: the
/// settings of a controller stay valid from run to run.
struct Names {
    subscription: String,
    node_group: String,
    digits: String,
    stable: Seeds,
    cluster: String,
}

impl Names {
    fn of(subscription: &str, region: &str, config: &ClusterConfig) -> Self {
        let stable = Seeds::new(0);
        Self {
            subscription: subscription.to_owned(),
            node_group: config.node_resource_group(region),
            digits: stable.digits("cluster", &config.name),
            stable,
            cluster: config.name.clone(),
        }
    }

    fn id(&self, kind: &str, name: &str) -> ResourceId {
        ResourceId::in_group(&self.subscription, &self.node_group, kind, name)
    }

    fn vnet(&self) -> ResourceId {
        self.id(
            "Microsoft.Network/virtualNetworks",
            &format!("aks-vnet-{}", self.digits),
        )
    }

    fn subnet(&self) -> String {
        format!("{}/subnets/aks-subnet", self.vnet())
    }

    fn vnet_guid(&self) -> String {
        self.stable.guid("vnet", &self.cluster)
    }

    fn identity(&self) -> ResourceId {
        let kind = "Microsoft.ManagedIdentity/userAssignedIdentities";
        self.id(kind, &format!("{}-agentpool", self.cluster))
    }

    /// Network, security group, route table, load balancer and kubelet identity.
    fn documents(&self, region: &str, config: &ClusterConfig) -> Vec<Document> {
        let document = |kind: &'static str, id: ResourceId, properties: Value| {
            let body = json!({
                "id": id.as_str(),
                "name": id.name(),
                "type": kind,
                "location": region,
                "properties": properties,
            });
            Document { id, kind, body }
        };
        let (nsgs, routes, balancers) = (
            "Microsoft.Network/networkSecurityGroups",
            "Microsoft.Network/routeTables",
            "Microsoft.Network/loadBalancers",
        );
        let nsg = self.id(nsgs, &format!("aks-agentpool-{}-nsg", self.digits));
        let table = self.id(routes, &format!("aks-agentpool-{}-routetable", self.digits));
        let balancer = self.id(balancers, "kubernetes");
        let pools = ["aksOutboundBackendPool", "kubernetes"].map(|name| {
            json!({
                "id": format!("{balancer}/backendAddressPools/{name}"),
                "name": name,
                "properties": {"provisioningState": "Succeeded", "loadBalancerBackendAddresses": []},
            })
        });
        let mut balancer = document(
            balancers,
            balancer,
            json!({"provisioningState": "Succeeded", "backendAddressPools": pools}),
        );
        balancer.body["sku"] = json!({"name": "Standard", "tier": "Regional"});
        vec![
            document(
                "Microsoft.Network/virtualNetworks",
                self.vnet(),
                self.network(config, &nsg, &table),
            ),
            document(
                nsgs,
                nsg,
                json!({"provisioningState": "Succeeded", "securityRules": [], "defaultSecurityRules": []}),
            ),
            document(
                routes,
                table,
                json!({"provisioningState": "Succeeded", "routes": []}),
            ),
            balancer,
            document(
                "Microsoft.ManagedIdentity/userAssignedIdentities",
                self.identity(),
                json!({
                    "clientId": self.stable.guid("identity/client", &self.cluster),
                    "principalId": self.stable.guid("identity/principal", &self.cluster),
                    "tenantId": "00000000-0000-0000-0000-0000000000aa",
                }),
            ),
        ]
    }

    fn network(&self, config: &ClusterConfig, nsg: &ResourceId, table: &ResourceId) -> Value {
        json!({
            "provisioningState": "Succeeded",
            "resourceGuid": self.vnet_guid(),
            "addressSpace": {"addressPrefixes": [config.network.address_prefix]},
            "enableDdosProtection": false,
            "subnets": [{
                "id": self.subnet(),
                "name": "aks-subnet",
                "type": "Microsoft.Network/virtualNetworks/subnets",
                "properties": {
                    "provisioningState": "Succeeded",
                    "addressPrefix": config.network.subnet_prefix,
                    "networkSecurityGroup": {"id": nsg.as_str()},
                    "routeTable": {"id": table.as_str()},
                    "privateEndpointNetworkPolicies": "Disabled",
                    "privateLinkServiceNetworkPolicies": "Enabled",
                },
            }],
        })
    }

    fn cluster_document(
        &self,
        cloud: &crate::CloudConfig,
        config: &ClusterConfig,
        id: &ResourceId,
    ) -> Value {
        let hash = self.stable.digits("fqdn", &config.name);
        let fqdn = format!("{}-{hash}.hcp.{}.azmk8s.io", config.name, cloud.region);
        let identity = self.identity();
        let pool = pool_profile(config);
        json!({
            "id": id.as_str(),
            "name": config.name,
            "type": "Microsoft.ContainerService/managedClusters",
            "location": cloud.region,
            "tags": {},
            "sku": {"name": "Base", "tier": "Standard"},
            "identity": {
                "type": "SystemAssigned",
                "principalId": self.stable.guid("cluster/principal", &config.name),
                "tenantId": cloud.tenant_id,
            },
            "properties": {
                "provisioningState": "Succeeded",
                "powerState": {"code": "Running"},
                "kubernetesVersion": config.kubernetes_version,
                "currentKubernetesVersion": config.kubernetes_version,
                "dnsPrefix": config.name,
                "fqdn": fqdn,
                "agentPoolProfiles": [pool],
                "nodeResourceGroup": self.node_group,
                "enableRBAC": true,
                "maxAgentPools": 100,
                "supportPlan": "KubernetesOfficial",
                "networkProfile": {
                    "networkPlugin": "azure",
                    "networkPluginMode": "overlay",
                    "networkDataplane": "cilium",
                    "loadBalancerSku": "standard",
                    "outboundType": "loadBalancer",
                    "podCidr": "10.244.0.0/16",
                    "podCidrs": ["10.244.0.0/16"],
                    "serviceCidr": "10.0.0.0/16",
                    "serviceCidrs": ["10.0.0.0/16"],
                    "dnsServiceIP": "10.0.0.10",
                    "ipFamilies": ["IPv4"],
                },
                "identityProfile": {"kubeletidentity": {
                    "resourceId": identity.as_str(),
                    "clientId": self.stable.guid("identity/client", &self.cluster),
                    "objectId": self.stable.guid("identity/principal", &self.cluster),
                }},
                "servicePrincipalProfile": {"clientId": "msi"},
                "nodeProvisioningProfile": {
                    "mode": config.node_provisioning.as_str(),
                    "defaultNodePools": if config.default_node_pools { "Auto" } else { "None" },
                },
                "oidcIssuerProfile": {"enabled": false},
            },
        })
    }
}

fn pool_profile(config: &ClusterConfig) -> Value {
    let pool = &config.system_pool;
    json!({
        "name": pool.name,
        "mode": "System",
        "count": pool.count,
        "vmSize": pool.vm_size,
        "type": "VirtualMachineScaleSets",
        "osType": "Linux",
        "osSKU": "Ubuntu",
        "osDiskSizeGB": 128,
        "osDiskType": "Managed",
        "kubeletDiskType": "OS",
        "maxPods": 250,
        "orchestratorVersion": config.kubernetes_version,
        "currentOrchestratorVersion": config.kubernetes_version,
        "enableAutoScaling": false,
        "nodeTaints": ["CriticalAddonsOnly=true:NoSchedule"],
        "powerState": {"code": "Running"},
        "provisioningState": "Succeeded",
    })
}
