//! What the provider must be told: the cluster, the cloud's endpoints, the credential.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where Azure is (`ARM_CLOUD`, or the file that `AZURE_ENVIRONMENT_FILEPATH` names).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Base URL of Azure Resource Manager, without a trailing slash.
    pub resource_manager: String,
    /// Base URL of Entra ID, without a trailing slash.
    pub active_directory: String,
    /// Audience of access tokens for Azure Resource Manager, as the cloud spells it.
    pub token_audience: String,
    /// Base URL of the Retail Prices API, without `/api/retail/prices`; `None` leaves the
    /// built-in prices in force.
    pub prices: Option<String>,
}

impl Endpoints {
    /// The public cloud.
    pub fn public() -> Self {
        Self {
            resource_manager: "https://management.azure.com".to_owned(),
            active_directory: "https://login.microsoftonline.com".to_owned(),
            token_audience: "https://management.azure.com/".to_owned(),
            prices: Some("https://prices.azure.com".to_owned()),
        }
    }

    /// A cloud by the name `ARM_CLOUD` gives it, compared without case.
    pub fn named(cloud: &str) -> Option<Self> {
        let sovereign = |resource_manager: &str, active_directory: &str| Self {
            resource_manager: resource_manager.to_owned(),
            active_directory: active_directory.to_owned(),
            token_audience: format!("{resource_manager}/"),
            // The Retail Prices API lists the public cloud only.
            prices: None,
        };
        match cloud.to_ascii_lowercase().as_str() {
            "azurepubliccloud" | "azurecloud" | "public" => Some(Self::public()),
            "azurechinacloud" => Some(sovereign(
                "https://management.chinacloudapi.cn",
                "https://login.chinacloudapi.cn",
            )),
            "azureusgovernmentcloud" | "azureusgovernment" => Some(sovereign(
                "https://management.usgovcloudapi.net",
                "https://login.microsoftonline.us",
            )),
            _ => None,
        }
    }

    /// One server that plays every part, as an emulator does.
    pub fn single(base: &str) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self {
            resource_manager: base.clone(),
            active_directory: base.clone(),
            token_audience: "https://management.core.windows.net/".to_owned(),
            prices: Some(base),
        }
    }
}

/// How access tokens are obtained.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A service principal with a secret.
    ClientSecret {
        /// Directory.
        tenant_id: String,
        /// Application.
        client_id: String,
        /// The secret.
        client_secret: String,
    },
    /// Workload identity: the projected token of a service account is exchanged.
    WorkloadIdentity {
        /// Directory.
        tenant_id: String,
        /// Application or managed identity.
        client_id: String,
        /// File with the projected token; read anew for every exchange, because it rotates.
        token_file: PathBuf,
    },
    /// Managed identity by way of the instance metadata service.
    ManagedIdentity {
        /// A user-assigned identity; `None` is the machine's own.
        client_id: Option<String>,
        /// Base URL of the metadata service.
        endpoint: String,
    },
    /// Managed identity in the form App Service has (`IDENTITY_ENDPOINT`, `IDENTITY_HEADER`).
    IdentityEndpoint {
        /// A user-assigned identity; `None` is the only one there is.
        client_id: Option<String>,
        /// The whole URL, without a query.
        endpoint: String,
        /// Value of the header `X-IDENTITY-HEADER`.
        header: String,
    },
}

impl Credential {
    /// Base URL of the instance metadata service of every virtual machine.
    pub const IMDS: &'static str = "http://169.254.169.254";
}

impl fmt::Debug for Credential {
    /// Never shows secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, client_id) = match self {
            Self::ClientSecret { client_id, .. } => ("ClientSecret", Some(client_id)),
            Self::WorkloadIdentity { client_id, .. } => ("WorkloadIdentity", Some(client_id)),
            Self::ManagedIdentity { client_id, .. } => ("ManagedIdentity", client_id.as_ref()),
            Self::IdentityEndpoint { client_id, .. } => ("IdentityEndpoint", client_id.as_ref()),
        };
        f.debug_struct(name)
            .field("client_id", &client_id)
            .finish_non_exhaustive()
    }
}

