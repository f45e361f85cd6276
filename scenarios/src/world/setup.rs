//! What is installed before a run begins: custom resources, the controller's rules, the bootstrap
//! token, the add-on's default objects, the scenario's own manifests.

use fake_arm_cloud::ConfigError;
use serde_json::{Value, json};

use crate::format::{FormatError, Manifest, Source};
use crate::world::client::{Client, ClientError};

/// The rules that ship with the controller; it runs under exactly these.
pub const RBAC: &str = include_str!("../../../ci/deploy/rbac.yaml");

/// Id of the token nodes join with.
const TOKEN_ID: &str = "nap123";
/// Its secret.
const TOKEN_SECRET: &str = "0123456789abcdef";

/// The bootstrap token as kubelets present it.
pub fn bootstrap_token() -> String {
    format!("{TOKEN_ID}.{TOKEN_SECRET}")
}

/// Why a world could not be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The scenario asks for something that is refused.
    #[error("{}:{}:{}: {}", .0.file, .0.place.line, .0.place.column, .0.message)]
    Scenario(Box<FormatError>),
    /// An object that the harness itself installs was refused.
    #[error("{what} cannot be installed: {source}")]
    Object {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: ClientError,
    },
}

impl SetupError {
    /// The cloud does not accept what the scenario says about it.
    pub(crate) fn cloud(source: &Source, error: &ConfigError) -> Self {
        let path = format!("azure.{}", error.field);
        Self::Scenario(Box::new(source.error(&path, error.to_string())))
    }
}

/// Installs custom resource definitions and the controller's rules.
///
/// # Errors
///
/// When the server refuses one of them.
pub async fn install_controller(client: &mut Client, rbac: &str) -> Result<(), SetupError> {
    for crd in controller_api::crds() {
        let mut value = serde_json::to_value(crd).expect("a CRD is JSON");
        value["apiVersion"] = json!("apiextensions.k8s.io/v1");
        value["kind"] = json!("CustomResourceDefinition");
        install(client, &value).await?;
    }
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(rbac).expect("the shipped rules are YAML");
    for object in documents.iter().filter(|document| !document.is_null()) {
        install(client, object).await?;
    }
    Ok(())
}

/// Installs the token that new nodes join with.
///
/// # Errors
///
/// When the server refuses it.
pub async fn install_bootstrap_token(client: &mut Client) -> Result<(), SetupError> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": format!("bootstrap-token-{TOKEN_ID}"), "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": TOKEN_ID,
            "token-secret": TOKEN_SECRET,
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": "system:bootstrappers:karpenter:default-node-token",
        },
    });
    install(client, &secret).await
}

/// Installs what the add-on installs when it manages the default pools (Azure documents the names
/// and shapes; the objects follow Azure/karpenter-provider-azure `examples/v1`).
///
/// # Errors
///
/// When the server refuses one of them.
pub async fn install_default_pools(client: &mut Client) -> Result<(), SetupError> {
    let class = json!({
        "apiVersion": "karpenter.azure.com/v1beta1",
        "kind": "AKSNodeClass",
        "metadata": {"name": "default"},
        "spec": {"imageFamily": "Ubuntu"},
    });
    install(client, &class).await?;
    install(client, &default_pool("default", &json!({}), &json!([]))).await?;
    let system = default_pool(
        "system-surge",
        &json!({"kubernetes.azure.com/mode": "system"}),
        &json!([{"key": "CriticalAddonsOnly", "value": "true", "effect": "NoSchedule"}]),
    );
    install(client, &system).await
}

fn default_pool(name: &str, labels: &Value, taints: &Value) -> Value {
    json!({
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {
            "disruption": {"consolidationPolicy": "WhenEmptyOrUnderutilized", "consolidateAfter": "0s"},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeClassRef": {
                        "group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "default",
                    },
                    "taints": taints,
                    "requirements": [
                        {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
                        {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
                        {"key": "karpenter.sh/capacity-type", "operator": "In",
                         "values": ["on-demand"]},
                        {"key": "karpenter.azure.com/sku-family", "operator": "In",
                         "values": ["D"]},
                    ],
                },
            },
        },
    })
}

async fn install(client: &mut Client, object: &Value) -> Result<(), SetupError> {
    client
        .apply(object)
        .await
        .map(drop)
        .map_err(|source| SetupError::Object {
            what: format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', ""),
            source,
        })
}

/// Applies the scenario's own objects; a refusal points at the place in the file.
///
/// # Errors
///
/// What the server said, where.
pub async fn apply_manifests(
    client: &mut Client,
    source: &Source,
    manifests: &[Manifest],
) -> Result<(), SetupError> {
    for manifest in manifests {
        client
            .apply(&manifest.object)
            .await
            .map_err(|error| SetupError::Scenario(Box::new(located(source, manifest, &error))))?;
    }
    Ok(())
}

fn located(source: &Source, manifest: &Manifest, error: &ClientError) -> FormatError {
    let field = match error {
        ClientError::Refused {
            field: Some(field), ..
        } => field.trim_start_matches('.'),
        _ => "",
    };
    let inline = manifest.file.is_none() && !field.is_empty();
    let path = if inline {
        format!("{}.{field}", manifest.path)
    } else {
        manifest.path.clone()
    };
    let mut message = error.to_string();
    if let Some(file) = &manifest.file {
        message = format!("{}: {message}", file.display());
    }
    source.error(&path, message)
}
