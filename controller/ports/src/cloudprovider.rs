//! What reconcilers ask of a cloud (`sigs.k8s.io/karpenter` `pkg/cloudprovider/types.go`, plus
//! what this controller adds: resolving node classes, orphans, interruptions).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use controller_core::model::{
    InstanceType, InstanceTypeName, NodeClaimName, NodeClassName, NodePoolName, Price, ProviderId,
    Taint,
};
use controller_core::quantity::Resources;
use controller_core::requirements::RequirementSpec;
use jiff::Timestamp;
use serde_json::Value;

use crate::transport::BoxError;

/// A NodeClass as stored; its kind belongs to the provider.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeClass {
    /// Name.
    pub name: NodeClassName,
    /// The whole object, status included.
    pub object: Arc<Value>,
}

/// What a NodeClaim asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchRequest {
    /// The claim; names of cloud resources derive from it.
    pub claim: NodeClaimName,
    /// Pool, when the claim belongs to one.
    pub pool: Option<NodePoolName>,
    /// The resolved NodeClass.
    pub node_class: NodeClass,
    /// `spec.requirements`.
    pub requirements: Vec<RequirementSpec>,
    /// `spec.resources.requests`.
    pub requests: Resources,
    /// Labels the node must carry.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// `spec.startupTaints`.
    pub startup_taints: Vec<Taint>,
}

/// An instance that exists in the cloud.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_field_names,
    reason = "an instance type is a term of its own"
)]
pub struct Instance {
    /// Provider id.
    pub provider_id: ProviderId,
    /// The claim it was made for, from its name or tags.
    pub claim: NodeClaimName,
    /// Pool, from its tags.
    pub pool: Option<NodePoolName>,
    /// Instance type.
    pub instance_type: InstanceTypeName,
    /// Resolved labels: instance type, zone, capacity type, arch, os, SKU labels.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Annotations for the claim: node class hash and its version.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// Image.
    pub image_id: Arc<str>,
    /// Capacity.
    pub capacity: Resources,
    /// Allocatable.
    pub allocatable: Resources,
    /// What it costs.
    pub price: Price,
    /// When it was created.
    pub created: Timestamp,
    /// It is being deleted.
    pub deleting: bool,
}

/// Why an instance could not be created. Each variant is a reaction.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Nothing that fits can be had: the claim is deleted and its pods are scheduled anew. What
    /// was refused is remembered by the provider and no longer offered for a while.
    #[error("insufficient capacity, {0}")]
    InsufficientCapacity(String),
    /// The NodeClass is not ready: the claim is deleted.
    #[error("NodeClassRef not ready, {0}")]
    NodeClassNotReady(String),
    /// The provider answered with a permanent or unclassified error; retried with back-off.
    #[error("creating nodeclaim, {message}")]
    Refused {
        /// Reason of the condition `Launched`.
        reason: &'static str,
        /// Message for the user.
        message: String,
    },
    /// Told to come back later.
    #[error("throttled by the cloud")]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// No answer, or one that could not be read; retried with back-off.
    #[error("launch request failed")]
    Transport(#[source] BoxError),
}

/// Why another call failed.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The instance does not exist.
    #[error("nodeclaim not found")]
    NotFound,
    /// The NodeClass is missing, not ready or invalid.
    #[error("NodeClassRef not ready, {0}")]
    NodeClassNotReady(String),
    /// Told to come back later.
    #[error("throttled by the cloud")]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The cloud said no.
    #[error("request refused, {0}")]
    Refused(String),
    /// No answer, or one that could not be read.
    #[error("request failed")]
    Transport(#[source] BoxError),
}

/// Why an instance no longer matches its NodeClass (`ImageVersionDrift`, `SubnetDrift`, …).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriftReason(pub &'static str);

/// When an unhealthy node is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairPolicy {
    /// Type of the Node's condition.
    pub condition_type: &'static str,
    /// Status that counts as unhealthy.
    pub condition_status: &'static str,
    /// How long it is tolerated.
    pub toleration: Duration,
}

