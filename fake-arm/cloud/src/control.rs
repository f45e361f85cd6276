//! What scenarios and `/_control` may change and see, beside ARM's own requests.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    catalog::MicroUsd,
    cloud::Cloud,
    config::{CapacityOverride, CapacityType, ConfigError},
    lifecycle::{string_map, zone_label},
    model::{Disk, Nic, Power, Provisioning, Vm},
    path::key_of,
    physics::zone_number,
};

/// A limit that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaKind {
    /// By family name as in the SKU, in any case.
    Family(String),
    Regional,
    LowPriority,
}

/// Why a control request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    #[error("no virtual machine '{0}': give its name, ARM id or provider id")]
    UnknownVm(String),
    #[error("virtual machine '{0}' is not a spot machine: only those are evicted")]
    NotSpot(String),
    #[error("virtual machine '{0}' holds no place that could be taken from it")]
    NotAllocated(String),
}

/// Where a machine is in its life, as a bill or a timeline would say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum VmState {
    Creating,
    Running,
    Stopped,
    Failed,
    Deleting,
    Gone,
}

/// A machine, for inspection.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VmView {
    pub arm_id: String,
    pub provider_id: String,
    pub name: String,
    pub size: String,
    /// `westeurope-1`, or `0`.
    pub zone: String,
    pub capacity_type: CapacityType,
    pub cores: u32,
    pub memory_bytes: u64,
    pub state: VmState,
    /// Code of the error that ended its creation.
    pub failure: Option<String>,
    pub created: Timestamp,
    pub running_since: Option<Timestamp>,
    /// When an announced eviction strikes.
    pub evicted_at: Option<Timestamp>,
    pub deleted: Option<Timestamp>,
    /// What it costs while it holds its place, in millionths of a dollar; 0 while it holds none.
    pub price_per_hour: MicroUsd,
    pub tags: BTreeMap<String, String>,
}

/// A network interface, for inspection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NicView {
    pub arm_id: String,
    pub name: String,
    pub attached_to: Option<String>,
    pub reserved_until: Option<Timestamp>,
    pub created: Timestamp,
    pub deleted: Option<Timestamp>,
    pub tags: BTreeMap<String, String>,
}

/// A managed disk, for inspection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskView {
    pub arm_id: String,
    pub name: String,
    pub attached_to: Option<String>,
    pub size_gib: u64,
    pub created: Timestamp,
    pub deleted: Option<Timestamp>,
}

/// One counter of the usages list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotaView {
    /// A family name, `cores` or `lowPriorityCores`.
    pub name: String,
    pub usage: u32,
    pub limit: u32,
}

// Changes.
impl Cloud {
    /// Limits a pool; `available: 0` sells it out. Holds for machines placed from now on.
    pub fn set_capacity(&mut self, pool: &CapacityOverride) -> Result<(), ControlError> {
        self.check_pool("capacity", pool)?;
        self.revision += 1;
        self.capacity.set(pool);
        Ok(())
    }

    /// Makes a pool endless again.
    pub fn clear_capacity(
        &mut self,
        size: &str,
        zone: Option<&str>,
        capacity_type: Option<CapacityType>,
    ) {
        self.revision += 1;
        self.capacity.clear(size, zone, capacity_type);
    }

    /// Sets a limit on cores. Machines that exist stay, even beyond the limit.
    pub fn set_quota(&mut self, kind: &QuotaKind, limit: u32) -> Result<(), ControlError> {
        self.revision += 1;
        match kind {
            QuotaKind::Regional => self.quota.limits.regional = limit,
            QuotaKind::LowPriority => self.quota.limits.low_priority = limit,
            QuotaKind::Family(family) => {
                self.check_family("family", family)?;
                self.quota
                    .limits
                    .family
                    .insert(family.to_lowercase(), limit);
            }
        }
        Ok(())
    }

