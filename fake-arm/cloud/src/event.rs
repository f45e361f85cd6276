//! What the cloud tells the world outside, and what it needs to know of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::config::NapMode;

/// Something happened to a machine or a cluster. Emitted by [`crate::Cloud::advance`], in order.
#[derive(Clone, Debug, PartialEq)]
pub enum CloudEvent {
    /// The machine's operating system runs and works on its custom data.
    VmStarted(Box<StartedVm>),
    /// The machine no longer runs: deleted, evicted, stopped or deallocated.
    VmStopped {
        provider_id: String,
        reason: StopReason,
    },
    /// IMDS Scheduled Events now lists `Preempt` for the machine.
    ScheduledEvent {
        provider_id: String,
        event_id: String,
        not_before: Timestamp,
    },
    /// `nodeProvisioningProfile.mode` of a managed cluster has a new value.
    NapModeChanged { cluster: String, mode: NapMode },
}

/// A machine that has just started.
#[derive(Clone, Debug, PartialEq)]
pub struct StartedVm {
    /// `/subscriptions/…/virtualMachines/NAME`.
    pub arm_id: String,
    /// `azure:///subscriptions/…`, the resource group in lower case.
    pub provider_id: String,
    /// `osProfile.computerName`.
    pub host_name: String,
    /// Base64, as the VM PUT carried it; empty when it carried none.
    pub custom_data: String,
    pub vm_size: String,
    pub region: String,
    /// `westeurope-1`, or `0` for a regional machine.
    pub zone: String,
    pub cores: u32,
    pub memory_bytes: u64,
    pub os_disk_bytes: u64,
    /// NVIDIA devices.
    pub gpu_count: u32,
    pub tags: BTreeMap<String, String>,
    /// Set for machines of an agent pool, which carry no custom data of ours.
    pub agent_pool: Option<AgentPool>,
}

/// What the platform itself says about an agent-pool machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPool {
    /// The managed cluster.
    pub cluster: String,
    /// The pool.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub max_pods: u32,
    pub kubernetes_version: String,
}

/// A node taint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: String,
}

/// Why a machine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    Deleted,
    Evicted,
    PoweredOff,
    Deallocated,
    Restarted,
}

/// Facts of a managed cluster that Azure's rules depend on. The driver installs an implementation.
pub trait ClusterFacts: Send {
    /// Names of the Nodes that node auto-provisioning made.
    fn provisioned_nodes(&self, cluster: &str) -> Vec<String>;

    /// Names of the NodePools whose `spec.limits.cpu` is not 0.
    fn open_node_pools(&self, cluster: &str) -> Vec<String>;

    /// A kubeconfig for the cluster's API server, when it has one.
    fn kubeconfig(&self, cluster: &str) -> Option<String>;
}

/// A cluster nobody has told us anything about.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoClusterFacts;

impl ClusterFacts for NoClusterFacts {
    fn provisioned_nodes(&self, _cluster: &str) -> Vec<String> {
        Vec::new()
    }

    fn open_node_pools(&self, _cluster: &str) -> Vec<String> {
        Vec::new()
    }

    fn kubeconfig(&self, _cluster: &str) -> Option<String> {
        None
    }
}
