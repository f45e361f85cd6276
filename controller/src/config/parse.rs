//! From texts to a validated [`Config`]; every problem is reported, not only the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use controller_api::duration::parse_go_duration;
use controller_azure::{Cluster, Credential, Endpoints, Machines, Network, Options};

use super::check::check;
use super::flags::Flags;
use super::{Batch, Config, FeatureGates, LeaderElection, MinValuesPolicy, PreferencePolicy};

/// What is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// One line each: the setting, what is wrong, what would be right.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid settings:")?;
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

/// Collects problems while values are read.
struct Reader<'a> {
    flags: &'a Flags,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn problem(&mut self, flag: &str, what: impl fmt::Display) {
        self.problems.push(format!("{flag}: {what}"));
    }

    fn text(&self, flag: &str) -> String {
        self.flags.get(flag).unwrap_or_default().to_owned()
    }

    fn required(&mut self, flag: &str) -> String {
        let text = self.text(flag);
        if text.is_empty() {
            self.problem(
                flag,
                format_args!("is required: set --{flag} or its environment variable"),
            );
        }
        text
    }

    /// The first of two spellings that is set.
    fn either(&mut self, first: &str, second: &str) -> String {
        match self.flags.get(first) {
            Some(text) => text.to_owned(),
            None => self.required(second),
        }
    }

    fn number<T: FromStr + Default>(&mut self, flag: &str, what: &str) -> T {
        let text = self.text(flag);
        text.parse().unwrap_or_else(|_| {
            self.problem(flag, format_args!("\"{text}\" is not {what}"));
            T::default()
        })
    }

    fn optional<T: FromStr>(&mut self, flag: &str, what: &str) -> Option<T> {
        let text = self.flags.get(flag)?.to_owned();
        let value = text.parse().ok();
        if value.is_none() {
            self.problem(flag, format_args!("\"{text}\" is not {what}"));
        }
        value
    }

    fn boolean(&mut self, flag: &str) -> bool {
        match self.text(flag).as_str() {
            "true" => true,
            "false" | "" => false,
            other => {
                self.problem(flag, format_args!("\"{other}\" is neither true nor false"));
                false
            }
        }
    }

    fn duration(&mut self, flag: &str) -> Duration {
        let text = self.text(flag);
        parse_go_duration(&text).unwrap_or_else(|error| {
            self.problem(flag, error);
            Duration::ZERO
        })
    }

    /// The named choice; the first one where the name is none.
    fn choice<T: Copy>(&mut self, flag: &str, choices: &[(&str, T); 2]) -> T {
        let text = self.text(flag);
        let found = choices.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.problem(
                flag,
                format_args!("\"{text}\" is none of {}", names.join(", ")),
            );
        }
        found.unwrap_or(&choices[0]).1
    }
}

pub(super) fn build(flags: &Flags) -> Result<Config, ConfigError> {
    let mut reader = Reader {
        flags,
        problems: Vec::new(),
    };
    let system_namespace = reader.text("system-namespace");
    let config = Config {
        azure: azure(&mut reader),
        leader_election: leader_election(&mut reader, &system_namespace),
        batch: Batch {
            idle: reader.duration("batch-idle-duration"),
            max: reader.duration("batch-max-duration"),
        },
        preference_policy: reader.choice(
            "preference-policy",
            &[
                ("Respect", PreferencePolicy::Respect),
                ("Ignore", PreferencePolicy::Ignore),
            ],
        ),
        min_values_policy: reader.choice(
            "min-values-policy",
            &[
                ("Strict", MinValuesPolicy::Strict),
                ("BestEffort", MinValuesPolicy::BestEffort),
            ],
        ),
        feature_gates: feature_gates(&mut reader),
        system_namespace,
        kube_endpoint: None,
        log_level: reader.text("log-level"),
        metrics_port: reader.number("metrics-port", "a port"),
        health_probe_port: reader.number("health-probe-port", "a port"),
        clock_scale: reader.number("clock-scale", "a number"),
        clock_epoch: reader.optional("clock-epoch", "a time such as 2026-01-31T12:00:00Z"),
    };
    let mut problems = reader.problems;
    // A missing value was reported as missing; its further faults would only be noise.
    if problems.is_empty()
        && let Err(error) = check(&config)
    {
        problems.extend(error.problems);
    }
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError { problems })
    }
}

