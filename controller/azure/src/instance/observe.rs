//! From Azure's virtual machines to instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_api::hash::aks_node_class_hash;
use controller_api::labels;
use controller_core::model::{
    InstanceType, InstanceTypeName, NodeClaimName, NodePoolName, Price, ProviderId,
};
use controller_core::quantity::Resources;
use controller_ports::{Instance, Interruption, ProviderError};

use super::Vm;
use super::allocate::allocatable;
use super::body::{CLUSTER_TAG, POOL_TAG};
use crate::arm::{lock, versions};
use crate::bootstrap::single_valued;
use crate::class::{Class, ClassKey, Needs, default_max_pods};
use crate::id::{claim_of, provider_id, vm_name};
use crate::provider::{Azure, Seen};

/// Annotation on a claim: the Kubernetes version its node started with. Its provider id says
/// nothing about it, and the Node is not visible from here.
pub(crate) const VERSION_ANNOTATION: &str = "nap.internal/kubernetes-version";

/// OS disk of a machine that does not say, as in an AKSNodeClass without one.
const OS_DISK_GB: i64 = 128;

type Labels = BTreeMap<Arc<str>, Arc<str>>;

impl Azure {
    /// One instance from its machine.
    pub(crate) fn instance(
        &self,
        vm: &Vm,
        instance_type: Option<&InstanceType>,
        class: Option<&Class>,
    ) -> Instance {
        let id = provider_id(&vm.id);
        let zone = vm.zone(&self.options.region);
        let capacity_type = vm.capacity_type();
        let offering = instance_type.and_then(|instance_type| {
            let mut offerings = instance_type.offerings.iter();
            offerings
                .find(|offering| offering.zone == zone && offering.capacity_type == capacity_type)
        });
        let pool = vm.tags.get(POOL_TAG);
        let mut all = Labels::new();
        if let Some(instance_type) = instance_type {
            all.extend(single_valued(&instance_type.requirements));
        }
        if let Some(offering) = offering {
            all.extend(single_valued(&offering.requirements));
        }
        all.insert(labels::INSTANCE_TYPE.into(), vm.size().into());
        all.insert(labels::ZONE.into(), zone.shared());
        all.insert(labels::CAPACITY_TYPE.into(), capacity_type.as_str().into());
        if let Some(pool) = pool {
            all.insert(labels::NODEPOOL.into(), pool.as_str().into());
        }
        self.see(vm, &id);
        Instance {
            claim: NodeClaimName::new(claim_of(&vm.name).unwrap_or(&vm.name)),
            pool: pool.map(|pool| NodePoolName::new(pool.as_str())),
            instance_type: InstanceTypeName::new(vm.size()),
            labels: all,
            annotations: class.map(annotations).unwrap_or_default(),
            image_id: vm.image_id().into(),
            capacity: instance_type
                .map(|it| it.capacity.clone())
                .unwrap_or_default(),
            allocatable: instance_type.map_or_else(Resources::default, allocatable),
            price: offering.map_or(Price::default(), |offering| offering.price),
            // A machine without a birth date is never taken for an old one.
            created: vm.created().unwrap_or_else(|| self.clock.now()),
            deleting: vm.is_deleting(),
            provider_id: ProviderId::new(id),
        }
    }

    fn see(&self, vm: &Vm, provider_id: &str) {
        let seen = Seen {
            provider_id: provider_id.to_owned(),
            image_id: vm.image_id().to_owned(),
            is_spot: vm.capacity_type() == controller_core::model::CapacityType::Spot,
        };
        lock(&self.seen).insert(vm.name.clone(), seen);
    }

    /// The machines of this cluster. The plain list is used, not Resource Graph: that lags by
    /// seconds to minutes, and a garbage collector must not act on the past.
    pub(crate) async fn machines(&self) -> Result<Vec<Vm>, ProviderError> {
        let url = self.arm.url(&self.ids.vms(), versions::COMPUTE, &[]);
        let all: Vec<Vm> = self
            .arm
            .list(&url)
            .await
            .map_err(|error| match ProviderError::from(error) {
                // Not the absence of machines: the group itself is missing.
                ProviderError::NotFound => ProviderError::Refused(format!(
                    "resource group {} does not exist",
                    self.options.node_resource_group
                )),
                other => other,
            })?;
        Ok(all.into_iter().filter(|vm| self.is_ours(vm)).collect())
    }

