//! Resolving an AKSNodeClass: Kubernetes version, images, subnet; and whether an instance still
//! matches it (`Azure/karpenter-provider-azure` `pkg/controllers/nodeclass/status`,
//! `pkg/cloudprovider/drift.go`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use controller_api::azure::v1beta1::NodeImage;
use controller_api::conditions::{ConditionSet, Conditioned};
use controller_api::hash::aks_node_class_hash;
use controller_api::labels;
use controller_core::model::ProviderId;
use controller_ports::{DriftReason, ProviderError, ResolvedNodeClass};
use serde_json::Value;

use crate::arm::{ArmError, lock, versions};
use crate::class::Class;
use crate::id::{SubnetId, vm_name};
use crate::imagefamily::{Definition, Family, GalleryVersion, choose};
use crate::instance::VERSION_ANNOTATION;
use crate::provider::{Azure, chain};

/// Images are published every week or two; some hours late is early (upstream keeps them for three
/// days).
const VERSIONS_FOR: Duration = Duration::from_hours(6);

/// A finding for a condition: its reason and message when it is not true.
type Finding = Result<(), (&'static str, String)>;

impl Azure {
    /// See `CloudProvider::resolve_node_class`.
    pub(crate) async fn resolve(
        &self,
        mut class: Class,
    ) -> Result<ResolvedNodeClass, ProviderError> {
        let version = self.kubernetes_version(&class);
        let images = self.images(&class, version.as_deref()).await?;
        let subnet = self.subnet(&class).await;
        let hash = aks_node_class_hash(class.spec());
        let local_dns = local_dns_state(&class);

        let status = class.object.status.get_or_insert_default();
        status.kubernetes_version.clone_from(&version);
        status.local_dns_state = Some(local_dns.to_owned());
        let images_finding = match images {
            Ok(images) => {
                status.images = images;
                Ok(())
            }
            Err(finding) => {
                status.images.clear();
                Err(finding)
            }
        };
        let mut conditions = class.object.condition_set(self.clock.now());
        match version {
            Some(_) => drop(conditions.set_true("KubernetesVersionReady")),
            None => drop(conditions.set_unknown("KubernetesVersionReady")),
        }
        apply(&mut conditions, "ImagesReady", images_finding);
        apply(&mut conditions, "SubnetsReady", subnet);
        conditions.set_true("ValidationSucceeded");
        conditions.set_true("LocalDNSReady");
        let ready = class.object.is_condition_true("Ready");
        let status = serde_json::to_value(&class.object.status).unwrap_or(Value::Null);
        let annotations = BTreeMap::from([
            (Arc::from(labels::AKS_NODE_CLASS_HASH), Arc::from(hash)),
            (
                Arc::from(labels::AKS_NODE_CLASS_HASH_VERSION),
                Arc::from(labels::AKS_NODE_CLASS_HASH_VERSION_VALUE),
            ),
        ]);
        Ok(ResolvedNodeClass {
            status,
            annotations,
            ready,
        })
    }

    /// The control plane's version; never an older one than nodes were given before.
    fn kubernetes_version(&self, class: &Class) -> Option<String> {
        let known = class
            .object
            .status
            .as_ref()
            .and_then(|status| status.kubernetes_version.clone());
        let current = self.version.get();
        match (known, current) {
            (Some(known), Some(current)) => Some(if parts(&known) > parts(&current) {
                known
            } else {
                current
            }),
            (known, current) => current.or(known),
        }
    }

    async fn images(
        &self,
        class: &Class,
        version: Option<&str>,
    ) -> Result<Result<Vec<NodeImage>, (&'static str, String)>, ProviderError> {
        let Some(version) = version else {
            return Ok(Err((
                "KubernetesUpgrade",
                "the Kubernetes version is not known yet".to_owned(),
            )));
        };
        let spec = class.spec();
        if spec.is_fips() {
            let text = "FIPS images need the shared image gallery";
            return Ok(Err(("SIGRequiredForFIPS", text.to_owned())));
        }
        let definitions = Family::resolve(spec, version).definitions(spec.is_trusted_launch());
        let mut images = Vec::with_capacity(definitions.len());
        for definition in &definitions {
            let versions = self.gallery_versions(definition).await?;
            if let Some(version) = choose(&versions, spec.image_version.as_deref()) {
                images.push(definition.image(&version));
            }
        }
        if images.is_empty() {
            let wanted = spec.image_version.as_deref().map_or_else(
                || "any version".to_owned(),
                |version| format!("version {version}"),
            );
            let text = format!("no image of family {} in {wanted}", spec.image_family());
            return Ok(Err(("ImagesNotFound", text)));
        }
        Ok(Ok(images))
    }

    async fn gallery_versions(
        &self,
        definition: &Definition,
    ) -> Result<Arc<Vec<GalleryVersion>>, ProviderError> {
        let now = self.clock.monotonic();
        if let Some((until, versions)) = lock(&self.galleries).get(definition.name)
            && now < *until
        {
            return Ok(Arc::clone(versions));
        }
        let path = self
            .ids
            .gallery_versions(definition.gallery, definition.name);
        let url = self.arm.url(&path, versions::GALLERIES, &[]);
        let versions = match self.arm.list::<GalleryVersion>(&url).await {
            Ok(versions) => versions,
            // A definition that the region does not have.
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let versions = Arc::new(versions);
        lock(&self.galleries).insert(definition.name, (now + VERSIONS_FOR, Arc::clone(&versions)));
        Ok(versions)
    }

    async fn subnet(&self, class: &Class) -> Finding {
        let own = &self.options.network.vnet_subnet_id;
        let id = class.subnet_id(&self.options.network);
        let invalid = |text: String| Err(("SubnetIDInvalid", text));
        let Some(subnet) = SubnetId::parse(id) else {
            return invalid(format!("\"{id}\" is not the id of a subnet"));
        };
        if id != own {
            let same_network = SubnetId::parse(own).is_some_and(|own| {
                (own.subscription, own.resource_group, own.vnet)
                    == (subnet.subscription, subnet.resource_group, subnet.vnet)
            });
            if !same_network {
                return invalid(format!("{id} is not in the cluster's virtual network"));
            }
            if subnet.is_aks_managed(&self.options.node_resource_group) {
                return invalid(format!("{id} is in the network that AKS manages"));
            }
        }
        let found = self
            .arm
            .get::<Value>(&self.arm.url(id, versions::NETWORK, &[]))
            .await;
        found.map(|_| ()).map_err(|error: ArmError| {
            if error.is_not_found() {
                ("SubnetNotFound", format!("{id} does not exist"))
            } else {
                ("SubnetUnknownError", chain(&error))
            }
        })
    }

    /// See `CloudProvider::is_drifted`.
    pub(crate) async fn drift(
        &self,
        id: &ProviderId,
        claim: &BTreeMap<Arc<str>, Arc<str>>,
        class: &Class,
    ) -> Result<Option<DriftReason>, ProviderError> {
        if has_other_hash(claim, class) {
            return Ok(Some(DriftReason("NodeClassDrift")));
        }
        let started_with = claim.get(VERSION_ANNOTATION);
        // Only an older node drifts: a control plane that lags behind its nodes must not have
        // them replaced for ever.
        if let (Some(node), Some(wanted)) = (started_with, class.kubernetes_version())
            && parts(node) < parts(wanted)
        {
            return Ok(Some(DriftReason("K8sVersionDrift")));
        }
        let Some(images) = class.images() else {
            return Ok(None);
        };
        let image = self.image_of(id).await?;
        let is_current = image.is_empty()
            || images
                .iter()
                .any(|known| known.id.eq_ignore_ascii_case(&image));
        Ok((!is_current).then_some(DriftReason("ImageDrift")))
    }

    /// The image a machine was started from; images of machines never change.
    async fn image_of(&self, id: &ProviderId) -> Result<String, ProviderError> {
        let name = vm_name(id.as_str()).ok_or(ProviderError::NotFound)?;
        let seen = lock(&self.seen).get(name).map(|seen| seen.image_id.clone());
        match seen {
            Some(image) => Ok(image),
            None => Ok(self.get(id).await?.image_id.to_string()),
        }
    }
}

fn apply(conditions: &mut ConditionSet<'_>, type_: &str, finding: Finding) {
    match finding {
        Ok(()) => drop(conditions.set_true(type_)),
        Err((reason, message)) => drop(conditions.set_false(type_, reason, &message)),
    }
}

/// `Preferred` means that AKS decides; it does so from Kubernetes versions that do not exist yet.
fn local_dns_state(class: &Class) -> &'static str {
    let mode = class.spec().local_dns.as_ref().map(|dns| dns.mode.as_str());
    if mode == Some("Required") {
        "Enabled"
    } else {
        "Disabled"
    }
}

/// Both sides must have been hashed by the same algorithm.
fn has_other_hash(claim: &BTreeMap<Arc<str>, Arc<str>>, class: &Class) -> bool {
    let annotations = class.object.metadata.annotations.as_ref();
    let of_class = |key: &str| annotations.and_then(|map| map.get(key)).map(String::as_str);
    let of_claim = |key: &str| claim.get(key).map(|value| &**value);
    let both = |key: &str| of_class(key).zip(of_claim(key));
    let same_algorithm = both(labels::AKS_NODE_CLASS_HASH_VERSION).is_some_and(|(a, b)| a == b);
    same_algorithm && both(labels::AKS_NODE_CLASS_HASH).is_some_and(|(a, b)| a != b)
}

/// Major, minor, patch; suffixes such as `-aks1` do not count.
fn parts(version: &str) -> Vec<u32> {
    version
        .trim_start_matches('v')
        .split(['-', '+'])
        .next()
        .unwrap_or_default()
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}