/// How pods and nodes get their addresses; the values of the AKS cluster's network profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// `azure` or `none`.
    pub plugin: String,
    /// `overlay` or empty.
    pub plugin_mode: String,
    /// `cilium`, `azure` or empty.
    pub dataplane: String,
    /// `cilium`, `calico`, `azure` or empty.
    pub policy: String,
    /// Cluster IP of the DNS service.
    pub dns_service_ip: String,
    /// Subnet of the nodes when their NodeClass names none, as an ARM id.
    pub vnet_subnet_id: String,
    /// `resourceGuid` of the virtual network; empty when unknown.
    pub vnet_guid: String,
}

impl Network {
    /// Azure CNI overlay with the Cilium data plane, the default of node auto-provisioning.
    pub fn overlay(vnet_subnet_id: impl Into<String>) -> Self {
        Self {
            plugin: "azure".to_owned(),
            plugin_mode: "overlay".to_owned(),
            dataplane: "cilium".to_owned(),
            policy: String::new(),
            dns_service_ip: "10.0.0.10".to_owned(),
            vnet_subnet_id: vnet_subnet_id.into(),
            vnet_guid: String::new(),
        }
    }

    pub(crate) fn is_overlay(&self) -> bool {
        self.plugin == "azure" && self.plugin_mode == "overlay"
    }
}

/// What a machine needs to know of its cluster to join it.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Name of the managed cluster; a tag on everything we create.
    pub name: String,
    /// URL of the API server.
    pub endpoint: String,
    /// Certificate authority of the API server, PEM.
    pub ca_pem: String,
    /// Bootstrap token, `id.secret`.
    pub bootstrap_token: String,
}

impl fmt::Debug for Cluster {
    /// Never shows the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// What machines have in common, whatever their NodeClass says.
#[derive(Clone, Debug, PartialEq)]
pub struct Machines {
    /// Public key for the administrator.
    pub ssh_public_key: String,
    /// Name of the administrator.
    pub admin_username: String,
    /// Client id of the kubelet's identity; empty when there is none.
    pub kubelet_identity_client_id: String,
    /// User-assigned identities of the machines, as ARM ids.
    pub node_identities: Vec<String>,
    /// Share of a machine's memory that its hypervisor and firmware keep.
    pub memory_overhead: f64,
    /// Tags for every resource; a NodeClass's tags come after them.
    pub additional_tags: BTreeMap<String, String>,
    /// Disk encryption set of OS disks, as an ARM id.
    pub disk_encryption_set_id: Option<String>,
}

impl Machines {
    /// Upstream's defaults around a key.
    pub fn with_key(ssh_public_key: impl Into<String>) -> Self {
        Self {
            ssh_public_key: ssh_public_key.into(),
            admin_username: "azureuser".to_owned(),
            kubelet_identity_client_id: String::new(),
            node_identities: Vec::new(),
            memory_overhead: 0.075,
            additional_tags: BTreeMap::new(),
            disk_encryption_set_id: None,
        }
    }
}

/// Everything the provider must be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Where Azure is.
    pub endpoints: Endpoints,
    /// How to sign in.
    pub credential: Credential,
    /// Subscription.
    pub subscription_id: String,
    /// Directory; part of bootstrap data.
    pub tenant_id: String,
    /// Region, for example `westeurope`.
    pub region: String,
    /// Resource group of the managed cluster.
    pub cluster_resource_group: String,
    /// Resource group of the nodes (`MC_…`).
    pub node_resource_group: String,
    /// The cluster to join.
    pub cluster: Cluster,
    /// Addresses.
    pub network: Network,
    /// Settings of all machines.
    pub machines: Machines,
}