    fn is_ours(&self, vm: &Vm) -> bool {
        let is_of_cluster = match vm.tags.get(CLUSTER_TAG) {
            Some(cluster) => *cluster == self.options.cluster.name,
            None => vm.tags.contains_key(POOL_TAG),
        };
        is_of_cluster && claim_of(&vm.name).is_some()
    }

    /// See `CloudProvider::list`.
    pub(crate) async fn list(&self) -> Result<Vec<Instance>, ProviderError> {
        let machines = self.machines().await?;
        let mut instances = Vec::with_capacity(machines.len());
        for vm in &machines {
            instances.push(self.describe(vm).await?);
        }
        Ok(instances)
    }

    /// See `CloudProvider::get`.
    pub(crate) async fn get(&self, id: &ProviderId) -> Result<Instance, ProviderError> {
        let name = vm_name(id.as_str()).ok_or(ProviderError::NotFound)?;
        let vm = self
            .find(name, false)
            .await?
            .ok_or(ProviderError::NotFound)?;
        self.describe(&vm).await
    }

    /// An instance whose class is not at hand: pods per node are the network's default.
    async fn describe(&self, vm: &Vm) -> Result<Instance, ProviderError> {
        let key = ClassKey {
            is_azure_linux: vm.image_id().contains("AKSAzureLinux"),
            os_disk_gb: vm.os_disk_gb().unwrap_or(OS_DISK_GB),
            max_pods: default_max_pods(&self.options.network),
            needs: Needs::default(),
        };
        let list = self.instance_types_for(&key).await?;
        let instance_type = list.iter().find(|it| it.name.as_str() == vm.size());
        Ok(self.instance(vm, instance_type, None))
    }

    /// See `CloudProvider::interruptions`.
    ///
    /// Azure announces evictions to the machine itself (IMDS Scheduled Events), which is not
    /// visible here; a node agent turns them into a Node condition. What ARM shows is that a spot
    /// machine is being deleted, is deallocated or is gone although nobody here asked for it.
    pub(crate) async fn interruptions(&self) -> Result<Vec<Interruption>, ProviderError> {
        // Machines that appear while the list is on its way are not missing from it.
        let known: Vec<String> = lock(&self.seen).keys().cloned().collect();
        let machines = self.machines().await?;
        let by_name: BTreeMap<&str, &Vm> =
            machines.iter().map(|vm| (vm.name.as_str(), vm)).collect();
        let deleting = lock(&self.deleting).clone();
        let now = self.clock.now();
        let mut seen = lock(&self.seen);
        let mut announced = Vec::new();
        for name in &known {
            let vm = by_name.get(name.as_str());
            let goes = vm.is_none_or(|vm| vm.is_deleting() || vm.is_deallocated());
            if let Some(machine) = seen.get(name)
                && goes
                && machine.is_spot
                && !deleting.contains(name)
            {
                announced.push(Interruption {
                    provider_id: ProviderId::new(machine.provider_id.as_str()),
                    kind: "Preempt".into(),
                    not_before: Some(now),
                });
            }
            if vm.is_none() {
                seen.remove(name);
            }
        }
        drop(seen);
        for vm in &machines {
            self.see(vm, &provider_id(&vm.id));
        }
        Ok(announced)
    }
}

/// What is written to the claim beside labels.
fn annotations(class: &Class) -> BTreeMap<Arc<str>, Arc<str>> {
    let mut annotations = BTreeMap::new();
    let hash = aks_node_class_hash(class.spec());
    annotations.insert(Arc::from(labels::AKS_NODE_CLASS_HASH), Arc::from(hash));
    annotations.insert(
        Arc::from(labels::AKS_NODE_CLASS_HASH_VERSION),
        Arc::from(labels::AKS_NODE_CLASS_HASH_VERSION_VALUE),
    );
    if let Some(version) = class.kubernetes_version() {
        annotations.insert(Arc::from(VERSION_ANNOTATION), Arc::from(version));
    }
    annotations
}
