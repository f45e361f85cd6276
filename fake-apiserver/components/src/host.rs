//! Facts about hosts that reach the cluster from outside: a virtual machine started, stopped or
//! is about to be taken away. They are the input of the simulated kubelets.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// A virtual machine that has started and now runs its bootstrap data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The host name, which becomes the Node's name.
    pub hostname: String,
    /// `azure:///subscriptions/…/virtualMachines/NAME`.
    pub provider_id: String,
    /// The machine's `customData`, base64, as the cloud received it.
    pub custom_data: String,
    /// The VM size, for `node.kubernetes.io/instance-type` (set by the cloud node manager).
    pub instance_type: String,
    /// The region, for example `westeurope`.
    pub region: String,
    /// The zone label value, for example `westeurope-1`, or `0` for a regional machine.
    pub zone: String,
    /// Logical processors.
    pub cpu_cores: u32,
    /// Physical memory in bytes.
    pub memory_bytes: u64,
    /// Size of the disk that backs ephemeral storage, in bytes.
    pub ephemeral_bytes: u64,
    /// NVIDIA devices that the device plugin will report; 0 for none.
    pub gpu_count: u32,
    /// Labels and taints of an agent pool; `None` for machines that carry bootstrap data.
    pub agent_pool: Option<AgentPoolHost>,
}

/// What the platform, not bootstrap data, says about an agent-pool machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPoolHost {
    pub labels: BTreeMap<String, String>,
    /// `(key, value, effect)`.
    pub taints: Vec<(String, String, String)>,
    pub max_pods: u32,
    pub kubelet_version: String,
}

/// A fact from the cloud about a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostFact {
    Started(Host),
    /// The machine is gone or powered off; its kubelet falls silent at once.
    Stopped {
        provider_id: String,
    },
    /// The platform announced an event (IMDS Scheduled Events), for example `Preempt`.
    Scheduled {
        provider_id: String,
        kind: String,
        not_before: Timestamp,
    },
}

/// Why a host did not become a Node. Each value is a distinct, documented reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinFailure {
    #[error("custom data cannot be read: {0}")]
    UnreadableCustomData(String),
    #[error("the cluster CA in the bootstrap data does not verify the API server")]
    WrongCa,
    #[error("the bootstrap token was refused: {0}")]
    TokenRefused(String),
    #[error("kubelet refused label {0}")]
    InvalidLabel(String),
    #[error("kubelet refused taint {0}")]
    InvalidTaint(String),
    #[error("kubelet refused max pods {0}")]
    InvalidMaxPods(String),
    #[error("kubelet refused flag {0}")]
    InvalidFlag(String),
}

impl JoinFailure {
    /// What AKS's provisioning script exits with (`Azure/AgentBaker`
    /// `parts/linux/cloud-init/artifacts/cse_helpers.sh`).
    pub fn exit_status(&self) -> u8 {
        match self {
            // ERR_CSE_PROVISION_SCRIPT_NOT_READY_TIMEOUT
            Self::UnreadableCustomData(_) => 100,
            // ERR_KUBELET_START_FAIL
            _ => 34,
        }
    }

    /// The last line of the machine's log, as the kubelet words it: flags are refused by
    /// `cmd/kubelet/app/server.go` and `spf13/pflag`, the rest by
    /// `pkg/kubelet/certificate/bootstrap`.
    pub fn log_line(&self) -> String {
        let refused = |flag: &str, refusal: &str| {
            let (value, why) = refusal
                .split_once(": ")
                .unwrap_or((refusal, "not accepted"));
            format!("invalid argument \"{value}\" for \"{flag}\" flag: {why}")
        };
        let run = |why: &str| {
            format!("failed to run Kubelet: cannot create certificate signing request: {why}")
        };
        let error = match self {
            Self::UnreadableCustomData(why) => {
                return format!("provisioning script is not ready: {why}");
            }
            Self::WrongCa => run(
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            ),
            // The API server tells nobody why it does not know them.
            Self::TokenRefused(_) => run("Unauthorized"),
            Self::InvalidLabel(label) => match label.split_once(": unknown ") {
                Some((pair, _)) => format!(
                    "failed to validate kubelet flags: unknown 'kubernetes.io' or 'k8s.io' labels \
                     specified with --node-labels: [{}]",
                    pair.split('=').next().unwrap_or_default()
                ),
                None => refused("--node-labels", label),
            },
            Self::InvalidTaint(taint) => refused("--register-with-taints", taint),
            Self::InvalidMaxPods(number) => refused("--max-pods", number),
            Self::InvalidFlag(flag) => {
                match flag.strip_prefix("--").and_then(|f| f.split_once(": ")) {
                    Some((name, value)) => refused(&format!("--{name}"), value),
                    None => format!("unknown flag: {flag}"),
                }
            }
        };
        format!("\"command failed\" err={error:?}")
    }
}
