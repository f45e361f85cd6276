//! What is true right now: the API server's store and the cloud, never the controller's memory.

mod cel;
mod evaluate;
mod expectations;
mod mirror;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeSet;
use std::time::Duration;

use fake_arm_cloud::{DiskView, NicView, VmState, VmView};
use jiff::Timestamp;

pub(crate) use evaluate::is_true;
pub use evaluate::{evaluate, holds};
pub use expectations::{Expectations, Verdict};
pub use mirror::{Mirror, Seen, resources};

/// Tag and label that name the NodePool of a machine.
pub(crate) const POOL_TAG: &str = "karpenter.sh_nodepool";
/// Label that names the NodePool of a node.
pub(crate) const POOL_LABEL: &str = "karpenter.sh/nodepool";
/// Label that names the capacity type of a node.
pub(crate) const CAPACITY_LABEL: &str = "karpenter.sh/capacity-type";

/// The machines, interfaces and disks of the cloud.
#[derive(Clone, Debug, Default)]
pub struct CloudView {
    /// Every machine that exists or existed.
    pub vms: Vec<VmView>,
    /// Every network interface that exists or existed.
    pub nics: Vec<NicView>,
    /// Every disk that exists or existed.
    pub disks: Vec<DiskView>,
}

impl CloudView {
    /// Machines of NodePools that exist.
    pub fn pool_vms(&self) -> impl Iterator<Item = &VmView> {
        self.vms.iter().filter(|vm| is_of_pool(vm) && exists(vm))
    }

    /// Interfaces of such machines that exist.
    pub fn pool_nics(&self) -> impl Iterator<Item = &NicView> {
        self.nics
            .iter()
            .filter(|nic| nic.deleted.is_none() && nic.tags.contains_key(POOL_TAG))
    }

    /// Disks of such machines that exist. Disks carry no tags of their own at Azure unless the
    /// machine's request says so; the name begins with the machine's.
    pub fn pool_disks(&self) -> impl Iterator<Item = &DiskView> {
        let ours: BTreeSet<&str> = self
            .vms
            .iter()
            .filter(|vm| is_of_pool(vm))
            .map(|vm| vm.name.as_str())
            .collect();
        self.disks.iter().filter(move |disk| {
            // The machine's name sorts right before the names that begin with it.
            let name = disk.name.as_str();
            let before = ours.range(..=name).next_back();
            disk.deleted.is_none() && before.is_some_and(|vm| name.starts_with(vm))
        })
    }
}

/// Whether a machine was made for a NodePool.
pub(crate) fn is_of_pool(vm: &VmView) -> bool {
    vm.tags.contains_key(POOL_TAG)
}

/// Whether a machine exists.
pub(crate) fn exists(vm: &VmView) -> bool {
    vm.state != VmState::Gone
}

/// Everything expectations and invariants may look at.
#[derive(Debug)]
pub struct Observation<'a> {
    /// Wall time.
    pub now: Timestamp,
    /// Kubernetes objects.
    pub objects: &'a Mirror,
    /// Azure resources.
    pub cloud: &'a CloudView,
    /// Time since the start.
    pub elapsed: Duration,
    /// Requests that the controller has sent.
    pub requests: u64,
}
