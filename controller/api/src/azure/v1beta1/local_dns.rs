//! A DNS cache on every node.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;

/// A DNS cache on every node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct LocalDNS {
    /// Zones as pods with the DNS policy ClusterFirst see them.
    #[serde(rename = "kubeDNSOverrides")]
    pub kube_dns_overrides: Vec<LocalDNSZoneOverride>,
    /// Whether the cache is wanted.
    pub mode: String,
    /// Zones as the kubelet and pods with the DNS policy Default see them.
    #[serde(rename = "vnetDNSOverrides")]
    pub vnet_dns_overrides: Vec<LocalDNSZoneOverride>,
}

/// How one zone is resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LocalDNSZoneOverride {
    /// How long answers are cached at most.
    pub cache_duration: GoDuration,
    /// Where queries go.
    pub forward_destination: String,
    /// How the server is picked among several.
    pub forward_policy: String,
    /// Queries in flight at most.
    pub max_concurrent: i32,
    /// Transport towards the server.
    pub protocol: String,
    /// What is logged.
    pub query_logging: String,
    /// Whether expired answers are given.
    pub serve_stale: String,
    /// How long expired answers are given.
    pub serve_stale_duration: GoDuration,
    /// The zone; a dot is the root.
    pub zone: String,
}
