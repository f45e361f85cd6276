//! The stored resources.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    config::{ClusterConfig, NapMode},
    error::ArmError,
    path::ResourceId,
    physics::Placement,
};

/// A resource group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: ResourceId,
    pub(crate) location: String,
    pub(crate) tags: Map<String, Value>,
    pub(crate) managed_by: Option<String>,
    /// The running delete operation.
    pub(crate) deleting: Option<String>,
}

/// `properties.provisioningState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provisioning {
    Creating,
    Updating,
    Succeeded,
    Failed,
    Deleting,
}

impl Provisioning {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Updating => "Updating",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Deleting => "Deleting",
        }
    }
}

/// The power state of a machine that has been allocated at least once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    Starting,
    Running,
    Stopping,
    Stopped,
    Deallocating,
    Deallocated,
}

impl Power {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Deallocating => "deallocating",
            Self::Deallocated => "deallocated",
        }
    }
}

/// What happens to a spot machine that is evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvictionPolicy {
    Deallocate,
    Delete,
}

/// What a VM PUT asked for, checked and typed.
#[derive(Clone, Debug)]
pub(crate) struct VmSpec {
    pub(crate) placement: Placement,
    /// Quota family and cores of the size.
    pub(crate) family: &'static str,
    pub(crate) cores: u32,
    pub(crate) eviction_policy: EvictionPolicy,
    /// Keys of the network interfaces, and whether each goes with the machine.
    pub(crate) nics: Vec<(String, bool)>,
    pub(crate) os_disk: OsDisk,
    pub(crate) computer_name: String,
    pub(crate) custom_data: String,
    /// The body as it is shown: without secrets and nulls.
    pub(crate) document: Value,
}

/// The operating-system disk of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OsDisk {
    pub(crate) name: String,
    pub(crate) gib: u64,
    /// On the host: no disk resource exists.
    pub(crate) ephemeral: bool,
    pub(crate) goes_with_vm: bool,
    pub(crate) account: String,
}

/// A virtual machine.
#[derive(Clone, Debug)]
pub(crate) struct Vm {
    pub(crate) id: ResourceId,
    /// `properties.vmId`.
    pub(crate) guid: String,
    pub(crate) spec: VmSpec,
    pub(crate) created: Timestamp,
    pub(crate) provisioning: Provisioning,
    /// Since when it has been in that state.
    pub(crate) settled: Timestamp,
    pub(crate) failure: Option<ArmError>,
    /// The failure is the guest's, and this is its report: the machine holds its place and runs.
    pub(crate) guest_report: Option<String>,
    pub(crate) power: Option<Power>,
    /// Since when the operating system has been running: set by `VmStarted`, cleared by `VmStopped`.
    pub(crate) running_since: Option<Timestamp>,
    /// The place it holds.
    pub(crate) allocation: Option<Placement>,
    pub(crate) holds_quota: bool,
    /// The operation that runs on it.
    pub(crate) operation: Option<String>,
    /// Where a running power operation leads.
    pub(crate) power_goal: Option<Power>,
    /// When an announced eviction strikes.
    pub(crate) evicted_at: Option<Timestamp>,
    pub(crate) evicted: bool,
    /// Extension bodies by lower-case name.
    pub(crate) extensions: std::collections::BTreeMap<String, Value>,
    /// Rises with every change of course; older timers are void.
    pub(crate) epoch: u64,
    /// Rises with every write.
    pub(crate) etag: u64,
}

impl Vm {
    /// Enters a state of provisioning.
    pub(crate) fn settle(&mut self, state: Provisioning, now: Timestamp) {
        self.provisioning = state;
        self.settled = now;
        self.etag += 1;
    }

    pub(crate) fn location(&self) -> &str {
        self.spec
            .document
            .get("location")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// A network interface.
#[derive(Clone, Debug)]
pub(crate) struct Nic {
    pub(crate) id: ResourceId,
    pub(crate) created: Timestamp,
    /// Location, tags and properties, with ids and addresses filled in.
    pub(crate) document: Value,
    /// The body as it was sent, for recognizing the same PUT.
    pub(crate) asked: Value,
    /// Key of the machine that uses it.
    pub(crate) attached_to: Option<String>,
    /// Id of the machine it is reserved for, and until when.
    pub(crate) reserved: Option<(ResourceId, Timestamp)>,
    pub(crate) deleting: Option<String>,
    /// Subnet key and address offset of every IP configuration.
    pub(crate) addresses: Vec<(String, u32)>,
    pub(crate) epoch: u64,
    pub(crate) etag: u64,
}

/// A managed disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) id: ResourceId,
    pub(crate) created: Timestamp,
    pub(crate) location: String,
    pub(crate) zone: Option<String>,
    pub(crate) gib: u64,
    pub(crate) account: String,
    pub(crate) image: Value,
    pub(crate) tags: Map<String, Value>,
    /// Id of the machine it is attached to.
    pub(crate) owner: Option<ResourceId>,
    pub(crate) deleting: Option<String>,
    pub(crate) epoch: u64,
}

/// A resource without behaviour: networks, security groups, load balancers, identities.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) id: ResourceId,
    /// `Microsoft.Network/virtualNetworks`.
    pub(crate) kind: &'static str,
    pub(crate) body: Value,
}

/// A managed cluster.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) id: ResourceId,
    pub(crate) config: ClusterConfig,
    pub(crate) mode: NapMode,
    /// The whole document as `GET` shows it.
    pub(crate) document: Value,
    pub(crate) provisioning: Provisioning,
    pub(crate) operation: Option<String>,
}