    /// Announces the eviction of one spot machine at `now`: it strikes after the notice.
    pub fn evict(&mut self, now: Timestamp, vm: &str) -> Result<(), ControlError> {
        self.run_until(now);
        let key = self
            .find_vm(vm)
            .ok_or_else(|| ControlError::UnknownVm(vm.to_owned()))?;
        let vm = self
            .vms
            .get(&key)
            .ok_or_else(|| ControlError::UnknownVm(vm.to_owned()))?;
        if !is_spot(vm) {
            return Err(ControlError::NotSpot(vm.id.name().to_owned()));
        }
        if vm.allocation.is_none() {
            return Err(ControlError::NotAllocated(vm.id.name().to_owned()));
        }
        self.revision += 1;
        self.announce_eviction(&key);
        Ok(())
    }

    /// The guest reports that its provisioning script failed: `exit_status` is the script's,
    /// `output` the end of its log.
    ///
    /// Azure learns this from the machine's extension; the machine runs on, and its creation, if it
    /// has not ended, fails with `VMExtensionProvisioningError`.
    pub fn guest_failed(
        &mut self,
        now: Timestamp,
        vm: &str,
        exit_status: u8,
        output: &str,
    ) -> Result<(), ControlError> {
        self.run_until(now);
        let key = self
            .find_vm(vm)
            .ok_or_else(|| ControlError::UnknownVm(vm.to_owned()))?;
        self.revision += 1;
        self.fail_guest(&key, exit_status, output);
        Ok(())
    }

    /// The key of a machine given by name, ARM id or provider id.
    fn find_vm(&self, vm: &str) -> Option<String> {
        let key = key_of(vm.strip_prefix("azure://").unwrap_or(vm));
        if self.vms.contains_key(&key) {
            return Some(key);
        }
        self.vms
            .iter()
            .find(|(_, it)| it.id.name().eq_ignore_ascii_case(vm))
            .map(|(key, _)| key.clone())
    }

    /// Whether a pool names things that exist.
    pub(crate) fn check_pool(
        &self,
        field: &str,
        pool: &CapacityOverride,
    ) -> Result<(), ConfigError> {
        if pool.size != "*" && self.catalog.size(&pool.size).is_none() {
            return Err(ConfigError::new(
                format!("{field}.size"),
                format!(
                    "region {} does not sell the size '{}'",
                    self.config.region, pool.size
                ),
            ));
        }
        let unknown = pool.zone.as_deref().filter(|zone| {
            !self
                .catalog
                .zones
                .iter()
                .any(|known| known == zone_number(zone))
        });
        match unknown {
            None => Ok(()),
            Some(zone) => Err(ConfigError::new(
                format!("{field}.zone"),
                format!(
                    "region {} has no zone '{zone}'; its zones: {}",
                    self.config.region,
                    self.catalog.zones.join(", ")
                ),
            )),
        }
    }

    /// Whether a quota family exists.
    pub(crate) fn check_family(&self, field: &str, family: &str) -> Result<(), ConfigError> {
        if self
            .catalog
            .sizes()
            .iter()
            .any(|size| size.family.eq_ignore_ascii_case(family))
        {
            return Ok(());
        }
        Err(ConfigError::new(
            field,
            format!(
                "region {} has no quota family '{family}': use a family as the SKU list spells it, \
                 for example standardDSv5Family",
                self.config.region
            ),
        ))
    }
}

// Inspection.
impl Cloud {
    /// Every machine, then those that are gone, oldest first.
    pub fn vms(&self) -> Vec<VmView> {
        let present = self.vms.values().map(|vm| self.vm_view(vm, None));
        present.chain(self.gone_vms.iter().cloned()).collect()
    }

    /// Every network interface, then those that are gone.
    pub fn nics(&self) -> Vec<NicView> {
        let present = self.nics.values().map(|nic| self.nic_view(nic, None));
        present.chain(self.gone_nics.iter().cloned()).collect()
    }

    /// Every disk, then those that are gone.
    pub fn disks(&self) -> Vec<DiskView> {
        let present = self.disks.values().map(|disk| disk_view(disk, None));
        present.chain(self.gone_disks.iter().cloned()).collect()
    }

