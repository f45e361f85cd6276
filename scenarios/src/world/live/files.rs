//! What other programs need to find the emulation, as files in one folder.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use fake_apiserver::{Credentials, kubeconfig};
use jiff::Timestamp;
use serde_json::json;

use crate::world::controller::{CLIENT_ID, CLIENT_SECRET};
use crate::world::live::folder::{AZURE, Folder};
use crate::world::live::serve::Served;
use crate::world::setup::bootstrap_token;
use crate::world::site::{Site, Tokens};

/// What `env.sh` exports, so that it can be taken back.
pub const EXPORTS: [&str; 14] = [
    "KUBECONFIG",
    "AZURE_CONFIG_DIR",
    "AZURE_CORE_INSTANCE_DISCOVERY",
    "AZURE_CORE_COLLECT_TELEMETRY",
    "AZURE_CORE_SURVEY_MESSAGE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_TENANT_ID",
    "AZURE_SUBSCRIPTION_ID",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "NAP_ARM_ENDPOINT",
    "NAP_STATE_DIR",
    CLIENTS,
];

/// The folder that `env.sh` put first on `PATH`.
const CLIENTS: &str = "NAP_CLIENTS";

/// What `nap env --unset` prints: the exports are taken back, and `PATH` is as it was.
pub fn unset() -> String {
    format!(
        "[ -z \"${{{CLIENTS}-}}\" ] || export PATH=\"${{PATH#\"${CLIENTS}:\"}}\"\nunset {}\n",
        EXPORTS.join(" ")
    )
}

/// Where systems keep the certificate authorities they trust.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The people's service principal.
const PEOPLE_CLIENT_ID: &str = "00000000-0000-0000-0000-0000000000c1";

/// What is in the folder.
#[derive(Debug)]
pub struct Files {
    folder: Folder,
    kubeconfig: String,
    /// URL of ARM.
    pub arm_url: String,
    /// URL of the API server.
    pub kube_url: String,
}

/// What goes when the emulation ends. The authority and the bundle with it stay: programs that
/// were given them go on to trust the next emulation in the same folder.
const OURS: [&str; 5] = [
    "env.sh",
    "kubeconfig",
    "controller.kubeconfig",
    "azure-environment.json",
    "az-login.json",
];

impl Files {
    /// Writes everything.
    pub(crate) fn write(
        folder: Folder,
        site: &Site,
        served: &Served,
        tokens: &Tokens,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(folder.path().join(AZURE))?;
        let cluster = &site.cluster.name;
        let ca = site.api.ca();
        let config = |who: &Credentials| kubeconfig(cluster, &served.kube_url, Some(ca.pem()), who);
        let files = Self {
            kubeconfig: config(&Credentials::Certificate(served.admin.clone())),
            arm_url: served.arm_url.clone(),
            kube_url: served.kube_url.clone(),
            folder,
        };
        let cloud = site.arm.with_cloud(|cloud, _| cloud.config().clone());
        let put = |name: &str, text: &str| files.folder.put(name, text);
        put("ca.pem", ca.pem())?;
        put("ca-bundle.pem", &format!("{}{}", system_bundle(), ca.pem()))?;
        put("kubeconfig", &files.kubeconfig)?;
        let controller = Credentials::Token(tokens.controller.clone());
        put("controller.kubeconfig", &config(&controller))?;
        let environment = json!({
            "resourceManagerEndpoint": files.arm_url,
            "activeDirectoryEndpoint": files.arm_url,
            "tokenAudience": "https://management.core.windows.net/",
        });
        put("azure-environment.json", &environment.to_string())?;
        let login = json!({
            "endpoint": files.arm_url,
            "clientId": PEOPLE_CLIENT_ID,
            "clientSecret": CLIENT_SECRET,
            "tenantId": cloud.tenant_id,
        });
        put("az-login.json", &login.to_string())?;
        put(
            "env.sh",
            &files.exports(&cloud.tenant_id, &cloud.subscription_id),
        )?;
        Ok(files)
    }

