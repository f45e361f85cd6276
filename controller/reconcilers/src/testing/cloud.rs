//! A cloud that launches at once and deletes after a while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use controller_core::model::{
    CapacityType, InstanceType, NodeClaimName, Offering, Overhead, Price, ProviderId,
};
use controller_core::quantity::Resources;
use controller_core::requirements::{Operator, RequirementSpec};
use controller_ports::{
    Clock, CloudProvider, CreateError, DriftReason, Instance, Interruption, LaunchRequest,
    NodeClass, Orphan, ProviderError, RepairPolicy, ResolvedNodeClass,
};
use jiff::Timestamp;
use serde_json::json;

use super::TestClock;

/// How long a deletion takes.
const DELETION: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Cloud {
    clock: Arc<TestClock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    instances: BTreeMap<NodeClaimName, (Instance, Option<Duration>)>,
    refuse: u32,
    fail_later: Option<CreateError>,
    refusing: Option<fn() -> CreateError>,
    failing: Option<fn() -> CreateError>,
    creates: u32,
}

impl Cloud {
    pub(crate) fn new(clock: Arc<TestClock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// The next creations are refused for lack of capacity.
    pub(crate) fn refuse(&self, times: u32) {
        self.state().refuse = times;
    }

    /// The next creation that was accepted fails with this.
    pub(crate) fn fail_later(&self, error: CreateError) {
        self.state().fail_later = Some(error);
    }

    /// From now on creations are refused with this, or no more.
    pub(crate) fn refuse_all(&self, error: Option<fn() -> CreateError>) {
        self.state().refusing = error;
    }

    /// From now on creations that were accepted fail with this, or no more.
    pub(crate) fn fail_all(&self, error: Option<fn() -> CreateError>) {
        self.state().failing = error;
    }

    /// Takes an instance away behind the controller's back.
    pub(crate) fn lose(&self, claim: &str) {
        self.state().instances.remove(&NodeClaimName::new(claim));
    }

    /// An instance no claim knows of.
    pub(crate) fn stray(&self, claim: &str) {
        let instance = instance(&NodeClaimName::new(claim), self.clock.now());
        self.state()
            .instances
            .insert(instance.claim.clone(), (instance, None));
    }

    /// Claims with an instance.
    pub(crate) fn instances(&self) -> Vec<String> {
        self.forget_deleted();
        self.state()
            .instances
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    pub(crate) fn creates(&self) -> u32 {
        self.state().creates
    }

    fn forget_deleted(&self) {
        let now = self.clock.monotonic();
        self.state()
            .instances
            .retain(|_, (_, until)| until.is_none_or(|until| until > now));
    }
}

fn instance(claim: &NodeClaimName, now: Timestamp) -> Instance {
    let types = instance_type();
    let labels = [
        ("node.kubernetes.io/instance-type", "Standard_D4s_v5"),
        ("topology.kubernetes.io/zone", "westeurope-1"),
        ("karpenter.sh/capacity-type", "on-demand"),
        ("kubernetes.io/arch", "amd64"),
        ("kubernetes.io/os", "linux"),
    ];
    Instance {
        provider_id: ProviderId::new(format!("azure:///vm/{claim}")),
        claim: claim.clone(),
        pool: None,
        instance_type: types.name.clone(),
        labels: labels
            .iter()
            .map(|(k, v)| (Arc::from(*k), Arc::from(*v)))
            .collect(),
        annotations: BTreeMap::new(),
        image_id: "image".into(),
        capacity: types.capacity.clone(),
        allocatable: types.capacity,
        price: types.offerings[0].price,
        created: now,
        deleting: false,
    }
}

pub(crate) fn instance_type() -> InstanceType {
    let is = |key: &str, value: &str| RequirementSpec {
        key: key.into(),
        operator: Operator::In,
        values: vec![value.into()],
        min_values: None,
    };
    InstanceType {
        name: "Standard_D4s_v5".into(),
        requirements: vec![
            is("node.kubernetes.io/instance-type", "Standard_D4s_v5"),
            is("kubernetes.io/arch", "amd64"),
            is("kubernetes.io/os", "linux"),
            is("topology.kubernetes.io/zone", "westeurope-1"),
            is("karpenter.sh/capacity-type", "on-demand"),
        ],
        offerings: vec![Offering {
            zone: "westeurope-1".into(),
            capacity_type: CapacityType::OnDemand,
            requirements: Vec::new(),
            price: Price(230_000_000),
            available: true,
        }],
        capacity: Resources {
            cpu_milli: 4000,
            memory_bytes: 16 << 30,
            pods: 110,
            ..Resources::default()
        },
        overhead: Overhead::default(),
    }
}

/// A policy with the tolerance of the real ones.
const fn repair(condition_type: &'static str, condition_status: &'static str) -> RepairPolicy {
    RepairPolicy {
        condition_type,
        condition_status,
        toleration: Duration::from_mins(10),
    }
}

#[async_trait]
impl CloudProvider for Cloud {
    async fn create(&self, request: LaunchRequest) -> Result<Instance, CreateError> {
        self.clock.sleep(Duration::from_secs(2)).await;
        let mut state = self.state();
        if state.refuse > 0 {
            state.refuse -= 1;
            return Err(CreateError::InsufficientCapacity("sold out".to_owned()));
        }
        if let Some(error) = state.refusing {
            return Err(error());
        }
        if let Some((known, _)) = state.instances.get(&request.claim) {
            return Ok(known.clone());
        }
        state.creates += 1;
        let instance = instance(&request.claim, self.clock.now());
        state
            .instances
            .insert(request.claim, (instance.clone(), None));
        Ok(instance)
    }

    async fn launch_failure(&self, _: &NodeClaimName) -> Option<CreateError> {
        let mut state = self.state();
        let error = state.failing.map(|error| error());
        error.or_else(|| state.fail_later.take())
    }

    async fn delete(
        &self,
        claim: &NodeClaimName,
        _: Option<&ProviderId>,
    ) -> Result<(), ProviderError> {
        self.forget_deleted();
        let now = self.clock.monotonic();
        match self.state().instances.get_mut(claim) {
            Some((_, until)) => {
                until.get_or_insert(now + DELETION);
                Ok(())
            }
            None => Err(ProviderError::NotFound),
        }
    }

    async fn get(&self, provider_id: &ProviderId) -> Result<Instance, ProviderError> {
        self.forget_deleted();
        let state = self.state();
        let found = state
            .instances
            .values()
            .find(|(i, _)| i.provider_id == *provider_id);
        found
            .map(|(instance, _)| instance.clone())
            .ok_or(ProviderError::NotFound)
    }

    async fn list(&self) -> Result<Vec<Instance>, ProviderError> {
        self.forget_deleted();
        Ok(self
            .state()
            .instances
            .values()
            .map(|(instance, _)| instance.clone())
            .collect())
    }

    async fn instance_types(&self, _: &NodeClass) -> Result<Arc<Vec<InstanceType>>, ProviderError> {
        Ok(Arc::new(vec![instance_type()]))
    }

    async fn is_drifted(
        &self,
        _: &ProviderId,
        _: &BTreeMap<Arc<str>, Arc<str>>,
        _: &NodeClass,
    ) -> Result<Option<DriftReason>, ProviderError> {
        Ok(None)
    }

    fn repair_policies(&self) -> &[RepairPolicy] {
        const { &[repair("Ready", "False"), repair("Ready", "Unknown")] }
    }

    async fn resolve_node_class(&self, _: &NodeClass) -> Result<ResolvedNodeClass, ProviderError> {
        Ok(ResolvedNodeClass {
            status: json!({"conditions": [{"type": "Ready", "status": "True", "reason": "Ready",
                "message": "", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}),
            annotations: BTreeMap::new(),
            ready: true,
        })
    }

    async fn update_in_place(&self, _: &ProviderId, _: &NodeClass) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn collect_orphans(
        &self,
        _: &[NodeClaimName],
        _: Timestamp,
    ) -> Result<Vec<Orphan>, ProviderError> {
        Ok(Vec::new())
    }

    async fn interruptions(&self) -> Result<Vec<Interruption>, ProviderError> {
        Ok(Vec::new())
    }

    async fn refresh(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    fn node_class_kind(&self) -> (&'static str, &'static str) {
        ("karpenter.azure.com", "AKSNodeClass")
    }
}
