//! What a network interface must be attached to: load balancer pools, security group, network.

use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;

use crate::arm::{Arm, ArmError, lock, versions};
use crate::id::{Ids, SubnetId};

/// Load balancers change when services of type `LoadBalancer` come and go.
const POOLS_FOR: Duration = Duration::from_hours(2);

/// Facts of the cluster's network, as long as they are believed.
#[derive(Debug, Default)]
pub(crate) struct ClusterNetwork {
    pools: Mutex<Option<(Duration, Vec<String>)>>,
    security_group: Mutex<Option<SecurityGroup>>,
    vnet_guid: Mutex<Option<(String, String)>>,
}

/// The cluster's security group.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct SecurityGroup {
    pub(crate) id: String,
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadBalancer {
    #[serde(default)]
    name: String,
    #[serde(default)]
    properties: LoadBalancerProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LoadBalancerProperties {
    backend_address_pools: Vec<Pool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pool {
    id: String,
    name: String,
    properties: PoolProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PoolProperties {
    load_balancer_backend_addresses: Vec<BackendAddress>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BackendAddress {
    properties: BackendAddressProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BackendAddressProperties {
    ip_address: String,
}

#[derive(Debug, Deserialize)]
struct VirtualNetwork {
    #[serde(default)]
    properties: VirtualNetworkProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VirtualNetworkProperties {
    resource_guid: String,
}

impl LoadBalancer {
    fn is_clusters(&self) -> bool {
        ["kubernetes", "kubernetes-internal"]
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&self.name))
    }
}

impl Pool {
    /// Nodes join pools by their network interfaces; pools for IPv6 or by address are not theirs.
    fn takes_interfaces(&self) -> bool {
        let is_v6 = ["aksOutboundBackendPool-ipv6", "kubernetes-ipv6"]
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&self.name));
        let by_address = self
            .properties
            .load_balancer_backend_addresses
            .iter()
            .any(|address| !address.properties.ip_address.is_empty());
        !is_v6 && !by_address && !self.id.is_empty()
    }
}

impl ClusterNetwork {
    /// Ids of the backend pools a node belongs to.
    pub(crate) async fn pools(
        &self,
        arm: &Arm,
        ids: &Ids,
        now: Duration,
    ) -> Result<Vec<String>, ArmError> {
        if let Some((until, pools)) = &*lock(&self.pools)
            && now < *until
        {
            return Ok(pools.clone());
        }
        let url = arm.url(&ids.load_balancers(), versions::NETWORK, &[]);
        let balancers: Vec<LoadBalancer> = arm.list(&url).await?;
        let pools: Vec<String> = balancers
            .into_iter()
            .filter(LoadBalancer::is_clusters)
            .flat_map(|balancer| balancer.properties.backend_address_pools)
            .filter(Pool::takes_interfaces)
            .map(|pool| pool.id)
            .collect();
        *lock(&self.pools) = Some((now + POOLS_FOR, pools.clone()));
        Ok(pools)
    }

    /// Forgets the pools: one of them was refused.
    pub(crate) fn forget_pools(&self) {
        *lock(&self.pools) = None;
    }

    /// The group `aks-agentpool-########-nsg`; `None` when there is none or more than one.
    pub(crate) async fn security_group(
        &self,
        arm: &Arm,
        ids: &Ids,
    ) -> Result<Option<SecurityGroup>, ArmError> {
        if let Some(group) = &*lock(&self.security_group) {
            return Ok(Some(group.clone()));
        }
        let url = arm.url(&ids.security_groups(), versions::NETWORK, &[]);
        let groups: Vec<SecurityGroup> = arm.list(&url).await?;
        let mut ours = groups
            .into_iter()
            .filter(|group| is_clusters_group(&group.name));
        let found = match (ours.next(), ours.next()) {
            (Some(group), None) => Some(group),
            _ => None,
        };
        lock(&self.security_group).clone_from(&found);
        Ok(found)
    }

    /// `resourceGuid` of the network of a subnet.
    pub(crate) async fn vnet_guid(
        &self,
        arm: &Arm,
        subnet: &SubnetId<'_>,
    ) -> Result<String, ArmError> {
        let id = format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Network/virtualNetworks/{}",
            subnet.subscription, subnet.resource_group, subnet.vnet
        );
        if let Some((known, guid)) = &*lock(&self.vnet_guid)
            && *known == id
        {
            return Ok(guid.clone());
        }
        let network: VirtualNetwork = arm.get(&arm.url(&id, versions::NETWORK, &[])).await?;
        let guid = network.properties.resource_guid;
        *lock(&self.vnet_guid) = Some((id, guid.clone()));
        Ok(guid)
    }
}

fn is_clusters_group(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let digits = lower
        .strip_prefix("aks-agentpool-")
        .and_then(|rest| rest.strip_suffix("-nsg"));
    digits.is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pools_of_interfaces_of_the_cluster_count() {
        let balancer = |name: &str| LoadBalancer {
            name: name.to_owned(),
            properties: LoadBalancerProperties::default(),
        };
        assert!(
            balancer("Kubernetes").is_clusters() && balancer("kubernetes-internal").is_clusters()
        );
        assert!(!balancer("other").is_clusters());
        let pool = |name: &str, ip: &str| Pool {
            id: "x".to_owned(),
            name: name.to_owned(),
            properties: PoolProperties {
                load_balancer_backend_addresses: vec![BackendAddress {
                    properties: BackendAddressProperties {
                        ip_address: ip.to_owned(),
                    },
                }],
            },
        };
        assert!(pool("kubernetes", "").takes_interfaces());
        assert!(!pool("kubernetes", "10.0.0.1").takes_interfaces());
        assert!(!pool("kubernetes-ipv6", "").takes_interfaces());
        assert!(
            is_clusters_group("AKS-agentpool-12345678-NSG")
                && !is_clusters_group("aks-agentpool-1-nsg")
        );
    }
}