/// What resolving a NodeClass found: the status to publish.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedNodeClass {
    /// `status` of the object, conditions included, as it should read.
    pub status: Value,
    /// Annotations to set (hash and its version).
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// Root condition `Ready`.
    pub ready: bool,
}

/// A cloud resource of ours that belongs to no instance (a NIC or a disk).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    /// Resource id.
    pub id: Arc<str>,
    /// The claim it was made for.
    pub claim: NodeClaimName,
}

/// The cloud will take an instance away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interruption {
    /// Which.
    pub provider_id: ProviderId,
    /// `Preempt`, `Terminate`, `Redeploy`, …
    pub kind: Arc<str>,
    /// Not before this time.
    pub not_before: Option<Timestamp>,
}

/// A cloud, as reconcilers see it.
#[async_trait]
pub trait CloudProvider: fmt::Debug + Send + Sync {
    /// Starts an instance for a claim. Idempotent per claim: called again after a crash, it finds
    /// and adopts what the first call made. Returns as soon as the cloud has accepted the machine;
    /// a later failure is reported by [`CloudProvider::launch_failure`].
    async fn create(&self, request: LaunchRequest) -> Result<Instance, CreateError>;

    /// The failure of a creation that was accepted and went wrong later. The instance's remains are
    /// left to [`CloudProvider::delete`]: who was told and crashed is told again. `None` while it is
    /// under way or when it succeeded.
    async fn launch_failure(&self, claim: &NodeClaimName) -> Option<CreateError>;

    /// Deletes an instance and all that belongs to it. `Ok` means accepted or under way: call
    /// again until `NotFound`.
    async fn delete(
        &self,
        claim: &NodeClaimName,
        provider_id: Option<&ProviderId>,
    ) -> Result<(), ProviderError>;

    /// One instance.
    async fn get(&self, provider_id: &ProviderId) -> Result<Instance, ProviderError>;

    /// All instances of this cluster.
    async fn list(&self) -> Result<Vec<Instance>, ProviderError>;

    /// Every instance type for nodes of this class, also those with no available offering.
    async fn instance_types(
        &self,
        node_class: &NodeClass,
    ) -> Result<Arc<Vec<InstanceType>>, ProviderError>;

    /// Why an instance of this class no longer matches it; `None` when it does.
    async fn is_drifted(
        &self,
        instance: &ProviderId,
        claim_annotations: &BTreeMap<Arc<str>, Arc<str>>,
        node_class: &NodeClass,
    ) -> Result<Option<DriftReason>, ProviderError>;

    /// When unhealthy nodes are replaced.
    fn repair_policies(&self) -> &[RepairPolicy];

    /// Validates a NodeClass and resolves images, Kubernetes version and subnets.
    async fn resolve_node_class(
        &self,
        node_class: &NodeClass,
    ) -> Result<ResolvedNodeClass, ProviderError>;

    /// Changes what can be changed without replacing the instance (tags).
    async fn update_in_place(
        &self,
        provider_id: &ProviderId,
        node_class: &NodeClass,
    ) -> Result<(), ProviderError>;

    /// Finds resources of ours older than `older_than` that no instance owns and whose claim is
    /// not in `claims`, deletes them and says which.
    async fn collect_orphans(
        &self,
        claims: &[NodeClaimName],
        older_than: Timestamp,
    ) -> Result<Vec<Orphan>, ProviderError>;

    /// Instances that the cloud has announced to take away.
    async fn interruptions(&self) -> Result<Vec<Interruption>, ProviderError>;

    /// Refreshes what ages: SKUs, prices, quota. Called by a loop once a minute; the provider
    /// decides what is due.
    async fn refresh(&self) -> Result<(), ProviderError>;

    /// Group and kind of the NodeClass, for example `karpenter.azure.com` and `AKSNodeClass`.
    fn node_class_kind(&self) -> (&'static str, &'static str);
}