    fn exports(&self, tenant: &str, subscription: &str) -> String {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let bundle = path("ca-bundle.pem");
        let values = [
            ("KUBECONFIG", path("kubeconfig")),
            ("AZURE_CONFIG_DIR", path(AZURE)),
            // Entra's own hosts are not to be asked about ours.
            ("AZURE_CORE_INSTANCE_DISCOVERY", "false".to_owned()),
            ("AZURE_CORE_COLLECT_TELEMETRY", "false".to_owned()),
            ("AZURE_CORE_SURVEY_MESSAGE", "false".to_owned()),
            ("AZURE_AUTHORITY_HOST", self.arm_url.clone()),
            ("AZURE_TENANT_ID", tenant.to_owned()),
            ("AZURE_SUBSCRIPTION_ID", subscription.to_owned()),
            ("REQUESTS_CA_BUNDLE", bundle.clone()),
            ("SSL_CERT_FILE", bundle.clone()),
            ("CURL_CA_BUNDLE", bundle),
            ("NAP_ARM_ENDPOINT", self.arm_url.clone()),
            ("NAP_STATE_DIR", self.folder.path().display().to_string()),
        ];
        let mut lines: Vec<String> = values
            .iter()
            .map(|(name, value)| format!("export {name}={}\n", quoted(value)))
            .collect();
        if let Some(clients) = clients() {
            let clients = quoted(&clients.display().to_string());
            lines.push(format!(
                "case \":$PATH:\" in *:{clients}:*) ;; *) export {CLIENTS}={clients} \
                 PATH={clients}:\"$PATH\" ;; esac\n"
            ));
        }
        lines.concat()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig_text(&self) -> String {
        self.kubeconfig.clone()
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The controller's kubeconfig.
    pub fn controller_kubeconfig(&self) -> PathBuf {
        self.folder.path().join("controller.kubeconfig")
    }

    /// The system's authorities and ours.
    pub fn ca_bundle(&self) -> PathBuf {
        self.folder.path().join("ca-bundle.pem")
    }

    /// The environment of a controller process.
    pub fn controller_environment(
        &self,
        site: &Site,
        (epoch, scale): (Timestamp, f64),
        settings: &BTreeMap<String, String>,
    ) -> Vec<(String, String)> {
        let cloud = site.arm.with_cloud(|cloud, _| cloud.config().clone());
        let cluster = &site.cluster;
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let mut environment: BTreeMap<String, String> = [
            ("KUBECONFIG", path("controller.kubeconfig")),
            ("SSL_CERT_FILE", path("ca-bundle.pem")),
            ("AZURE_ENVIRONMENT_FILEPATH", path("azure-environment.json")),
            ("RETAIL_PRICES_URL", self.arm_url.clone()),
            ("CLUSTER_NAME", cluster.name.clone()),
            ("CLUSTER_ENDPOINT", self.kube_url.clone()),
            ("KUBELET_BOOTSTRAP_TOKEN", bootstrap_token()),
            ("SSH_PUBLIC_KEY", SSH_PUBLIC_KEY.to_owned()),
            ("VNET_SUBNET_ID", cluster.subnet_id.clone()),
            ("VNET_GUID", cluster.vnet_guid.clone()),
            (
                "AZURE_NODE_RESOURCE_GROUP",
                cluster.node_resource_group.clone(),
            ),
            ("ARM_RESOURCE_GROUP", cluster.resource_group.clone()),
            ("LOCATION", cloud.region.clone()),
            ("AZURE_SUBSCRIPTION_ID", cloud.subscription_id.clone()),
            ("AZURE_TENANT_ID", cloud.tenant_id.clone()),
            ("AZURE_CLIENT_ID", CLIENT_ID.to_owned()),
            ("AZURE_CLIENT_SECRET", CLIENT_SECRET.to_owned()),
            ("METRICS_PORT", "0".to_owned()),
            ("HEALTH_PROBE_PORT", "0".to_owned()),
            ("LOG_LEVEL", "info".to_owned()),
            ("CLOCK_SCALE", scale.to_string()),
            ("CLOCK_EPOCH", epoch.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
        environment.extend(settings.clone());
        environment.into_iter().collect()
    }

    /// Takes away what points at this emulation.
    pub fn remove(&self) {
        self.folder.remove(&OURS);
    }
}

/// Azure requires a key; nobody holds the private half of this one.
const SSH_PUBLIC_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA nap";

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

fn system_bundle() -> String {
    let found = SYSTEM_BUNDLES
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    let mut text = found.unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Clients that `ci/clients` installs: in the working directory's `.venv`, or in that of the
/// checkout the program was built from.
fn clients() -> Option<PathBuf> {
    let here = std::env::current_dir()
        .ok()
        .map(|folder| folder.join(".venv/bin"));
    let built = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(|root| root.join(".venv/bin"));
    [here, built]
        .into_iter()
        .flatten()
        .find(|folder| folder.is_dir())
}

/// `$XDG_STATE_HOME/nap/dev`, by default below `~/.local/state`.
pub fn default_state_dir(
    xdg_state_home: Option<PathBuf>,
    home: Option<PathBuf>,
) -> Option<PathBuf> {
    let base = xdg_state_home
        .filter(|path| path.is_absolute())
        .or_else(|| home.map(|home| home.join(".local/state")))?;
    Some(base.join("nap/dev"))
}