fn azure(reader: &mut Reader<'_>) -> Options {
    let tenant_id = {
        let first = reader.text("azure-tenant-id");
        if first.is_empty() {
            reader.text("arm-tenant-id")
        } else {
            first
        }
    };
    let endpoints = endpoints(reader);
    Options {
        credential: credential(reader, &tenant_id),
        endpoints,
        subscription_id: reader.either("azure-subscription-id", "arm-subscription-id"),
        tenant_id,
        region: reader.required("location").to_lowercase().replace(' ', ""),
        cluster_resource_group: reader.required("arm-resource-group"),
        node_resource_group: reader.required("node-resource-group"),
        cluster: Cluster {
            name: reader.required("cluster-name"),
            endpoint: reader.required("cluster-endpoint"),
            ca_pem: ca(reader),
            bootstrap_token: reader.required("kubelet-bootstrap-token"),
        },
        network: Network {
            plugin: reader.text("network-plugin"),
            plugin_mode: reader.text("network-plugin-mode"),
            dataplane: reader.text("network-dataplane"),
            policy: reader.text("network-policy"),
            dns_service_ip: reader.text("dns-service-ip"),
            vnet_subnet_id: reader.required("vnet-subnet-id"),
            vnet_guid: reader.text("vnet-guid"),
        },
        machines: machines(reader),
    }
}

