//! What becomes of a machine that Azure has accepted.

use std::sync::Arc;
use std::time::Duration;

use controller_core::model::{CapacityType, NodeClaimName, Offering, Price};
use controller_ports::CreateError;
use futures::FutureExt;

use super::guest::diagnose;
use super::launch::Asked;
use super::{Launch, Vm};
use crate::arm::{ArmError, Operation, ServiceError, lock, versions};
use crate::error::{BOOTSTRAP_FAILED, Reaction, classify, message};
use crate::id::resource_name;
use crate::provider::{Azure, chain};

/// Pause between looks at a machine whose guest has not joined yet.
const GUEST_CHECK: Duration = Duration::from_secs(10);
/// Poll of a machine whose operation is not known, after a restart.
const STATE_POLL: Duration = Duration::from_secs(3);

impl Azure {
    /// Azure has accepted the machine: somebody must see how it ends.
    pub(super) fn accepted(self: &Arc<Self>, asked: &Asked, operation: Option<Operation>) {
        let capacity = asked.offering.capacity_type;
        lock(&self.market)
            .quota
            .launched(self.clock.monotonic(), &asked.sku, capacity);
        let Some(operation) = operation else {
            lock(&self.launches).insert(asked.claim.clone(), Launch::Accepted(None));
            return;
        };
        lock(&self.launches).insert(asked.claim.clone(), Launch::Followed);
        let (azure, asked) = (Arc::clone(self), asked.clone());
        let task = async move {
            let outcome = azure.arm.follow(operation).await;
            azure.ended(&asked, outcome);
        };
        self.spawner.spawn("azure-launch", task.boxed());
    }

    fn ended(&self, asked: &Asked, outcome: Result<(), ArmError>) {
        let next = match outcome {
            Ok(()) => Launch::Accepted(None),
            // Deleted while it started: whoever deleted it knows.
            Err(_) if lock(&self.deleting).contains(&asked.name) => return,
            Err(ArmError::Service(error)) if !error.is_retriable() => {
                lock(&self.market)
                    .quota
                    .withdrawn(&asked.sku, asked.offering.capacity_type);
                let reaction = self.learn(&error, asked);
                Launch::Failed(failure(&reaction, &error))
            }
            // Nothing is known: the machine itself is asked next.
            Err(error) => {
                tracing::warn!(nodeclaim = %asked.claim, error = %chain(&error), "lost sight of a launch");
                Launch::Accepted(None)
            }
        };
        self.settle(&asked.claim, next);
    }

    /// Replaces the state of a launch that is still of interest.
    fn settle(&self, claim: &NodeClaimName, next: Launch) {
        if let Some(launch) = lock(&self.launches).get_mut(claim) {
            *launch = next;
        }
    }

    /// Follows a machine by its own state: its operation was started by another process.
    pub(super) fn follow_machine(self: &Arc<Self>, claim: &NodeClaimName, vm: &Vm) {
        let asked = lock(&self.market).sku(vm.size()).map(|sku| Asked {
            claim: claim.clone(),
            name: vm.name.clone(),
            sku,
            offering: Offering {
                zone: vm.zone(&self.options.region),
                capacity_type: vm.capacity_type(),
                requirements: Vec::new(),
                price: Price::default(),
                available: false,
            },
        });
        let Some(asked) = asked.filter(|_| vm.is_under_way()) else {
            lock(&self.launches).insert(claim.clone(), Launch::Accepted(None));
            return;
        };
        lock(&self.launches).insert(claim.clone(), Launch::Followed);
        let path = self.ids.vm(&vm.name);
        let url = self
            .arm
            .url(&path, versions::COMPUTE, &[("$expand", "instanceView")]);
        let azure = Arc::clone(self);
        let task = async move {
            let operation = Operation::of_resource(url, STATE_POLL);
            let outcome = azure.arm.follow(operation).await;
            azure.ended(&asked, outcome);
        };
        self.spawner.spawn("azure-launch", task.boxed());
    }

    /// See `CloudProvider::launch_failure`.
    pub(crate) async fn launch_failure(
        self: &Arc<Self>,
        claim: &NodeClaimName,
    ) -> Option<CreateError> {
        let now = self.clock.monotonic();
        {
            let mut launches = lock(&self.launches);
            match launches.get(claim) {
                Some(Launch::Failed(_)) => {
                    let Some(Launch::Failed(error)) = launches.remove(claim) else {
                        return None;
                    };
                    return Some(error);
                }
                Some(Launch::Followed) => return None,
                Some(Launch::Accepted(Some(at))) if now.saturating_sub(*at) < GUEST_CHECK => {
                    return None;
                }
                Some(Launch::Accepted(_)) | None => {
                    launches.insert(claim.clone(), Launch::Accepted(Some(now)));
                }
            }
        }
        let vm = match self.find(&resource_name(claim.as_str()), true).await {
            Ok(vm) => vm?,
            Err(error) => {
                tracing::debug!(nodeclaim = %claim, error = %chain(&error), "cannot look at a machine");
                return None;
            }
        };
        if vm.is_under_way() {
            self.follow_machine(claim, &vm);
            return None;
        }
        if vm.is_deleting() || vm.start_failure().is_none() {
            return None;
        }
        lock(&self.launches).remove(claim);
        Some(self.fault(claim, &vm))
    }

    /// A machine that says it failed: learns from it, and says why.
    pub(super) fn fault(&self, claim: &NodeClaimName, vm: &Vm) -> CreateError {
        let failure_text = vm.start_failure();
        let (code, text) = failure_text
            .map(|failure| (failure.code, failure.message))
            .unwrap_or_default();
        let error = ServiceError {
            status: 200,
            code,
            message: text,
            body: String::new(),
            retry_after: None,
        };
        let sku = lock(&self.market).sku(vm.size());
        let reaction = match sku {
            Some(sku) => self.learn(
                &error,
                &Asked {
                    claim: claim.clone(),
                    name: vm.name.clone(),
                    sku,
                    offering: Offering {
                        zone: vm.zone(&self.options.region),
                        capacity_type: vm.capacity_type(),
                        requirements: Vec::new(),
                        price: Price::default(),
                        available: false,
                    },
                },
            ),
            None => classify(&error, vm.capacity_type() == CapacityType::Spot),
        };
        failure(&reaction, &error)
    }
}

/// The failure of an accepted machine. Where another offering may succeed, the pods are better
/// scheduled anew than kept waiting for this one.
fn failure(reaction: &Reaction, error: &ServiceError) -> CreateError {
    let text = message(error);
    if reaction.try_next {
        return CreateError::InsufficientCapacity(text);
    }
    // A guest's failure is all alike to Azure; what its script reported tells more.
    let (reason, text) = if reaction.reason == BOOTSTRAP_FAILED {
        let (reason, told) = diagnose(&error.message);
        (reason, message(&told))
    } else {
        (reaction.reason, text)
    };
    CreateError::Refused {
        reason,
        message: text,
    }
}
