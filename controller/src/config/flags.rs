//! The command line. Everything is optional here, so that [`super::parse`] can report all that is
//! missing or wrong at once.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command as Cli};

use super::parse::{self, ConfigError};
use super::{Config, show};

/// A setting: flag, environment variable, default, meaning.
pub(super) struct Setting {
    pub(super) flag: &'static str,
    pub(super) env: &'static str,
    pub(super) default: Option<&'static str>,
    pub(super) secret: bool,
    pub(super) help: &'static str,
}

const fn setting(
    flag: &'static str,
    env: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting {
        flag,
        env,
        default,
        secret: false,
        help,
    }
}

const fn secret(flag: &'static str, env: &'static str, help: &'static str) -> Setting {
    Setting {
        flag,
        env,
        default: None,
        secret: true,
        help,
    }
}

/// Every setting there is.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "cluster-name",
        "CLUSTER_NAME",
        None,
        "name of the managed cluster",
    ),
    setting(
        "cluster-endpoint",
        "CLUSTER_ENDPOINT",
        None,
        "URL of the API server, for nodes",
    ),
    setting(
        "cluster-ca-bundle",
        "CLUSTER_CA_BUNDLE",
        None,
        "certificate authority of the API server, PEM or base64 of it; default: as in kubeconfig or pod",
    ),
    secret(
        "kubelet-bootstrap-token",
        "KUBELET_BOOTSTRAP_TOKEN",
        "token nodes join with, id.secret",
    ),
    secret(
        "ssh-public-key",
        "SSH_PUBLIC_KEY",
        "public key of the nodes' administrator",
    ),
    setting(
        "linux-admin-username",
        "LINUX_ADMIN_USERNAME",
        Some("azureuser"),
        "the administrator's name",
    ),
    setting(
        "vnet-subnet-id",
        "VNET_SUBNET_ID",
        None,
        "subnet of the nodes, as an ARM id",
    ),
    setting(
        "vnet-guid",
        "VNET_GUID",
        None,
        "resourceGuid of the virtual network; default: asked of Azure",
    ),
    setting(
        "node-resource-group",
        "AZURE_NODE_RESOURCE_GROUP",
        None,
        "resource group of the nodes (MC_…)",
    ),
    setting(
        "vm-memory-overhead-percent",
        "VM_MEMORY_OVERHEAD_PERCENT",
        Some("0.075"),
        "share of a machine's memory that the node never sees",
    ),
    setting(
        "network-plugin",
        "NETWORK_PLUGIN",
        Some("azure"),
        "azure or none",
    ),
    setting(
        "network-plugin-mode",
        "NETWORK_PLUGIN_MODE",
        Some("overlay"),
        "overlay or empty",
    ),
    setting(
        "network-policy",
        "NETWORK_POLICY",
        Some(""),
        "policy engine of the cluster",
    ),
    setting(
        "network-dataplane",
        "NETWORK_DATAPLANE",
        Some("cilium"),
        "azure, cilium or empty",
    ),
    setting(
        "dns-service-ip",
        "DNS_SERVICE_IP",
        Some("10.0.0.10"),
        "cluster IP of the DNS service",
    ),
    setting(
        "node-identities",
        "NODE_IDENTITIES",
        Some(""),
        "identities of the nodes, ARM ids, comma-separated",
    ),
    setting(
        "kubelet-identity-client-id",
        "KUBELET_IDENTITY_CLIENT_ID",
        Some(""),
        "client id of the kubelet's identity",
    ),
    setting(
        "provision-mode",
        "PROVISION_MODE",
        Some("aksscriptless"),
        "aksscriptless",
    ),
    setting(
        "node-osdisk-diskencryptionset-id",
        "NODE_OSDISK_DISKENCRYPTIONSET_ID",
        None,
        "disk encryption set of OS disks, as an ARM id",
    ),
    setting(
        "additional-tags",
        "ADDITIONAL_TAGS",
        Some(""),
        "tags for every resource, k=v,k2=v2",
    ),
    setting(
        "arm-cloud",
        "ARM_CLOUD",
        None,
        "name of the cloud; default AzurePublicCloud",
    ),
    setting(
        "azure-environment-filepath",
        "AZURE_ENVIRONMENT_FILEPATH",
        None,
        "JSON file with resourceManagerEndpoint, activeDirectoryEndpoint, tokenAudience; excludes arm-cloud",
    ),
    setting(
        "retail-prices-url",
        "RETAIL_PRICES_URL",
        None,
        "base URL of the Retail Prices API",
    ),
    setting("location", "LOCATION", None, "region"),
    setting(
        "arm-resource-group",
        "ARM_RESOURCE_GROUP",
        None,
        "resource group of the managed cluster",
    ),
    setting(
        "azure-subscription-id",
        "AZURE_SUBSCRIPTION_ID",
        None,
        "subscription; wins over arm-subscription-id",
    ),
    setting(
        "arm-subscription-id",
        "ARM_SUBSCRIPTION_ID",
        None,
        "subscription",
    ),
    setting(
        "azure-tenant-id",
        "AZURE_TENANT_ID",
        None,
        "directory; wins over arm-tenant-id",
    ),
    setting("arm-tenant-id", "ARM_TENANT_ID", None, "directory"),
    setting(
        "azure-client-id",
        "AZURE_CLIENT_ID",
        None,
        "application or managed identity to sign in as",
    ),
    secret("azure-client-secret", "AZURE_CLIENT_SECRET", "its secret"),
    setting(
        "azure-federated-token-file",
        "AZURE_FEDERATED_TOKEN_FILE",
        None,
        "projected token for workload identity",
    ),
    setting(
        "azure-authority-host",
        "AZURE_AUTHORITY_HOST",
        None,
        "base URL of Entra ID; default: the cloud's",
    ),
    setting(
        "azure-pod-identity-authority-host",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        Some("http://169.254.169.254"),
        "base URL of the instance metadata service",
    ),
    setting(
        "identity-endpoint",
        "IDENTITY_ENDPOINT",
        None,
        "managed identity endpoint in App Service's form",
    ),
    secret(
        "identity-header",
        "IDENTITY_HEADER",
        "its X-IDENTITY-HEADER",
    ),
    setting(
        "kubeconfig",
        "KUBECONFIG",
        None,
        "kubeconfig of the controller; default: the pod's service account",
    ),
    setting(
        "system-namespace",
        "SYSTEM_NAMESPACE",
        Some("kube-system"),
        "namespace the controller runs in",
    ),
    setting(
        "leader-election-name",
        "LEADER_ELECTION_NAME",
        Some("karpenter-leader-election"),
        "name of the Lease",
    ),
    setting(
        "leader-election-namespace",
        "LEADER_ELECTION_NAMESPACE",
        None,
        "its namespace; default: system-namespace",
    ),
    setting(
        "disable-leader-election",
        "DISABLE_LEADER_ELECTION",
        Some("false"),
        "true or false",
    ),
    setting(
        "pod-name",
        "POD_NAME",
        None,
        "how this replica signs its Lease; default: the host's name",
    ),
    setting("hostname", "HOSTNAME", None, "name of the host"),
    setting(
        "metrics-port",
        "METRICS_PORT",
        Some("8080"),
        "port of /metrics; 0 serves none",
    ),
    setting(
        "health-probe-port",
        "HEALTH_PROBE_PORT",
        Some("8081"),
        "port of /healthz and /readyz; 0 serves none",
    ),
    setting(
        "log-level",
        "LOG_LEVEL",
        Some("info"),
        "debug, info or error",
    ),
    setting(
        "batch-idle-duration",
        "BATCH_IDLE_DURATION",
        Some("1s"),
        "a pause this long ends a batch of pods",
    ),
    setting(
        "batch-max-duration",
        "BATCH_MAX_DURATION",
        Some("10s"),
        "longest batch of pods",
    ),
    setting(
        "preference-policy",
        "PREFERENCE_POLICY",
        Some("Respect"),
        "Respect or Ignore",
    ),
    setting(
        "min-values-policy",
        "MIN_VALUES_POLICY",
        Some("Strict"),
        "Strict or BestEffort",
    ),
    setting(
        "feature-gates",
        "FEATURE_GATES",
        Some(""),
        "Gate=true,Other=false; unnamed gates keep their default",
    ),
    setting(
        "clock-scale",
        "CLOCK_SCALE",
        Some("1"),
        "how much faster than real time to run; only against loopback endpoints",
    ),
    setting(
        "clock-epoch",
        "CLOCK_EPOCH",
        None,
        "real time, RFC 3339, at which the faster clock was right; default: when the process starts",
    ),
];

