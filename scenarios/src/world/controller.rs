//! The controller's configuration in a simulated cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use controller::azure::{Cluster, Credential, Endpoints};
use controller::config::{Config, ForCluster};
use fake_arm_cloud::{CloudConfig, ClusterView};

use crate::format::parse_duration;
use crate::world::process::Places;
use crate::world::setup::bootstrap_token;

/// The user the controller authenticates as.
pub const USER: &str = "system:serviceaccount:kube-system:karpenter";
/// Groups of that user.
pub const GROUPS: [&str; 2] = [
    "system:serviceaccounts",
    "system:serviceaccounts:kube-system",
];
/// Application id of its service principal.
pub const CLIENT_ID: &str = "00000000-0000-0000-0000-0000000000c2";

/// Its secret; the emulated directory accepts any.
pub const CLIENT_SECRET: &str = "secret";

/// A setting that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SettingError {
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Settings that scenarios may change.
const SETTINGS: [&str; 7] = [
    "BATCH_IDLE_DURATION",
    "BATCH_MAX_DURATION",
    "DISABLE_LEADER_ELECTION",
    "FEATURE_GATES",
    "MIN_VALUES_POLICY",
    "PREFERENCE_POLICY",
    "VM_MEMORY_OVERHEAD_PERCENT",
];

/// The configuration for one incarnation.
///
/// # Errors
///
/// The setting that is not understood.
pub fn configuration(
    cloud: &CloudConfig,
    cluster: &ClusterView,
    (places, ca_pem): (&Places, &str),
    identity: &str,
    settings: &BTreeMap<String, String>,
) -> Result<Config, SettingError> {
    let mut config = Config::for_cluster(ForCluster {
        cluster: Cluster {
            name: cluster.name.clone(),
            endpoint: places.kube.clone(),
            ca_pem: ca_pem.to_owned(),
            bootstrap_token: bootstrap_token(),
        },
        endpoints: Endpoints::single(&places.arm),
        credential: Credential::ClientSecret {
            tenant_id: cloud.tenant_id.clone(),
            client_id: CLIENT_ID.to_owned(),
            client_secret: CLIENT_SECRET.to_owned(),
        },
        subscription_id: cloud.subscription_id.clone(),
        tenant_id: cloud.tenant_id.clone(),
        region: cloud.region.clone(),
        cluster_resource_group: cluster.resource_group.clone(),
        node_resource_group: cluster.node_resource_group.clone(),
        vnet_subnet_id: cluster.subnet_id.clone(),
        identity: identity.to_owned(),
    });
    config
        .azure
        .network
        .vnet_guid
        .clone_from(&cluster.vnet_guid);
    for (name, value) in settings {
        set(&mut config, name, value)?;
    }
    Ok(config)
}

fn set(config: &mut Config, name: &str, value: &str) -> Result<(), SettingError> {
    use controller::config::{MinValuesPolicy, PreferencePolicy};
    let wrong = |help: &str| SettingError {
        name: name.to_owned(),
        message: format!("'{value}' is no value for {name}"),
        help: help.to_owned(),
    };
    let span = |text: &str| -> Result<Duration, SettingError> {
        parse_duration(text).map_err(|_unreadable| wrong("a duration such as 2s"))
    };
    match name {
        "BATCH_IDLE_DURATION" => config.batch.idle = span(value)?,
        "BATCH_MAX_DURATION" => config.batch.max = span(value)?,
        "DISABLE_LEADER_ELECTION" => {
            config.leader_election.enabled = match value {
                "true" => false,
                "false" => true,
                _ => return Err(wrong("true or false")),
            }
        }
        "VM_MEMORY_OVERHEAD_PERCENT" => {
            config.azure.machines.memory_overhead = value
                .parse()
                .map_err(|_unreadable: std::num::ParseFloatError| wrong("a share such as 0.075"))?;
        }
        "PREFERENCE_POLICY" => {
            config.preference_policy = match value {
                "Respect" => PreferencePolicy::Respect,
                "Ignore" => PreferencePolicy::Ignore,
                _ => return Err(wrong("Respect or Ignore")),
            }
        }
        "MIN_VALUES_POLICY" => {
            config.min_values_policy = match value {
                "Strict" => MinValuesPolicy::Strict,
                "BestEffort" => MinValuesPolicy::BestEffort,
                _ => return Err(wrong("Strict or BestEffort")),
            }
        }
        "FEATURE_GATES" => gates(config, value, wrong)?,
        #[cfg(feature = "mutants")]
        "MUTANT" => {
            use controller_core::mutants::{Mutant, choose};
            let mutant = Mutant::named(value);
            // Each run has a thread of its own, and the controller runs on it.
            choose(Some(mutant.ok_or_else(|| wrong("see nap mutants"))?));
        }
        _ => {
            let near = crate::format::nearest(name, SETTINGS)
                .map(|near| format!("did you mean {near}? "))
                .unwrap_or_default();
            return Err(SettingError {
                name: name.to_owned(),
                message: format!("scenarios cannot set {name}"),
                help: format!("{near}known: {}", SETTINGS.join(", ")),
            });
        }
    }
    Ok(())
}

fn gates(
    config: &mut Config,
    value: &str,
    wrong: impl Fn(&str) -> SettingError,
) -> Result<(), SettingError> {
    let gates = &mut config.feature_gates;
    for item in value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let (name, on) = match item.split_once('=') {
            Some((name, "true")) => (name, true),
            Some((name, "false")) => (name, false),
            _ => return Err(wrong("Gate=true,Other=false")),
        };
        let slot = match name {
            "NodeRepair" => &mut gates.node_repair,
            "ReservedCapacity" => &mut gates.reserved_capacity,
            "SpotToSpotConsolidation" => &mut gates.spot_to_spot_consolidation,
            "NodeOverlay" => &mut gates.node_overlay,
            "StaticCapacity" => &mut gates.static_capacity,
            "CapacityBuffer" => &mut gates.capacity_buffer,
            _ => {
                return Err(wrong(
                    "gates are named as upstream names them, e.g. NodeRepair",
                ));
            }
        };
        *slot = on;
    }
    Ok(())
}
