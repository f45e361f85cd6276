//! Settings: from flags, environment and defaults to a validated [`Config`].
//!
//! Names and defaults are Karpenter's (`sigs.k8s.io/karpenter` `pkg/operator/options`) and those
//! of its Azure provider (`Azure/karpenter-provider-azure` `pkg/operator/options`). A setting is
//! read from its flag, else from the environment variable of the same name in upper snake case,
//! else it has its default.

mod check;
mod flags;
mod parse;
mod show;
#[cfg(test)]
mod tests;

use std::time::Duration;

use controller_azure::{Cluster, Credential, Endpoints, Machines, Network, Options};

pub use controller_core::scheduling::{MinValuesPolicy, PreferencePolicy};
pub use flags::{Command, Flags, LoadError, Loaded, load};
pub use parse::ConfigError;
pub use show::show;

/// Optional behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a set of independent switches, by name"
)]
pub struct FeatureGates {
    /// Unhealthy nodes are replaced.
    pub node_repair: bool,
    /// Capacity reservations are used.
    pub reserved_capacity: bool,
    /// A spot node may be consolidated into a cheaper spot node.
    pub spot_to_spot_consolidation: bool,
    /// `NodeOverlay` objects change prices and capacity.
    pub node_overlay: bool,
    /// NodePools with `replicas`.
    pub static_capacity: bool,
    /// `CapacityBuffer` objects keep room free.
    pub capacity_buffer: bool,
}

impl Default for FeatureGates {
    fn default() -> Self {
        Self {
            node_repair: false,
            reserved_capacity: true,
            spot_to_spot_consolidation: false,
            node_overlay: false,
            static_capacity: false,
            capacity_buffer: false,
        }
    }
}

/// Leader election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderElection {
    /// Off only when there is but one replica for certain.
    pub enabled: bool,
    /// Name of the Lease.
    pub name: String,
    /// Namespace of the Lease.
    pub namespace: String,
    /// How this replica signs; unique among replicas.
    pub identity: String,
}

/// How long provisioning collects pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// A pause this long ends the batch.
    pub idle: Duration,
    /// The batch ends after this long in any case.
    pub max: Duration,
}

/// Every setting of the controller, validated by [`Config::check`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The Azure provider's part.
    pub azure: Options,
    /// Leader election.
    pub leader_election: LeaderElection,
    /// Batching of pods.
    pub batch: Batch,
    /// Preferences of pods.
    pub preference_policy: PreferencePolicy,
    /// `minValues`.
    pub min_values_policy: MinValuesPolicy,
    /// Optional behaviour.
    pub feature_gates: FeatureGates,
    /// Namespace the controller runs in.
    pub system_namespace: String,
    /// URL of the API server as the controller reaches it; `None`: from kubeconfig or cluster.
    pub kube_endpoint: Option<String>,
    /// Most of what is to be logged: `debug`, `info` or `error`.
    pub log_level: String,
    /// Port of `/metrics`.
    pub metrics_port: u16,
    /// Port of `/healthz` and `/readyz`.
    pub health_probe_port: u16,
    /// How much faster than real time the clock runs; other than 1 only against loopback
    /// endpoints.
    pub clock_scale: f64,
    /// Real time at which the faster clock was right, so that several processes, and one that is
    /// started again, agree on the time; `None`: when the process starts.
    pub clock_epoch: Option<jiff::Timestamp>,
}

/// What [`Config::for_cluster`] cannot know.
#[derive(Clone, Debug, PartialEq)]
pub struct ForCluster {
    /// The cluster to join.
    pub cluster: Cluster,
    /// Where Azure is.
    pub endpoints: Endpoints,
    /// How to sign in there.
    pub credential: Credential,
    /// Subscription.
    pub subscription_id: String,
    /// Directory.
    pub tenant_id: String,
    /// Region.
    pub region: String,
    /// Resource group of the managed cluster.
    pub cluster_resource_group: String,
    /// Resource group of the nodes.
    pub node_resource_group: String,
    /// Subnet of the nodes, as an ARM id.
    pub vnet_subnet_id: String,
    /// How this replica signs its lease, for example `controller-0`.
    pub identity: String,
}

impl Config {
    /// The configuration that a cluster with default settings has: Azure CNI overlay with
    /// Cilium, leader election in `kube-system`, Karpenter's defaults for all else.
    pub fn for_cluster(given: ForCluster) -> Self {
        let kube_endpoint = Some(given.cluster.endpoint.clone());
        Self {
            azure: Options {
                endpoints: given.endpoints,
                credential: given.credential,
                subscription_id: given.subscription_id,
                tenant_id: given.tenant_id,
                region: given.region,
                cluster_resource_group: given.cluster_resource_group,
                node_resource_group: given.node_resource_group,
                cluster: given.cluster,
                network: Network::overlay(given.vnet_subnet_id),
                // A key is required by Azure; nobody holds the private half of this one.
                machines: Machines::with_key(
                    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA nap",
                ),
            },
            leader_election: LeaderElection {
                enabled: true,
                name: "karpenter-leader-election".to_owned(),
                namespace: "kube-system".to_owned(),
                identity: given.identity,
            },
            batch: Batch {
                idle: Duration::from_secs(1),
                max: Duration::from_secs(10),
            },
            preference_policy: PreferencePolicy::Respect,
            min_values_policy: MinValuesPolicy::Strict,
            feature_gates: FeatureGates::default(),
            system_namespace: "kube-system".to_owned(),
            kube_endpoint,
            log_level: "info".to_owned(),
            metrics_port: 8080,
            health_probe_port: 8081,
            clock_scale: 1.0,
            clock_epoch: None,
        }
    }

    /// Checks that the settings hold together.
    ///
    /// # Errors
    ///
    /// Every problem found, each with the setting's name and what would be right.
    pub fn check(&self) -> Result<(), ConfigError> {
        check::check(self)
    }
}
