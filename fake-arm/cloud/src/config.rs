//! What a scenario or a flag may say about the cloud.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The physics and the first resources of a cloud. Every field has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CloudConfig {
    /// The region that holds the cluster; its sizes, zones and prices are offered.
    pub region: String,
    /// The one subscription.
    pub subscription_id: String,
    /// The one tenant.
    pub tenant_id: String,
    /// How long operations and boots take.
    pub latency: Latency,
    /// Pools that are smaller than endless. Several may match one request; all must have room.
    pub capacity: Vec<CapacityOverride>,
    /// Limits on cores.
    pub quota: QuotaConfig,
    /// Spot rules.
    pub spot: SpotConfig,
    /// Managed clusters that exist at the start.
    pub clusters: Vec<ClusterConfig>,
    /// Service principals that may sign in. Empty: any client id may.
    pub applications: Vec<Application>,
    /// Life of an access token, in seconds.
    pub token_lifetime_seconds: u32,
}

impl Default for CloudConfig {
    fn default() -> Self {
        Self {
            region: "westeurope".to_owned(),
            subscription_id: "00000000-0000-0000-0000-000000000001".to_owned(),
            tenant_id: "00000000-0000-0000-0000-0000000000aa".to_owned(),
            latency: Latency::default(),
            capacity: Vec::new(),
            quota: QuotaConfig::default(),
            spot: SpotConfig::default(),
            clusters: vec![ClusterConfig::default()],
            applications: Application::defaults(),
            // Entra's usual answer (azure-cli recordings: 86399).
            token_lifetime_seconds: 86_399,
        }
    }
}

/// The scale of operation and boot times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Latency {
    /// A machine runs within 15 seconds of its request.
    #[default]
    Fast,
    /// Times as observed on Azure: a machine runs after about half a minute to a minute.
    Realistic,
}

/// How a machine is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapacityType {
    OnDemand,
    Spot,
}

impl CapacityType {
    /// `on-demand` or `spot`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
        }
    }
}

impl std::str::FromStr for CapacityType {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on-demand" => Ok(Self::OnDemand),
            "spot" => Ok(Self::Spot),
            other => Err(ConfigError::new(
                "capacityType",
                format!("unknown capacity type '{other}': use on-demand or spot"),
            )),
        }
    }
}

/// A limited pool: how many more machines of a size can be placed now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapacityOverride {
    /// The VM size, for example `Standard_D4as_v5`, or `*` for every size.
    pub size: String,
    /// `1` or `westeurope-1`; absent: one pool over all zones and regional placement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Absent: one pool for both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_type: Option<CapacityType>,
    /// Machines that can still be placed; 0 is sold out. A machine that goes gives its place back.
    pub available: u32,
    /// The error of a refusal; absent: see [`Refusal`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// How Azure refuses a machine for want of capacity.
///
/// Without an explicit choice, a pool without zone that was set to 0 refuses with
/// `SkuNotAvailable` at once. Any other pool refuses inside the operation: zonal machines with
/// `ZonalAllocationFailed` (spot: `OverconstrainedZonalAllocationRequest`), regional ones with
/// `AllocationFailed` (spot: `OverconstrainedAllocationRequest`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    SkuNotAvailable,
    AllocationFailed,
    ZonalAllocationFailed,
    OverconstrainedAllocationRequest,
    OverconstrainedZonalAllocationRequest,
}

/// Limits on vCPUs, as `usages` reports them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct QuotaConfig {
    /// `cores`: on-demand vCPUs of the region.
    pub regional: u32,
    /// `lowPriorityCores`: spot vCPUs of the region.
    pub low_priority: u32,
    /// The limit of every family not named in `family`.
    pub family_default: u32,
    /// Limits by family name as in the SKU (`standardDSv5Family`); case does not matter.
    pub family: BTreeMap<String, u32>,
}

impl Default for QuotaConfig {
    fn default() -> Self {
        // A subscription that has asked for more once; scenarios lower what they are about.
        Self {
            regional: 2000,
            low_priority: 2000,
            family_default: 1000,
            family: BTreeMap::new(),
        }
    }
}

/// Spot rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SpotConfig {
    /// Seconds between the Preempt event and the eviction; Azure promises at least 30.
    pub eviction_notice_seconds: u32,
}

impl Default for SpotConfig {
    fn default() -> Self {
        Self {
            eviction_notice_seconds: 30,
        }
    }
}

/// Node auto-provisioning of a managed cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NapMode {
    #[default]
    Auto,
    Manual,
}

impl NapMode {
    /// `Auto` or `Manual`, as `nodeProvisioningProfile.mode` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::Manual => "Manual",
        }
    }
}

/// A managed cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterConfig {
    pub name: String,
    pub resource_group: String,
    pub node_provisioning: NapMode,
    /// `nodeProvisioningProfile.defaultNodePools`: `true` is `Auto`, `false` is `None`.
    pub default_node_pools: bool,
    /// Version of the control plane and of the system pool, for example `1.34.2`.
    pub kubernetes_version: String,
    pub system_pool: SystemPool,
    pub network: ClusterNetwork,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            name: "nap-dev".to_owned(),
            resource_group: "nap-dev".to_owned(),
            node_provisioning: NapMode::Auto,
            default_node_pools: true,
            kubernetes_version: "1.34.2".to_owned(),
            system_pool: SystemPool::default(),
            network: ClusterNetwork::default(),
        }
    }
}

impl ClusterConfig {
    /// `MC_{group}_{name}_{region}`, the group of the cluster's nodes.
    pub fn node_resource_group(&self, region: &str) -> String {
        format!("MC_{}_{}_{region}", self.resource_group, self.name)
    }
}

/// The system agent pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SystemPool {
    pub name: String,
    /// Nodes; 0 leaves the cluster without any.
    pub count: u32,
    pub vm_size: String,
}

impl Default for SystemPool {
    fn default() -> Self {
        // A family that no example provisions from, so that its cores do not blur their quota.
        Self {
            name: "systempool".to_owned(),
            count: 1,
            vm_size: "Standard_D4s_v3".to_owned(),
        }
    }
}

/// The cluster's own virtual network, in its node resource group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterNetwork {
    /// Address range of the network.
    pub address_prefix: String,
    /// Address range of `aks-subnet`; it bounds how many network interfaces fit.
    pub subnet_prefix: String,
}

impl Default for ClusterNetwork {
    fn default() -> Self {
        // What AKS creates when no network is given.
        Self {
            address_prefix: "10.224.0.0/12".to_owned(),
            subnet_prefix: "10.224.0.0/16".to_owned(),
        }
    }
}

/// A service principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Application {
    pub client_id: String,
    pub object_id: String,
    /// The only secret accepted; absent: any secret or assertion is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
}

impl Application {
    /// The people's principal (`…c1`) and the controller's (`…c2`).
    pub fn defaults() -> Vec<Self> {
        [("c1", "d1"), ("c2", "d2")]
            .into_iter()
            .map(|(client, object)| Self {
                client_id: format!("00000000-0000-0000-0000-0000000000{client}"),
                object_id: format!("00000000-0000-0000-0000-0000000000{object}"),
                client_secret: None,
            })
            .collect()
    }
}

/// A configuration that cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ConfigError {
    /// Path of the field, for example `capacity[0].size`.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

impl ConfigError {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}
