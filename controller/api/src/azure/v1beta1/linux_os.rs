//! Settings of the operating system that users may choose.
//!
//! Source: AKS custom node configuration,
//! <https://learn.microsoft.com/azure/aks/custom-node-configuration>.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the operating system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LinuxOSConfiguration {
    /// Size of the swap file; needs a kubelet that starts with swap on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_file_size: Option<String>,
    /// Kernel parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sysctls: Option<SysctlConfiguration>,
    /// When memory is defragmented for huge pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transparent_huge_page_defrag: Option<String>,
    /// When huge pages are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transparent_huge_page_enabled: Option<String>,
}

/// Kernel parameters; unset ones keep the image's value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct SysctlConfiguration {
    /// Value of fs.aio-max-nr.
    #[serde(
        default,
        rename = "fsAioMaxNr",
        skip_serializing_if = "Option::is_none"
    )]
    pub fs_aio_max_nr: Option<i32>,
    /// Value of fs.file-max.
    #[serde(default, rename = "fsFileMax", skip_serializing_if = "Option::is_none")]
    pub fs_file_max: Option<i32>,
    /// Value of fs.inotify.max_user_watches.
    #[serde(
        default,
        rename = "fsInotifyMaxUserWatches",
        skip_serializing_if = "Option::is_none"
    )]
    pub fs_inotify_max_user_watches: Option<i32>,
    /// Value of fs.nr_open.
    #[serde(default, rename = "fsNrOpen", skip_serializing_if = "Option::is_none")]
    pub fs_nr_open: Option<i32>,
    /// Value of kernel.threads-max.
    #[serde(
        default,
        rename = "kernelThreadsMax",
        skip_serializing_if = "Option::is_none"
    )]
    pub kernel_threads_max: Option<i32>,
    /// Value of net.core.netdev_max_backlog.
    #[serde(
        default,
        rename = "netCoreNetdevMaxBacklog",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_core_netdev_max_backlog: Option<i32>,
    /// Value of net.core.optmem_max.
    #[serde(
        default,
        rename = "netCoreOptmemMax",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_core_optmem_max: Option<i32>,
    /// Value of net.core.rmem_default.
    #[serde(
        default,
        rename = "netCoreRmemDefault",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_core_rmem_default: Option<i32>,
    /// Value of net.core.rmem_max.
    #[serde(
        default,
        rename = "netCoreRmemMax",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_core_rmem_max: Option<i32>,
    /// Value of net.core.somaxconn.
    #[serde(
        default,
        rename = "netCoreSomaxconn",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_core_somaxconn: Option<i32>,
    /// Value of net.core.wmem_default.
    #[serde(
        default,
        rename = "netCoreWmemDefault",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_core_wmem_default: Option<i32>,
    /// Value of net.core.wmem_max.
    #[serde(
        default,
        rename = "netCoreWmemMax",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_core_wmem_max: Option<i32>,
    /// Value of net.ipv4.ip_local_port_range.
    #[serde(
        default,
        rename = "netIPv4IPLocalPortRange",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_ipv4_ip_local_port_range: Option<String>,
    /// Value of net.ipv4.neigh.default.gc_thresh1.
    #[serde(
        default,
        rename = "netIPv4NeighDefaultGcThresh1",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_ipv4_neigh_default_gc_thresh1: Option<i32>,
    /// Value of net.ipv4.neigh.default.gc_thresh2.
    #[serde(
        default,
        rename = "netIPv4NeighDefaultGcThresh2",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_ipv4_neigh_default_gc_thresh2: Option<i32>,
    /// Value of net.ipv4.neigh.default.gc_thresh3.
    #[serde(
        default,
        rename = "netIPv4NeighDefaultGcThresh3",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_ipv4_neigh_default_gc_thresh3: Option<i32>,
    /// Value of net.ipv4.tcp_fin_timeout.
    #[serde(
        default,
        rename = "netIPv4TCPFinTimeout",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_ipv4_tcp_fin_timeout: Option<i32>,
    /// Value of net.ipv4.tcp_keepalive_probes.
    #[serde(
        default,
        rename = "netIPv4TCPKeepaliveProbes",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_ipv4_tcp_keepalive_probes: Option<i32>,
    /// Value of net.ipv4.tcp_keepalive_time.
    #[serde(
        default,
        rename = "netIPv4TCPKeepaliveTime",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_ipv4_tcp_keepalive_time: Option<i32>,
    /// Value of net.ipv4.tcp_max_syn_backlog.
    #[serde(
        default,
        rename = "netIPv4TCPMaxSynBacklog",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_ipv4_tcp_max_syn_backlog: Option<i32>,
    /// Value of net.ipv4.tcp_max_tw_buckets.
    #[serde(
        default,
        rename = "netIPv4TCPMaxTwBuckets",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_ipv4_tcp_max_tw_buckets: Option<i32>,
    /// Value of net.ipv4.tcp_tw_reuse.
    #[serde(
        default,
        rename = "netIPv4TCPTwReuse",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_ipv4_tcp_tw_reuse: Option<bool>,
    /// Value of net.ipv4.tcp_keepalive_intvl.
    #[serde(
        default,
        rename = "netIPv4TCPKeepaliveIntvl",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_ipv4_tcp_keepalive_intvl: Option<i32>,
    /// Value of net.netfilter.nf_conntrack_buckets.
    #[serde(
        default,
        rename = "netNetfilterNfConntrackBuckets",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_netfilter_nf_conntrack_buckets: Option<i32>,
    /// Value of net.netfilter.nf_conntrack_max.
    #[serde(
        default,
        rename = "netNetfilterNfConntrackMax",
        skip_serializing_if = "Option::is_none"
    )]
    pub net_netfilter_nf_conntrack_max: Option<i32>,
    /// Value of vm.max_map_count.
    #[serde(
        default,
        rename = "vmMaxMapCount",
        skip_serializing_if = "Option::is_none"
    )]
    pub vm_max_map_count: Option<i32>,
    /// Value of vm.swappiness.
    #[serde(
        default,
        rename = "vmSwappiness",
        skip_serializing_if = "Option::is_none"
    )]
    pub vm_swappiness: Option<i32>,
    /// Value of vm.vfs_cache_pressure.
    #[serde(
        default,
        rename = "vmVfsCachePressure",
        skip_serializing_if = "Option::is_none"
    )]
    pub vm_vfs_cache_pressure: Option<i32>,
}
