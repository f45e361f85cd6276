//! What a kubelet writes about its node.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::bootstrap::{Bootstrap, Reserved, Threshold};
use crate::host::{AgentPoolHost, Host};
use crate::quantity::Amounts;
use crate::time::{micro, rfc3339};
use crate::toleration::Taint;

/// `nodefs.available<10%` and `memory.available<100Mi`: what AKS agent pools run with, roughly.
const AGENT_POOL_MEMORY_THRESHOLD: i64 = 100 << 20;

/// Thousandths of a machine's memory that firmware and kernel keep: `MemTotal` of
/// `/proc/meminfo` against the advertised size.
const HIDDEN_MEMORY_PERMILLE: i64 = 25;

/// What a host will register as.
#[derive(Clone, Debug)]
pub(super) struct NodeSpec {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) taints: Vec<Taint>,
    pub(super) kubelet_version: String,
    pub(super) address: String,
    pub(super) arch: &'static str,
    pub(super) capacity: Capacity,
}

/// Sizes of a node.
#[derive(Clone, Debug)]
pub(super) struct Capacity {
    cpu_cores: u32,
    memory_bytes: i64,
    ephemeral_bytes: i64,
    max_pods: u32,
    reserved: Reserved,
}

impl NodeSpec {
    /// The node of a machine with bootstrap data.
    pub(super) fn from_bootstrap(host: &Host, bootstrap: &Bootstrap, address: String) -> Self {
        let mut taints = bootstrap.node_taints();
        if bootstrap.external_cloud_provider {
            taints.push(uninitialized());
        }
        Self {
            name: host.hostname.clone(),
            labels: bootstrap.labels.clone(),
            taints,
            kubelet_version: bootstrap.kubelet_version.clone(),
            address,
            arch: arch(&host.instance_type),
            capacity: Capacity::new(host, bootstrap.max_pods, bootstrap.reserved.clone()),
        }
    }

    /// The node of an agent-pool machine, whose bootstrap data the platform wrote.
    pub(super) fn from_agent_pool(host: &Host, pool: &AgentPoolHost, address: String) -> Self {
        let mut taints: Vec<Taint> = pool
            .taints
            .iter()
            .map(|(key, value, effect)| Taint::new(key, value, effect))
            .collect();
        taints.push(uninitialized());
        let reserved = Reserved {
            cpu_milli: 0,
            memory_bytes: 0,
            ephemeral_bytes: 0,
            memory_available: Threshold::Bytes(AGENT_POOL_MEMORY_THRESHOLD),
            nodefs_available: Threshold::Permille(100),
        };
        Self {
            name: host.hostname.clone(),
            labels: pool.labels.clone(),
            taints,
            kubelet_version: format!("v{}", pool.kubelet_version.trim_start_matches('v')),
            address,
            arch: arch(&host.instance_type),
            capacity: Capacity::new(host, pool.max_pods, reserved),
        }
    }

    /// The Node at its creation.
    pub(super) fn object(&self, now: Timestamp) -> Value {
        let mut labels: Map<String, Value> = self
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        for (key, value) in [
            ("beta.kubernetes.io/arch", self.arch),
            ("beta.kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", self.arch),
            ("kubernetes.io/hostname", self.name.as_str()),
            ("kubernetes.io/os", "linux"),
        ] {
            labels.insert(key.to_owned(), json!(value));
        }
        let taints: Vec<Value> = self.taints.iter().map(taint_value).collect();
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name,
                "labels": labels,
                "annotations": {
                    "volumes.kubernetes.io/controller-managed-attach-detach": "true",
                },
            },
            "spec": { "taints": taints },
            "status": self.status(now, false, 0),
        })
    }

    /// The whole status: sizes, addresses, versions, conditions.
    pub(super) fn status(&self, now: Timestamp, ready: bool, gpus: u32) -> Value {
        json!({
            "capacity": self.capacity.total(gpus),
            "allocatable": self.capacity.allocatable(gpus),
            "conditions": conditions(now, ready),
            "addresses": [
                { "type": "InternalIP", "address": self.address },
                { "type": "Hostname", "address": self.name },
            ],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
            "nodeInfo": {
                "machineID": "", "systemUUID": "", "bootID": "",
                "kernelVersion": "5.15.0-1089-azure",
                "osImage": "Ubuntu 22.04.5 LTS",
                "containerRuntimeVersion": "containerd://1.7.27-1",
                "kubeletVersion": self.kubelet_version,
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": self.arch,
            },
        })
    }

    /// Sizes alone, as the device manager changes them.
    pub(super) fn devices(gpus: u32) -> Value {
        json!({
            "capacity": { GPU: gpus.to_string() },
            "allocatable": { GPU: gpus.to_string() },
        })
    }

    /// What pods may use.
    pub(super) fn allocatable(&self, gpus: u32) -> Amounts {
        Amounts::read(&self.capacity.allocatable(gpus))
    }
}

/// The resource of NVIDIA's device plugin.
const GPU: &str = "nvidia.com/gpu";