    /// Limited pools with what is left of each.
    pub fn capacity(&self) -> Vec<CapacityOverride> {
        self.capacity.view()
    }

    /// The regional counters, then every family that is used or has a limit of its own.
    pub fn quotas(&self) -> Vec<QuotaView> {
        let quota = &self.quota;
        let mut views = vec![
            QuotaView {
                name: "cores".to_owned(),
                usage: quota.regional_usage(),
                limit: quota.limits.regional,
            },
            QuotaView {
                name: "lowPriorityCores".to_owned(),
                usage: quota.low_priority_usage(),
                limit: quota.limits.low_priority,
            },
        ];
        let named = |family: &str| {
            quota.family_usage(family) > 0
                || quota.limits.family.contains_key(&family.to_lowercase())
        };
        views.extend(
            self.catalog
                .families()
                .iter()
                .filter(|family| named(family))
                .map(|&family| QuotaView {
                    name: family.to_owned(),
                    usage: quota.family_usage(family),
                    limit: quota.family_limit(family),
                }),
        );
        views
    }

    pub(crate) fn vm_view(&self, vm: &Vm, deleted: Option<Timestamp>) -> VmView {
        let placement = &vm.spec.placement;
        let size = self.catalog.size(&placement.size);
        let price = size
            .and_then(|size| size.price(placement.capacity_type))
            .unwrap_or_default();
        VmView {
            arm_id: vm.id.as_str().to_owned(),
            provider_id: vm.id.provider_id(),
            name: vm.id.name().to_owned(),
            size: placement.size.clone(),
            zone: zone_label(&self.config.region, placement.zone.as_deref()),
            capacity_type: placement.capacity_type,
            cores: vm.spec.cores,
            memory_bytes: size.map_or(0, |size| size.memory_mib << 20),
            state: if deleted.is_some() {
                VmState::Gone
            } else {
                state_of(vm)
            },
            failure: vm.failure.as_ref().map(|error| error.code.clone()),
            created: vm.created,
            running_since: vm.running_since,
            evicted_at: vm.evicted_at,
            deleted,
            price_per_hour: if vm.allocation.is_some() {
                price
            } else {
                MicroUsd(0)
            },
            tags: string_map(vm.spec.document.get("tags")),
        }
    }

    pub(crate) fn nic_view(&self, nic: &Nic, deleted: Option<Timestamp>) -> NicView {
        let reserved = nic.reserved.as_ref().map(|(_, until)| *until);
        let owner = nic.attached_to.as_ref().and_then(|key| self.vms.get(key));
        NicView {
            arm_id: nic.id.as_str().to_owned(),
            name: nic.id.name().to_owned(),
            attached_to: owner.map(|vm| vm.id.as_str().to_owned()),
            reserved_until: reserved.filter(|until| *until > self.now),
            created: nic.created,
            deleted,
            tags: string_map(nic.document.get("tags")),
        }
    }
}

pub(crate) fn disk_view(disk: &Disk, deleted: Option<Timestamp>) -> DiskView {
    DiskView {
        arm_id: disk.id.as_str().to_owned(),
        name: disk.id.name().to_owned(),
        attached_to: disk.owner.as_ref().map(|id| id.as_str().to_owned()),
        size_gib: disk.gib,
        created: disk.created,
        deleted,
    }
}

pub(crate) fn is_spot(vm: &Vm) -> bool {
    vm.spec.placement.capacity_type == CapacityType::Spot
}

fn state_of(vm: &Vm) -> VmState {
    match (vm.provisioning, vm.power) {
        (Provisioning::Deleting, _) => VmState::Deleting,
        (Provisioning::Failed, _) => VmState::Failed,
        (_, Some(Power::Running)) => VmState::Running,
        (_, Some(Power::Stopped | Power::Stopping | Power::Deallocated | Power::Deallocating)) => {
            VmState::Stopped
        }
        _ => VmState::Creating,
    }
}
