//! The schemas of Kubernetes' built-in kinds as a data file of the API server.
//!
//! They come from the OpenAPI types of `k8s-openapi`. Deriving them where they are used would compile
//! a schema for every Kubernetes type into every binary.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use k8s_openapi::api;
use k8s_openapi::schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

const FILE: &str = "fake-apiserver/data/schemas-1.37.json";

/// Writes the file.
pub(crate) fn generate(root: &Path) -> anyhow::Result<Vec<String>> {
    let path = root.join(FILE);
    std::fs::write(&path, text()).with_context(|| format!("writing {}", path.display()))?;
    Ok(Vec::new())
}

/// A complaint when the file is not what the types yield.
pub(crate) fn check(root: &Path) -> Option<String> {
    let committed = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
    (committed != text()).then(|| format!("{FILE}: out of date; run `cargo xtask gen-schemas`"))
}

/// `kinds` names the definition of a kind, `definitions` has one per line.
fn text() -> String {
    let mut kinds = BTreeMap::new();
    let mut definitions = BTreeMap::new();
    for (group, kind, mut document) in documents() {
        let nested: Map<String, Value> = document
            .remove("$defs")
            .and_then(|defs| defs.as_object().cloned())
            .unwrap_or_default();
        definitions.extend(nested);
        document.remove("$schema");
        let title = document.remove("title").unwrap_or_default();
        let name = title.as_str().unwrap_or_default().to_owned();
        kinds.insert(format!("{group}/{kind}"), Value::from(name.as_str()));
        definitions.insert(name, Value::Object(document));
    }
    let mut text = String::from("{\"kinds\":{\n");
    lines(&mut text, &kinds);
    text.push_str("},\"definitions\":{\n");
    lines(&mut text, &definitions);
    text.push_str("}}\n");
    text
}

fn lines(text: &mut String, map: &BTreeMap<String, Value>) {
    for (index, (name, value)) in map.iter().enumerate() {
        let comma = if index + 1 == map.len() { "" } else { "," };
        let name = Value::from(name.as_str());
        writeln!(text, "{name}:{value}{comma}").expect("strings take everything");
    }
}

fn of<T: JsonSchema>() -> Map<String, Value> {
    let schema = SchemaGenerator::default().into_root_schema_for::<T>();
    schema.to_value().as_object().cloned().unwrap_or_default()
}

/// One row per kind: group, kind, document.
fn documents() -> Vec<(&'static str, &'static str, Map<String, Value>)> {
    let mut rows = Vec::new();
    macro_rules! kinds {
        ($($group:literal: $module:path { $($kind:ident)* })*) => {$($({
            use $module as module;
            rows.push(($group, stringify!($kind), of::<module::$kind>()));
        })*)*};
    }
    kinds! {
        "": api::core::v1 {
            Binding ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume
            PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret
            Service ServiceAccount
        }
        "apps": api::apps::v1 { ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet }
        "authentication.k8s.io": api::authentication::v1 { SelfSubjectReview TokenRequest TokenReview }
        "authorization.k8s.io": api::authorization::v1 {
            LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview
        }
        "autoscaling": api::autoscaling::v2 { HorizontalPodAutoscaler }
        "batch": api::batch::v1 { CronJob Job }
        "certificates.k8s.io": api::certificates::v1 { CertificateSigningRequest }
        "coordination.k8s.io": api::coordination::v1 { Lease }
        "discovery.k8s.io": api::discovery::v1 { EndpointSlice }
        "events.k8s.io": api::events::v1 { Event }
        "flowcontrol.apiserver.k8s.io": api::flowcontrol::v1 { FlowSchema PriorityLevelConfiguration }
        "networking.k8s.io": api::networking::v1 {
            IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR
        }
        "node.k8s.io": api::node::v1 { RuntimeClass }
        "policy": api::policy::v1 { Eviction PodDisruptionBudget }
        "rbac.authorization.k8s.io": api::rbac::v1 { ClusterRole ClusterRoleBinding Role RoleBinding }
        "resource.k8s.io": api::resource::v1 {
            DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice
        }
        "scheduling.k8s.io": api::scheduling::v1 { PriorityClass }
        "storage.k8s.io": api::storage::v1 {
            CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass
        }
        "admissionregistration.k8s.io": api::admissionregistration::v1 {
            MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding
            ValidatingWebhookConfiguration
        }
        "apiextensions.k8s.io": k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 {
            CustomResourceDefinition
        }
        "apiregistration.k8s.io": k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 {
            APIService
        }
    }
    rows
}
