//! An AKSNodeClass as this provider reads it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use controller_api::azure::v1beta1::NodeImage;
use controller_api::conditions::Conditioned;
use controller_api::{AKSNodeClass, AKSNodeClassSpec};
use controller_core::model::NodeClassName;
use controller_ports::NodeClass;
use serde_json::Value;

use crate::arm::lock;
use crate::imagefamily::Family;
use crate::options::Network;

/// A NodeClass, decoded.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) object: AKSNodeClass,
}

/// Decoded classes kept: clusters have a handful.
const CLASSES_MAX: usize = 64;

/// Decoded NodeClasses by name; each is decoded once per version.
#[derive(Debug, Default)]
pub(crate) struct Classes(Mutex<BTreeMap<NodeClassName, Known>>);

/// An object and what it was decoded to.
type Known = (Arc<Value>, Arc<Class>);

impl Classes {
    /// [`Class::parse`], or what it gave for the same object before.
    pub(crate) fn parse(&self, class: &NodeClass) -> Result<Arc<Class>, String> {
        if let Some((object, parsed)) = lock(&self.0).get(&class.name)
            && Arc::ptr_eq(object, &class.object)
        {
            return Ok(Arc::clone(parsed));
        }
        let parsed = Arc::new(Class::parse(class)?);
        let known = (Arc::clone(&class.object), Arc::clone(&parsed));
        let mut classes = lock(&self.0);
        if classes.len() >= CLASSES_MAX {
            classes.clear();
        }
        classes.insert(class.name.clone(), known);
        Ok(parsed)
    }
}

impl Class {
    /// Decodes; the error names what is malformed.
    pub(crate) fn parse(class: &NodeClass) -> Result<Self, String> {
        serde_json::from_value((*class.object).clone())
            .map(|object| Self { object })
            .map_err(|error| format!("AKSNodeClass {}: {error}", class.name))
    }

    pub(crate) fn spec(&self) -> &AKSNodeClassSpec {
        &self.object.spec
    }

    fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or_default()
    }

    /// True for this generation: after an edit, what was resolved before does not count.
    fn is_resolved(&self, condition: &str) -> bool {
        self.object.condition(condition).is_some_and(|found| {
            found.status == "True"
                && found.observed_generation.unwrap_or_default() == self.generation()
        })
    }

    /// The Kubernetes version new nodes get.
    pub(crate) fn kubernetes_version(&self) -> Option<&str> {
        let status = self.object.status.as_ref()?;
        self.is_resolved("KubernetesVersionReady")
            .then_some(status.kubernetes_version.as_deref()?)
    }

    /// The images new nodes may use, best first.
    pub(crate) fn images(&self) -> Option<&[NodeImage]> {
        let status = self.object.status.as_ref()?;
        self.is_resolved("ImagesReady")
            .then_some(status.images.as_slice())
    }

    /// Why no node can be made of this class; `None` when it is ready.
    pub(crate) fn unready(&self) -> Option<String> {
        let name = self.object.metadata.name.as_deref().unwrap_or_default();
        if self.object.metadata.deletion_timestamp.is_some() {
            return Some(format!("AKSNodeClass {name} is being deleted"));
        }
        match self.object.condition("Ready") {
            Some(ready) if ready.status == "True" => None,
            Some(ready) => Some(format!(
                "AKSNodeClass {name}: {}: {}",
                ready.reason, ready.message
            )),
            None => Some(format!("AKSNodeClass {name} has not been resolved yet")),
        }
    }

    pub(crate) fn is_local_dns_enabled(&self) -> bool {
        let status = self.object.status.as_ref();
        status.and_then(|status| status.local_dns_state.as_deref()) == Some("Enabled")
    }

    pub(crate) fn streams_artifacts(&self) -> bool {
        self.spec()
            .artifact_streaming
            .as_ref()
            .and_then(|streaming| streaming.enabled)
            == Some(true)
    }

    pub(crate) fn encrypts_at_host(&self) -> bool {
        self.spec()
            .security
            .as_ref()
            .and_then(|security| security.encryption_at_host)
            == Some(true)
    }

    /// Pods per node: the class's, or the network plug-in's default.
    pub(crate) fn max_pods(&self, network: &Network) -> i64 {
        self.spec()
            .max_pods
            .map_or_else(|| default_max_pods(network), i64::from)
    }

    /// The image family nodes get with a Kubernetes version.
    pub(crate) fn family(&self, kubernetes_version: &str) -> Family {
        Family::resolve(self.spec(), kubernetes_version)
    }

    /// `Ubuntu` or `AzureLinux`.
    pub(crate) fn os_sku(&self) -> &'static str {
        if self.spec().image_family() == "AzureLinux" {
            "AzureLinux"
        } else {
            "Ubuntu"
        }
    }

    /// Subnet of the nodes.
    pub(crate) fn subnet_id<'a>(&'a self, network: &'a Network) -> &'a str {
        self.spec()
            .vnet_subnet_id
            .as_deref()
            .unwrap_or(&network.vnet_subnet_id)
    }

    /// What the list of instance types depends on.
    pub(crate) fn key(&self, network: &Network) -> ClassKey {
        ClassKey {
            is_azure_linux: self.os_sku() == "AzureLinux",
            os_disk_gb: i64::from(self.spec().os_disk_size_gb()),
            max_pods: self.max_pods(network),
            needs: Needs {
                encryption_at_host: self.encrypts_at_host(),
                trusted_launch: self.spec().is_trusted_launch(),
                gpu_driver: self.spec().installs_gpu_driver(),
                artifact_streaming: self.streams_artifacts(),
                fips: self.spec().is_fips(),
                local_dns: self.is_local_dns_enabled(),
            },
        }
    }
}

/// Pods per node when the class does not say.
pub(crate) fn default_max_pods(network: &Network) -> i64 {
    match (network.plugin.as_str(), network.plugin_mode.as_str()) {
        ("none", _) | ("azure", "overlay") => 250,
        ("azure", "") => 30,
        _ => 110,
    }
}

/// What the list of instance types depends on: classes with equal keys share one list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassKey {
    pub(crate) is_azure_linux: bool,
    pub(crate) os_disk_gb: i64,
    pub(crate) max_pods: i64,
    pub(crate) needs: Needs,
}

/// What a machine must be capable of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::struct_excessive_bools, reason = "independent needs, by name")]
pub(crate) struct Needs {
    pub(crate) encryption_at_host: bool,
    pub(crate) trusted_launch: bool,
    pub(crate) gpu_driver: bool,
    pub(crate) artifact_streaming: bool,
    pub(crate) fips: bool,
    pub(crate) local_dns: bool,
}
