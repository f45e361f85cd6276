//! The cloud provider for Azure: ARM client, instance types, virtual machines, bootstrap data.
//!
//! ```text
//! CloudProvider ──▶ instance     claim → network interface + virtual machine, and back
//!                   instancetype SKUs, prices, quotas, refusals → instance types with offerings
//!                   nodeclass    AKSNodeClass → images, version, subnet; drift
//!                   bootstrap    what a machine runs to join
//!                        │
//!                       arm      tokens, retries, paging, long-running operations
//!                        │
//!                   Transport
//! ```
//!
//! # Invariants
//!
//! - Every resource is named after its claim; every step may be repeated, also by another process.
//! - Nothing created lacks a way to be deleted: by name, after a failed launch, as an orphan.
//! - Time, randomness, tasks and sockets come from ports; equal ports, equal requests.
//! - The access token goes to Azure Resource Manager and nowhere else.
//! - No Kubernetes client: what must be known of the cluster is told by the caller.

mod arm;
mod bootstrap;
mod class;
mod error;
mod id;
mod imagefamily;
mod instance;
mod instancetype;
mod network;
mod nodeclass;
mod number;
mod options;
mod pricing;
mod provider;
mod quota;
#[cfg(test)]
mod testing;
mod zones;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use controller_core::model::{InstanceType, NodeClaimName, ProviderId};
use controller_ports::{
    CloudProvider, CreateError, DriftReason, Instance, Interruption, LaunchRequest, NodeClass,
    Orphan, Ports, ProviderError, RepairPolicy, ResolvedNodeClass,
};
use jiff::Timestamp;

use crate::class::Class;
use crate::provider::Azure;

pub use id::is_subnet_id;
pub use options::{Cluster, Credential, Endpoints, Machines, Network, Options};
pub use provider::ClusterVersion;

/// Decodes base64 in its standard alphabet; `None` when it is not that.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Certificates in DER as PEM, as nodes get the cluster's authorities.
pub fn pem(certificates: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let base64 = BASE64.encode(certificate);
        for line in base64.as_bytes().chunks(64) {
            text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// The provider.
#[derive(Clone, Debug)]
pub struct AzureProvider(Arc<Azure>);

impl AzureProvider {
    /// Builds the provider; nothing is asked of Azure yet. `version` is told by whoever can ask
    /// the API server; until it is, NodeClasses stay unready.
    pub fn new(options: Options, ports: &Ports, version: ClusterVersion) -> Self {
        Self(Arc::new(Azure::new(options, ports, version)))
    }
}

/// Upstream's policies (`Azure/karpenter-provider-azure` `pkg/cloudprovider/cloudprovider.go`).
const REPAIR_POLICIES: [RepairPolicy; 4] = [
    repair("Ready", "False", Duration::from_mins(10)),
    repair("Ready", "Unknown", Duration::from_mins(10)),
    repair("kubernetes.azure.com/NodeHealthy", "False", Duration::ZERO),
    repair("PreemptionScheduled", "True", Duration::ZERO),
];

const fn repair(
    condition_type: &'static str,
    condition_status: &'static str,
    toleration: Duration,
) -> RepairPolicy {
    RepairPolicy {
        condition_type,
        condition_status,
        toleration,
    }
}

impl AzureProvider {
    fn parse(&self, class: &NodeClass) -> Result<Arc<Class>, ProviderError> {
        let parsed = self.0.classes.parse(class);
        parsed.map_err(ProviderError::NodeClassNotReady)
    }
}

#[async_trait]
impl CloudProvider for AzureProvider {
    async fn create(&self, request: LaunchRequest) -> Result<Instance, CreateError> {
        self.0.create(&request).await
    }

    async fn launch_failure(&self, claim: &NodeClaimName) -> Option<CreateError> {
        self.0.launch_failure(claim).await
    }

    async fn delete(
        &self,
        claim: &NodeClaimName,
        provider_id: Option<&ProviderId>,
    ) -> Result<(), ProviderError> {
        self.0.delete(claim, provider_id).await
    }

    async fn get(&self, provider_id: &ProviderId) -> Result<Instance, ProviderError> {
        self.0.get(provider_id).await
    }

    async fn list(&self) -> Result<Vec<Instance>, ProviderError> {
        self.0.list().await
    }

    async fn instance_types(
        &self,
        node_class: &NodeClass,
    ) -> Result<Arc<Vec<InstanceType>>, ProviderError> {
        self.0.instance_types(&*self.parse(node_class)?).await
    }

    async fn is_drifted(
        &self,
        instance: &ProviderId,
        claim_annotations: &BTreeMap<Arc<str>, Arc<str>>,
        node_class: &NodeClass,
    ) -> Result<Option<DriftReason>, ProviderError> {
        self.0
            .drift(instance, claim_annotations, &*self.parse(node_class)?)
            .await
    }

    fn repair_policies(&self) -> &[RepairPolicy] {
        &REPAIR_POLICIES
    }

    async fn resolve_node_class(
        &self,
        node_class: &NodeClass,
    ) -> Result<ResolvedNodeClass, ProviderError> {
        self.0.resolve((*self.parse(node_class)?).clone()).await
    }

    async fn update_in_place(
        &self,
        provider_id: &ProviderId,
        node_class: &NodeClass,
    ) -> Result<(), ProviderError> {
        self.0
            .update_in_place(provider_id, &*self.parse(node_class)?)
            .await
    }

    async fn collect_orphans(
        &self,
        claims: &[NodeClaimName],
        older_than: Timestamp,
    ) -> Result<Vec<Orphan>, ProviderError> {
        self.0.collect_orphans(claims, older_than).await
    }

    async fn interruptions(&self) -> Result<Vec<Interruption>, ProviderError> {
        self.0.interruptions().await
    }

    async fn refresh(&self) -> Result<(), ProviderError> {
        self.0.refresh().await
    }

    fn node_class_kind(&self) -> (&'static str, &'static str) {
        (controller_api::azure::GROUP, controller_api::azure::KIND)
    }
}
