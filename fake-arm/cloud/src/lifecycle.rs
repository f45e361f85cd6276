//! What happens to resources as time passes.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::Value;

use crate::{
    cloud::{Cloud, remember},
    control::disk_view,
    error::ArmError,
    event::{CloudEvent, StartedVm, StopReason},
    model::{Power, Provisioning, Vm},
    operations::{Owner, Progress},
    path::ResourceId,
    physics::Step,
    timers::Timer,
};

/// How long Network keeps an interface for the machine that had it (`NicReservedForAnotherVm`).
pub(crate) const NIC_RESERVATION: SignedDuration = SignedDuration::from_secs(180);

/// What becomes of an interface whose machine is gone.
#[derive(Clone, Copy, Debug)]
enum NicFate {
    Goes,
    /// The platform holds on to interfaces of machines that failed or were evicted.
    GoesAfterReservation,
    Stays,
}

impl Cloud {
    /// Carries out one timer.
    pub(crate) fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::VmAllocated { vm, epoch } if self.is_current(&vm, epoch) => {
                self.vm_allocated(&vm);
            }
            Timer::VmRunning { vm, epoch } if self.is_current(&vm, epoch) => self.vm_running(&vm),
            Timer::VmProvisioned { vm, epoch } if self.is_current(&vm, epoch) => {
                self.vm_provisioned(&vm);
            }
            Timer::VmDeleted { vm, epoch } if self.is_current(&vm, epoch) => self.vm_deleted(&vm),
            Timer::VmPower { vm, epoch } if self.is_current(&vm, epoch) => self.vm_power_done(&vm),
            Timer::EvictionAnnounced { vm, epoch } if self.is_same_life(&vm, epoch) => {
                self.announce_eviction(&vm);
            }
            Timer::Evicted { vm, epoch } if self.is_same_life(&vm, epoch) => self.vm_evicted(&vm),
            Timer::NicDeleted { nic, epoch } => self.nic_deleted(&nic, epoch),
            Timer::DiskDeleted { disk, epoch } => self.disk_deleted(&disk, epoch),
            Timer::GroupDeleted { group } => self.group_deleted(&group),
            Timer::OperationDone { operation } => {
                self.end_operation(Some(operation), Progress::Succeeded);
            }
            // A timer of a machine that has changed course since.
            _ => {}
        }
    }

    fn is_current(&self, vm: &str, epoch: u64) -> bool {
        self.vms.get(vm).is_some_and(|vm| vm.epoch == epoch)
    }

    /// An eviction concerns the machine whatever its owner does to it meanwhile.
    fn is_same_life(&self, vm: &str, epoch: u64) -> bool {
        let life = |epoch: u64| epoch / EPOCHS_PER_LIFE;
        self.vms
            .get(vm)
            .is_some_and(|vm| life(vm.epoch) == life(epoch))
    }

    /// Sets the machine on the way to running; its quota is already reserved.
    pub(crate) fn begin_create(&mut self, key: &str) {
        let Some(vm) = self.vms.get(key) else { return };
        let epoch = vm.epoch;
        let delay = self.draw(Step::Allocate, &draw_name(key, epoch));
        self.after(
            delay,
            Timer::VmAllocated {
                vm: key.to_owned(),
                epoch,
            },
        );
    }

    fn vm_allocated(&mut self, key: &str) {
        let Some(vm) = self.vms.get(key) else { return };
        let placement = vm.spec.placement.clone();
        let epoch = vm.epoch;
        if let Some(refusal) = self.capacity.refusal(&placement) {
            let error = self.refusal_error(refusal, &placement);
            self.fail_create(key, error);
            return;
        }
        self.capacity.take(&placement);
        let delay = self.draw(Step::Boot, &draw_name(key, epoch));
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        vm.allocation = Some(placement);
        vm.power = Some(Power::Starting);
        self.after(
            delay,
            Timer::VmRunning {
                vm: key.to_owned(),
                epoch,
            },
        );
    }

    /// The machine stays, failed, and keeps its interfaces until it is deleted.
    fn fail_create(&mut self, key: &str, error: ArmError) {
        self.release_quota(key);
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        vm.settle(Provisioning::Failed, self.now);
        vm.failure = Some(error.clone());
        vm.epoch += 1;
        let operation = vm.operation.take();
        self.end_operation(operation, Progress::Failed(error));
    }

    /// The guest could not do its work. The machine runs on; only its report is bad.
    pub(crate) fn fail_guest(&mut self, key: &str, exit_status: u8, output: &str) {
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        if !matches!(
            vm.provisioning,
            Provisioning::Creating | Provisioning::Succeeded
        ) {
            return;
        }
        let report = script_report(exit_status, output);
        let error = ArmError::new(
            409,
            "VMExtensionProvisioningError",
            format!(
                "VM has reported a failure when processing extension 'vmssCSE' (publisher \
                 'Microsoft.Azure.Extensions' and type 'CustomScript'). Error message: \
                 '{report}'. More information on troubleshooting is available at \
                 https://aka.ms/VMExtensionCSELinuxTroubleshoot."
            ),
        );
        vm.settle(Provisioning::Failed, self.now);
        vm.failure = Some(error.clone());
        vm.guest_report = Some(report);
        vm.epoch += 1;
        let operation = vm.operation.take();
        self.end_operation(operation, Progress::Failed(error));
    }

    fn vm_running(&mut self, key: &str) {
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        let epoch = vm.epoch;
        vm.power = Some(Power::Running);
        self.announce_start(key);
        let delay = self.draw(Step::Provision, &draw_name(key, epoch));
        self.after(
            delay,
            Timer::VmProvisioned {
                vm: key.to_owned(),
                epoch,
            },
        );
    }

    fn vm_provisioned(&mut self, key: &str) {
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        vm.settle(Provisioning::Succeeded, self.now);
        let operation = vm.operation.take();
        self.end_operation(operation, Progress::Succeeded);
    }

    /// Emits `VmStarted`.
    pub(crate) fn announce_start(&mut self, key: &str) {
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        vm.running_since = Some(self.now);
        let size = self.catalog.size(&vm.spec.placement.size);
        let region = vm.location().to_owned();
        let event = StartedVm {
            arm_id: vm.id.as_str().to_owned(),
            provider_id: vm.id.provider_id(),
            host_name: vm.spec.computer_name.clone(),
            custom_data: vm.spec.custom_data.clone(),
            vm_size: vm.spec.placement.size.clone(),
            zone: zone_label(&region, vm.spec.placement.zone.as_deref()),
            region,
            cores: vm.spec.cores,
            memory_bytes: size.map_or(0, |size| size.memory_mib << 20),
            os_disk_bytes: vm.spec.os_disk.gib << 30,
            gpu_count: size.map_or(0, |size| if size.nvidia { size.gpus } else { 0 }),
            tags: string_map(vm.spec.document.get("tags")),
            agent_pool: None,
        };
        self.events.push(CloudEvent::VmStarted(Box::new(event)));
    }

    /// Emits `VmStopped`, if the machine had been started.
    pub(crate) fn announce_stop(&mut self, key: &str, reason: StopReason) {
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        if vm.running_since.take().is_some() {
            let provider_id = vm.id.provider_id();
            self.events.push(CloudEvent::VmStopped {
                provider_id,
                reason,
            });
        }
    }

    /// Starts to delete the machine; gives the id of the operation.
    pub(crate) fn begin_delete(&mut self, key: &str) -> Option<String> {
        let vm = self.vms.get(key)?;
        if vm.provisioning == Provisioning::Deleting && vm.operation.is_some() {
            return vm.operation.clone();
        }
        self.preempt_operation(key);
        self.announce_stop(key, StopReason::Deleted);
        let operation = self.start_operation(Owner::Compute, None);
        self.set_deleting(key, Some(operation.clone()));
        Some(operation)
    }

    pub(crate) fn set_deleting(&mut self, key: &str, operation: Option<String>) {
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        vm.settle(Provisioning::Deleting, self.now);
        vm.operation = operation;
        vm.epoch += 1;
        vm.evicted_at = None;
        let epoch = vm.epoch;
        let delay = self.draw(Step::DeleteVm, &draw_name(key, epoch));
        self.after(
            delay,
            Timer::VmDeleted {
                vm: key.to_owned(),
                epoch,
            },
        );
    }

    /// An operation that a newer one overtakes ends as Azure ends it.
    pub(crate) fn preempt_operation(&mut self, key: &str) {
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        let operation = vm.operation.take();
        let error = ArmError::new(
            409,
            "OperationPreempted",
            "Operation execution has been preempted by a more recent operation.",
        );
        self.end_operation(operation, Progress::Canceled(error));
    }

    fn vm_deleted(&mut self, key: &str) {
        if let Some(view) = self.vms.get(key).map(|vm| self.vm_view(vm, Some(self.now))) {
            remember(&mut self.gone_vms, view);
        }
        self.release_quota(key);
        self.release_capacity(key);
        let Some(vm) = self.vms.remove(key) else {
            return;
        };
        let failed = vm.failure.is_some() && vm.guest_report.is_none();
        for (nic, goes_with_vm) in &vm.spec.nics {
            let reserved = vm.evicted || failed;
            let fate = match (goes_with_vm, reserved) {
                (true, false) => NicFate::Goes,
                (true, true) => NicFate::GoesAfterReservation,
                (false, _) => NicFate::Stays,
            };
            self.free_nic(nic, &vm.id, fate);
        }
        self.free_disk(&vm);
        self.end_operation(vm.operation, Progress::Succeeded);
    }

    /// Detaches an interface and reserves it for the machine that had it.
    fn free_nic(&mut self, key: &str, vm: &ResourceId, fate: NicFate) {
        let until = self.now + NIC_RESERVATION;
        let Some(nic) = self.nics.get_mut(key) else {
            return;
        };
        nic.attached_to = None;
        nic.reserved = Some((vm.clone(), until));
        nic.etag += 1;
        let epoch = nic.epoch;
        match fate {
            NicFate::Goes => self.nic_deleted(key, epoch),
            NicFate::GoesAfterReservation => {
                self.timers.set(
                    until,
                    Timer::NicDeleted {
                        nic: key.to_owned(),
                        epoch,
                    },
                );
            }
            NicFate::Stays => {}
        }
    }

    fn free_disk(&mut self, vm: &Vm) {
        let disk = &vm.spec.os_disk;
        if disk.ephemeral {
            return;
        }
        let key = self.disk_key(&vm.id, &disk.name);
        let goes_with_vm = disk.goes_with_vm;
        let Some(disk) = self.disks.get_mut(&key) else {
            return;
        };
        disk.owner = None;
        let epoch = disk.epoch;
        if goes_with_vm {
            self.disk_deleted(&key, epoch);
        }
    }

    /// The key of a disk in the machine's own group.
    pub(crate) fn disk_key(&self, vm: &ResourceId, name: &str) -> String {
        let kind = "Microsoft.Compute/disks";
        ResourceId::in_group(&self.config.subscription_id, vm.group(), kind, name).key()
    }

    pub(crate) fn release_quota(&mut self, key: &str) {
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        if std::mem::take(&mut vm.holds_quota) {
            self.quota.release(
                vm.spec.family,
                vm.spec.placement.capacity_type,
                vm.spec.cores,
            );
        }
    }

    pub(crate) fn release_capacity(&mut self, key: &str) {
        if let Some(placement) = self.vms.get_mut(key).and_then(|vm| vm.allocation.take()) {
            self.capacity.give_back(&placement);
        }
    }

    fn nic_deleted(&mut self, key: &str, epoch: u64) {
        let Some(nic) = self.nics.get(key) else {
            return;
        };
        if nic.epoch != epoch || nic.attached_to.is_some() {
            return;
        }
        let Some(nic) = self.nics.remove(key) else {
            return;
        };
        for (subnet, offset) in &nic.addresses {
            if let Some(used) = self.addresses.get_mut(subnet) {
                used.remove(offset);
            }
        }
        let view = self.nic_view(&nic, Some(self.now));
        remember(&mut self.gone_nics, view);
        self.end_operation(nic.deleting, Progress::Succeeded);
    }

    fn disk_deleted(&mut self, key: &str, epoch: u64) {
        let Some(disk) = self.disks.get(key) else {
            return;
        };
        if disk.epoch != epoch || disk.owner.is_some() {
            return;
        }
        let Some(disk) = self.disks.remove(key) else {
            return;
        };
        let view = disk_view(&disk, Some(self.now));
        remember(&mut self.gone_disks, view);
        self.end_operation(disk.deleting, Progress::Succeeded);
    }

    /// The group goes with everything that is still in it.
    fn group_deleted(&mut self, name: &str) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let prefix = format!("{}/", group.id.key());
        let within = |key: &String| key.starts_with(&prefix);
        for key in self
            .vms
            .keys()
            .filter(|key| within(key))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.announce_stop(&key, StopReason::Deleted);
            self.vm_deleted(&key);
        }
        for key in self
            .nics
            .keys()
            .filter(|key| within(key))
            .cloned()
            .collect::<Vec<_>>()
        {
            let Some(nic) = self.nics.get_mut(&key) else {
                continue;
            };
            nic.attached_to = None;
            let epoch = nic.epoch;
            self.nic_deleted(&key, epoch);
        }
        for key in self
            .disks
            .keys()
            .filter(|key| within(key))
            .cloned()
            .collect::<Vec<_>>()
        {
            let Some(disk) = self.disks.get_mut(&key) else {
                continue;
            };
            disk.owner = None;
            let epoch = disk.epoch;
            self.disk_deleted(&key, epoch);
        }
        self.documents.retain(|key, _| !within(key));
        let operation = self.groups.remove(name).and_then(|group| group.deleting);
        self.end_operation(operation, Progress::Succeeded);
    }
}

/// The zone as node labels spell it.
pub(crate) fn zone_label(region: &str, zone: Option<&str>) -> String {
    zone.map_or_else(|| "0".to_owned(), |zone| format!("{region}-{zone}"))
}

/// The string members of a JSON object.
pub(crate) fn string_map(value: Option<&Value>) -> BTreeMap<String, String> {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    members
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Draws are named after the machine and the step of its life, not after how many requests others
/// have sent before.
pub(crate) fn draw_name(key: &str, epoch: u64) -> String {
    format!("{key}/{}", epoch % EPOCHS_PER_LIFE)
}

/// Two resources that have the same name one after the other never share an epoch.
pub(crate) const EPOCHS_PER_LIFE: u64 = 1 << 16;

/// What the custom script extension says of a script that failed. AKS's script prints its exit
/// code and the end of its log as JSON (`Azure/AgentBaker` `cse_start.sh`).
fn script_report(exit_status: u8, output: &str) -> String {
    let output = Value::from(output);
    format!(
        "Enable failed: failed to execute command: command terminated with exit \
         status={exit_status}\n[stdout]\n{{ \"ExitCode\": \"{exit_status}\", \"Output\": {output}, \
         \"Error\": \"\" }}\n\n[stderr]\n"
    )
}