fn machines(reader: &mut Reader<'_>) -> Machines {
    let identities = reader.text("node-identities");
    Machines {
        ssh_public_key: reader.required("ssh-public-key"),
        admin_username: reader.text("linux-admin-username"),
        kubelet_identity_client_id: reader.text("kubelet-identity-client-id"),
        node_identities: list(&identities).map(str::to_owned).collect(),
        memory_overhead: reader.number("vm-memory-overhead-percent", "a number"),
        additional_tags: tags(reader),
        disk_encryption_set_id: reader
            .flags
            .get("node-osdisk-diskencryptionset-id")
            .map(str::to_owned),
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn ca(reader: &mut Reader<'_>) -> String {
    let text = reader.text("cluster-ca-bundle");
    if text.is_empty() || text.contains("-----BEGIN") {
        return text;
    }
    let compact: String = text.split_whitespace().collect();
    let decoded = controller_azure::decode_base64(&compact);
    match decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(pem) if pem.contains("-----BEGIN") => pem,
        _ => {
            reader.problem("cluster-ca-bundle", "is neither PEM nor base64 of PEM");
            String::new()
        }
    }
}

fn tags(reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let text = reader.text("additional-tags");
    let mut tags = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for item in list(&text) {
        let Some((key, value)) = item.split_once('=') else {
            reader.problem("additional-tags", format_args!("\"{item}\" lacks a \"=\""));
            continue;
        };
        // Azure's rules for tags; a slash would be replaced and is refused here, as upstream does.
        if key.is_empty()
            || key.chars().count() > 512
            || key.contains(['<', '>', '%', '&', '\\', '?', '/'])
        {
            reader.problem(
                "additional-tags",
                format_args!("key \"{key}\" must have 1 to 512 characters, none of <>%&\\?/"),
            );
        } else if value.chars().count() > 256 {
            reader.problem(
                "additional-tags",
                format_args!("value of \"{key}\" is longer than 256 characters"),
            );
        } else if !seen.insert(key.to_lowercase()) {
            reader.problem(
                "additional-tags",
                format_args!("key \"{key}\" appears twice"),
            );
        }
        tags.insert(key.to_owned(), value.to_owned());
    }
    tags
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvironmentFile {
    resource_manager_endpoint: String,
    active_directory_endpoint: String,
    token_audience: String,
}

fn endpoints(reader: &mut Reader<'_>) -> Endpoints {
    let mut endpoints = match reader.flags.get("azure-environment-filepath") {
        None => {
            let cloud = reader.flags.get("arm-cloud").unwrap_or("AzurePublicCloud");
            Endpoints::named(cloud).unwrap_or_else(|| {
                reader.problem("arm-cloud", format_args!(
                    "\"{cloud}\" is none of AzurePublicCloud, AzureChinaCloud, AzureUSGovernmentCloud"
                ));
                Endpoints::public()
            })
        }
        Some(path) => environment_file(reader, path),
    };
    if let Some(prices) = reader.flags.get("retail-prices-url") {
        endpoints.prices = Some(trimmed(prices));
    }
    if let Some(authority) = reader.flags.get("azure-authority-host") {
        endpoints.active_directory = trimmed(authority);
    }
    endpoints
}

fn environment_file(reader: &mut Reader<'_>, path: &str) -> Endpoints {
    let flag = "azure-environment-filepath";
    if reader.flags.get("arm-cloud").is_some() {
        reader.problem(flag, "excludes arm-cloud: set one of them");
    }
    if !Path::new(path).is_absolute() {
        reader.problem(flag, format_args!("\"{path}\" is not an absolute path"));
    }
    let read = std::fs::read_to_string(path)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    match read {
        Ok(EnvironmentFile {
            resource_manager_endpoint,
            active_directory_endpoint,
            token_audience,
        }) => {
            Endpoints {
                resource_manager: trimmed(&resource_manager_endpoint),
                active_directory: trimmed(&active_directory_endpoint),
                token_audience,
                // Which clouds have a price list is not in the file: retail-prices-url says so.
                prices: None,
            }
        }
        Err(error) => {
            reader.problem(flag, format_args!("cannot read {path}: {error}"));
            Endpoints::public()
        }
    }
}

fn trimmed(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

/// The first source that is configured: secret, workload identity, App Service, machine.
fn credential(reader: &mut Reader<'_>, tenant_id: &str) -> Credential {
    let client_id = reader.flags.get("azure-client-id").map(str::to_owned);
    let secret = reader.flags.get("azure-client-secret").map(str::to_owned);
    let token_file = reader
        .flags
        .get("azure-federated-token-file")
        .map(Into::into);
    let endpoint = reader.flags.get("identity-endpoint").map(trimmed);
    if (secret.is_some() || token_file.is_some()) && (client_id.is_none() || tenant_id.is_empty()) {
        reader.problem(
            "azure-client-id",
            "is required together with azure-tenant-id to sign in with a secret or a federated token",
        );
    }
    let tenant_id = tenant_id.to_owned();
    match (secret, token_file, endpoint) {
        (Some(client_secret), _, _) => Credential::ClientSecret {
            tenant_id,
            client_id: client_id.unwrap_or_default(),
            client_secret,
        },
        (None, Some(token_file), _) => Credential::WorkloadIdentity {
            tenant_id,
            client_id: client_id.unwrap_or_default(),
            token_file,
        },
        (None, None, Some(endpoint)) => Credential::IdentityEndpoint {
            client_id,
            endpoint,
            header: reader.text("identity-header"),
        },
        (None, None, None) => Credential::ManagedIdentity {
            client_id,
            endpoint: trimmed(&reader.text("azure-pod-identity-authority-host")),
        },
    }
}

fn leader_election(reader: &mut Reader<'_>, system_namespace: &str) -> LeaderElection {
    let namespace = reader
        .flags
        .get("leader-election-namespace")
        .unwrap_or(system_namespace);
    let identity = reader
        .flags
        .get("pod-name")
        .or_else(|| reader.flags.get("hostname"));
    LeaderElection {
        namespace: namespace.to_owned(),
        identity: identity.unwrap_or("nap-controller").to_owned(),
        name: reader.text("leader-election-name"),
        enabled: !reader.boolean("disable-leader-election"),
    }
}

fn feature_gates(reader: &mut Reader<'_>) -> FeatureGates {
    let text = reader.text("feature-gates");
    let mut gates = FeatureGates::default();
    for item in list(&text) {
        let Some((name, value)) = item.split_once('=') else {
            reader.problem("feature-gates", format_args!("\"{item}\" lacks a \"=\""));
            continue;
        };
        let Ok(value) = value.trim().parse::<bool>() else {
            reader.problem(
                "feature-gates",
                format_args!("\"{item}\" is neither true nor false"),
            );
            continue;
        };
        match name.trim() {
            "NodeRepair" => gates.node_repair = value,
            "ReservedCapacity" => gates.reserved_capacity = value,
            "SpotToSpotConsolidation" => gates.spot_to_spot_consolidation = value,
            "NodeOverlay" => gates.node_overlay = value,
            "StaticCapacity" => gates.static_capacity = value,
            "CapacityBuffer" => gates.capacity_buffer = value,
            // Upstream ignores gates it does not know, so that charts of other versions work.
            _ => {}
        }
    }
    gates
}