impl Capacity {
    fn new(host: &Host, max_pods: u32, reserved: Reserved) -> Self {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let memory = bytes(host.memory_bytes);
        Self {
            cpu_cores: host.cpu_cores,
            memory_bytes: memory - memory / 1000 * HIDDEN_MEMORY_PERMILLE,
            ephemeral_bytes: bytes(host.ephemeral_bytes),
            max_pods,
            reserved,
        }
    }

    fn total(&self, gpus: u32) -> Value {
        let mut list = json!({
            "cpu": self.cpu_cores.to_string(),
            "memory": kibi(self.memory_bytes),
            "ephemeral-storage": kibi(self.ephemeral_bytes),
            "hugepages-1Gi": "0",
            "hugepages-2Mi": "0",
            "pods": self.max_pods.to_string(),
        });
        if gpus > 0 {
            list[GPU] = json!(gpus.to_string());
        }
        list
    }

    /// Capacity less what is reserved and the hard eviction thresholds
    /// (`pkg/kubelet/cm.GetNodeAllocatableReservation`).
    fn allocatable(&self, gpus: u32) -> Value {
        let reserved = &self.reserved;
        let memory = self.memory_bytes
            - reserved.memory_bytes
            - reserved.memory_available.of(self.memory_bytes);
        let ephemeral = self.ephemeral_bytes
            - reserved.ephemeral_bytes
            - reserved.nodefs_available.of(self.ephemeral_bytes);
        let milli = i64::from(self.cpu_cores) * 1000 - reserved.cpu_milli;
        let mut list = self.total(gpus);
        list["cpu"] = json!(format!("{}m", milli.max(0)));
        list["memory"] = json!(kibi(memory.max(0)));
        list["ephemeral-storage"] = json!(ephemeral.max(0).to_string());
        list
    }
}

fn kibi(bytes: i64) -> String {
    format!("{}Ki", bytes >> 10)
}

fn uninitialized() -> Taint {
    Taint::new(
        "node.cloudprovider.kubernetes.io/uninitialized",
        "true",
        "NoSchedule",
    )
}

fn taint_value(taint: &Taint) -> Value {
    let mut value = json!({ "key": taint.key, "effect": taint.effect });
    if !taint.value.is_empty() {
        value["value"] = json!(taint.value);
    }
    value
}

/// The four conditions, `Ready` last.
pub(super) fn conditions(now: Timestamp, ready: bool) -> Value {
    let at = rfc3339(now);
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": at, "lastTransitionTime": at,
        })
    };
    let ready = if ready {
        condition(
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status",
        )
    } else {
        condition(
            "Ready",
            "False",
            "KubeletNotReady",
            "container runtime network not ready: NetworkReady=false \
             reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not \
             initialized",
        )
    };
    json!([
        condition(
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available"
        ),
        condition(
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure"
        ),
        condition(
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available"
        ),
        ready,
    ])
}

/// The lease of a node, at its creation.
pub(super) fn lease(now: Timestamp, name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": LEASE_NAMESPACE,
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid }],
        },
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": 40,
            "renewTime": micro(now),
        },
    })
}

/// Where node leases live.
pub(super) const LEASE_NAMESPACE: &str = "kube-node-lease";

/// The architecture of a VM size: the additive feature `p` marks Arm processors
/// (learn.microsoft.com, "Azure virtual machine sizes naming conventions").
fn arch(instance_type: &str) -> &'static str {
    let size = instance_type.split('_').nth(1).unwrap_or_default();
    let features = size.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let features = features.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
    if features.contains('p') {
        "arm64"
    } else {
        "amd64"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arm_sizes_are_known_by_their_name() {
        for (size, expected) in [
            ("Standard_D2ps_v5", "arm64"),
            ("Standard_E8-4pds_v6", "arm64"),
            ("Standard_D2s_v5", "amd64"),
            ("Standard_NC4as_T4_v3", "amd64"),
            ("Standard_PB6s", "amd64"),
        ] {
            assert_eq!(arch(size), expected, "{size}");
        }
    }

    #[test]
    fn allocatable_is_capacity_less_reservations() {
        let host = Host {
            hostname: "n".into(),
            provider_id: "azure:///n".into(),
            custom_data: String::new(),
            instance_type: "Standard_D2s_v5".into(),
            region: "westeurope".into(),
            zone: "westeurope-1".into(),
            cpu_cores: 2,
            memory_bytes: 8 << 30,
            ephemeral_bytes: 128_000_000_000,
            gpu_count: 0,
            agent_pool: None,
        };
        let reserved = Reserved {
            cpu_milli: 100,
            memory_bytes: 1843 << 20,
            memory_available: Threshold::Bytes(750 << 20),
            ..Reserved::default()
        };
        let capacity = Capacity::new(&host, 250, reserved);
        insta::assert_snapshot!(capacity.allocatable(0), @r#"{"cpu":"1900m","ephemeral-storage":"128000000000","hugepages-1Gi":"0","hugepages-2Mi":"0","memory":"5523660Ki","pods":"250"}"#);
    }
}
