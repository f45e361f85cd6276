//! Power operations and evictions: machines that stop without being deleted by their owner.

use jiff::SignedDuration;

use crate::{
    cloud::Cloud,
    error::ArmError,
    event::{CloudEvent, StopReason},
    lifecycle::draw_name,
    model::{EvictionPolicy, Power, Provisioning},
    operations::{Owner, Progress},
    physics::Step,
    timers::Timer,
};

impl Cloud {
    /// Starts a power operation towards `goal`; gives its id.
    pub(crate) fn begin_power(
        &mut self,
        key: &str,
        goal: Power,
        reason: Option<StopReason>,
    ) -> String {
        if let Some(reason) = reason {
            self.announce_stop(key, reason);
        }
        let operation = self.start_operation(Owner::Compute, Some(key.to_owned()));
        if let Some(vm) = self.vms.get_mut(key) {
            vm.settle(Provisioning::Updating, self.now);
            vm.power = Some(match goal {
                Power::Stopped => Power::Stopping,
                Power::Deallocated => Power::Deallocating,
                _ => Power::Starting,
            });
            vm.power_goal = Some(goal);
            vm.operation = Some(operation.clone());
            vm.epoch += 1;
            vm.etag += 1;
            let epoch = vm.epoch;
            let delay = self.draw(Step::Power, &draw_name(key, epoch));
            self.after(
                delay,
                Timer::VmPower {
                    vm: key.to_owned(),
                    epoch,
                },
            );
        }
        operation
    }

    pub(crate) fn vm_power_done(&mut self, key: &str) {
        let Some(goal) = self.vms.get_mut(key).and_then(|vm| vm.power_goal.take()) else {
            return;
        };
        match goal {
            Power::Deallocated => self.release_capacity(key),
            Power::Running => {
                if let Err(error) = self.take_room_again(key) {
                    self.end_power(key, Power::Deallocated, Progress::Failed(error));
                    return;
                }
            }
            _ => {}
        }
        self.end_power(key, goal, Progress::Succeeded);
        if goal == Power::Running {
            self.announce_start(key);
        }
    }

    fn end_power(&mut self, key: &str, power: Power, progress: Progress) {
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        vm.power = Some(power);
        vm.evicted &= power != Power::Running;
        vm.settle(Provisioning::Succeeded, self.now);
        let operation = vm.operation.take();
        self.end_operation(operation, progress);
    }

    /// A deallocated machine that starts needs a place like a new one.
    fn take_room_again(&mut self, key: &str) -> Result<(), ArmError> {
        let Some(vm) = self.vms.get(key) else {
            return Ok(());
        };
        if vm.allocation.is_some() {
            return Ok(());
        }
        let placement = vm.spec.placement.clone();
        if let Some(refusal) = self.capacity.refusal(&placement) {
            return Err(self.refusal_error(refusal, &placement));
        }
        self.capacity.take(&placement);
        if let Some(vm) = self.vms.get_mut(key) {
            vm.allocation = Some(placement);
        }
        Ok(())
    }
}

// Eviction.
impl Cloud {
    /// Announces the eviction of a spot machine and sets its deadline. A machine that is already
    /// going away is left alone.
    pub(crate) fn announce_eviction(&mut self, key: &str) {
        let notice = SignedDuration::from_secs(i64::from(self.config.spot.eviction_notice_seconds));
        let not_before = self.now + notice;
        let event_id = self.next_guid("scheduled-event").to_uppercase();
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        let leaving = vm.provisioning == Provisioning::Deleting || vm.evicted_at.is_some();
        if leaving || vm.allocation.is_none() {
            return;
        }
        vm.evicted_at = Some(not_before);
        let (epoch, provider_id, announced) =
            (vm.epoch, vm.id.provider_id(), vm.running_since.is_some());
        if announced {
            self.events.push(CloudEvent::ScheduledEvent {
                provider_id,
                event_id,
                not_before,
            });
        }
        self.timers.set(
            not_before,
            Timer::Evicted {
                vm: key.to_owned(),
                epoch,
            },
        );
    }

    pub(crate) fn vm_evicted(&mut self, key: &str) {
        let due = self
            .vms
            .get(key)
            .and_then(|vm| vm.evicted_at)
            .is_some_and(|at| at <= self.now);
        if !due {
            return;
        }
        self.preempt_operation(key);
        self.announce_stop(key, StopReason::Evicted);
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        vm.evicted = true;
        vm.evicted_at = None;
        match vm.spec.eviction_policy {
            EvictionPolicy::Delete => self.set_deleting(key, None),
            EvictionPolicy::Deallocate => {
                vm.power = Some(Power::Deallocated);
                vm.settle(Provisioning::Succeeded, self.now);
                vm.epoch += 1;
                // The cores go on counting against the spot quota.
                self.release_capacity(key);
            }
        }
    }
}
