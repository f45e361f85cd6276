//! What a simulated cluster is told at its start.

use std::time::Duration;

/// Settings of a [`crate::Cluster`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The PEM certificate of the authority that signed the API server's certificate. Kubelets
    /// join only when their bootstrap data carries the same one.
    pub cluster_ca_pem: String,
    /// How long things take.
    pub timings: Timings,
    /// Seed of the order in which components with pending events step. `None`: fixed order.
    pub order_seed: Option<[u8; 32]>,
    /// Node heartbeats come every this many seconds. `None`: a lease is written when the node's
    /// status changes, and node lifecycle learns from the host when its kubelet fell silent.
    pub heartbeat: Option<Duration>,
}

impl Options {
    /// Settings with a fixed step order and lazy heartbeats.
    pub fn new(cluster_ca_pem: &str, timings: Timings) -> Self {
        Self {
            cluster_ca_pem: cluster_ca_pem.to_owned(),
            timings,
            order_seed: None,
            heartbeat: None,
        }
    }
}

/// Delays between a cause and what the cluster shows of it.
///
/// [`Timings::realistic`] follows the shipped defaults of Kubernetes 1.36 and durations usual on
/// AKS; [`Timings::fast`] shortens only what a machine does (boot, network, image pull,
/// container start), never a documented period of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Host started → its kubelet registers the Node or gives up.
    pub bootstrap: Duration,
    /// Node registered → Ready (the network plugin is up).
    pub node_ready: Duration,
    /// Ready → the GPU device plugin reports its devices.
    pub device_plugin: Duration,
    /// Node registered → the cloud node manager has initialised it.
    pub cloud_node: Duration,
    /// Pod bound and its node Ready → containers run (image pull and start).
    pub container_start: Duration,
    /// SIGTERM → container gone, when its grace period allows.
    pub container_stop: Duration,
    /// `--node-monitor-grace-period` of node lifecycle.
    pub node_monitor_grace: Duration,
    /// `--node-startup-grace-period`: for nodes that never reported a condition.
    pub node_startup_grace: Duration,
    /// `--node-monitor-period` of node lifecycle and of the cloud node lifecycle controller.
    pub node_monitor_period: Duration,
    /// Period of the pod garbage collector.
    pub pod_gc_period: Duration,
    /// How long a node must be missing before the pod garbage collector believes it.
    pub pod_gc_quarantine: Duration,
    /// Pause between two passes of namespace deletion.
    pub namespace_pass: Duration,
    /// How long the scheduler leaves an unschedulable pod alone when no event wakes it.
    pub unschedulable_flush: Duration,
}

impl Timings {
    /// Machines boot and containers start within seconds.
    pub fn fast() -> Self {
        Self {
            bootstrap: Duration::from_secs(2),
            node_ready: Duration::from_secs(2),
            device_plugin: Duration::from_secs(3),
            cloud_node: Duration::from_secs(1),
            container_start: Duration::from_secs(1),
            container_stop: Duration::from_millis(500),
            ..Self::realistic()
        }
    }

    /// Machines take their usual time on AKS.
    pub fn realistic() -> Self {
        Self {
            bootstrap: Duration::from_secs(25),
            node_ready: Duration::from_secs(12),
            device_plugin: Duration::from_secs(30),
            cloud_node: Duration::from_secs(3),
            container_start: Duration::from_secs(5),
            container_stop: Duration::from_millis(1500),
            node_monitor_grace: Duration::from_secs(50),
            node_startup_grace: Duration::from_mins(1),
            node_monitor_period: Duration::from_secs(5),
            pod_gc_period: Duration::from_secs(20),
            pod_gc_quarantine: Duration::from_secs(40),
            namespace_pass: Duration::from_secs(5),
            unschedulable_flush: Duration::from_mins(5),
        }
    }
}