/// Settings as given, before validation.
#[derive(Clone, Debug)]
pub struct Flags(ArgMatches);

impl Flags {
    /// The value given or the default; an empty value counts as none where there is no default.
    pub(super) fn get(&self, flag: &str) -> Option<&str> {
        let value = self.0.get_one::<String>(flag).map(String::as_str);
        value.filter(|text| !text.is_empty())
    }

    /// Where the value comes from.
    pub(super) fn origin(&self, flag: &str) -> &'static str {
        match self.0.value_source(flag) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            Some(ValueSource::DefaultValue) => "default",
            _ => "unset",
        }
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Run with this configuration.
    Run(Box<Loaded>),
    /// Print this and stop.
    Print(String),
}

/// A validated configuration, and where to find the API server.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Kubeconfig file; `None`: the pod's service account.
    pub kubeconfig: Option<std::path::PathBuf>,
}

/// Reads the command line and the environment.
///
/// # Errors
///
/// A usage error of the command line, or everything that is wrong with the settings.
pub fn load(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, LoadError> {
    let matches = cli()
        .try_get_matches_from(arguments)
        .map_err(LoadError::Usage)?;
    if let Some(("config", config)) = matches.subcommand()
        && let Some(("show", wanted)) = config.subcommand()
    {
        let with_origin = wanted.get_flag("origin");
        return Ok(Command::Print(show(&Flags(matches), with_origin)));
    }
    let flags = Flags(matches);
    let config = parse::build(&flags).map_err(LoadError::Settings)?;
    let kubeconfig = flags.get("kubeconfig").map(Into::into);
    Ok(Command::Run(Box::new(Loaded { config, kubeconfig })))
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The command line is not understood, or help was asked for.
    #[error(transparent)]
    Usage(clap::Error),
    /// Settings are missing or wrong.
    #[error(transparent)]
    Settings(ConfigError),
}

pub(super) fn cli() -> Cli {
    let mut cli = Cli::new("nap-controller")
        .about("Karpenter-compatible node auto-provisioner for AKS")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand(
            Cli::new("config")
                .about("settings")
                .subcommand_required(true)
                .subcommand(
                    Cli::new("show")
                        .about("print every setting with its value; secrets are hidden")
                        .arg(
                            Arg::new("origin")
                                .long("origin")
                                .action(ArgAction::SetTrue)
                                .help("also print where each value comes from"),
                        ),
                ),
        );
    for setting in SETTINGS {
        let mut arg = Arg::new(setting.flag)
            .long(setting.flag)
            .env(setting.env)
            .hide_env_values(true)
            .value_name("VALUE")
            .allow_hyphen_values(true)
            .global(true)
            .help(setting.help);
        if let Some(default) = setting.default {
            arg = arg.default_value(default);
        }
        if setting.flag == "location" {
            arg = arg.visible_alias("region");
        }
        cli = cli.arg(arg);
    }
    cli
}

#[cfg(test)]
pub(super) fn flags_from(arguments: &[&str]) -> Flags {
    let arguments = std::iter::once("nap-controller").chain(arguments.iter().copied());
    Flags(
        cli()
            .try_get_matches_from(arguments)
            .expect("the test's arguments are well-formed"),
    )
}
