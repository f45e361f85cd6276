//! A validated scenario.

mod actions;
mod expectations;
mod faults;
mod load;
mod objects;
mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fake_arm_cloud::{CapacityOverride, CapacityType, CloudConfig};
use jiff::Timestamp;
use serde_json::Value;

use crate::faults::Faults;
use crate::format::expression::Expression;
use crate::format::located::Located;
use crate::world::ports::Target;

pub(crate) use faults::RawFaults;
pub use load::{Curve, Load};

/// Where a run takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum World {
    /// Virtual time, in-process calls.
    Discrete,
    /// Virtual time, HTTP over in-memory links.
    Pipes,
    /// Virtual time, HTTP over a simulated network.
    Turmoil,
    /// Real sockets, real time, the shipped controller.
    Live,
}

impl World {
    /// The name used on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Pipes => "pipes",
            Self::Turmoil => "turmoil",
            Self::Live => "live",
        }
    }
}

/// The file a scenario came from.
#[derive(Clone, Debug)]
pub struct Source {
    /// As named by the user.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Where each value stands.
    pub tree: Option<Located>,
}

/// A Kubernetes object to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The object.
    pub object: Value,
    /// Path of the object inside the scenario, for example `manifests[2]`; for an object from
    /// another file, the path of the entry that names the file.
    pub path: String,
    /// The other file.
    pub file: Option<PathBuf>,
}

/// The Kubernetes side of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Whether boots take their realistic time rather than seconds.
    pub realistic: bool,
    /// Period of node heartbeats; `None`: lazy.
    pub heartbeat: Option<Duration>,
}

/// The controller's side of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControllerSettings {
    /// Whether it runs at all.
    pub enabled: bool,
    /// Settings by the names of environment variables.
    pub settings: BTreeMap<String, String>,
}

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// `apps/v1`; filled in for well-known kinds.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// `default` unless given; ignored for cluster-scoped kinds.
    pub namespace: String,
}

/// A changed limit on vCPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaChange {
    /// A family, `regional` or `lowPriority`.
    pub scope: String,
    /// vCPUs.
    pub limit: u32,
}

/// Selects virtual machines of NodePools, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vms {
    /// `Standard_D4s_v5`.
    pub size: Option<String>,
    /// `westeurope-1`.
    pub zone: Option<String>,
    /// `spot` or `on-demand`.
    pub capacity_type: Option<String>,
    /// At most this many.
    pub count: u32,
}

/// Selects pods, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// Their namespace.
    pub namespace: String,
    /// Labels that all must match.
    pub labels: BTreeMap<String, String>,
    /// At most this many.
    pub count: u32,
}

/// Selects nodes of NodePools, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// Values that labels must have.
    pub labels: BTreeMap<String, String>,
    /// At most this many.
    pub count: u32,
}

/// A pool of capacity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// A size, or `*`.
    pub size: String,
    /// One zone; `None`: the pool over all of them.
    pub zone: Option<String>,
    /// `None`: the pool of both.
    pub capacity_type: Option<CapacityType>,
}

/// What is broken in the bootstrap data of new machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootstrapFault {
    /// Another certificate authority.
    Ca,
    /// A token that the cluster does not know.
    Token,
    /// A label that kubelets may not set.
    Label,
    /// A taint that cannot be read.
    Taint,
    /// A number of pods that is none.
    MaxPods,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Objects are created or changed.
    Apply(Vec<Manifest>),
    /// An object is deleted.
    Delete(ObjectRef),
    /// Replicas are set.
    Scale {
        /// What.
        target: ObjectRef,
        /// To how many.
        replicas: u32,
    },
    /// An object is merge-patched.
    Patch {
        /// What.
        target: ObjectRef,
        /// The patch.
        merge: Value,
    },
    /// Capacity changes.
    SetCapacity(CapacityOverride),
    /// Quota changes.
    SetQuota(QuotaChange),
    /// Spot machines are evicted, with notice.
    EvictVm(Vms),
    /// Machines are deleted by somebody else.
    DeleteVm(Vms),
    /// The controller is killed.
    CrashController {
        /// And starts again after this long.
        restart_after: Duration,
    },
    /// Bootstrap data of machines created from now on is broken; `None` ends it.
    CorruptBootstrap(Option<BootstrapFault>),
    /// Pods are evicted through the eviction API.
    Evict(Pods),
    /// Nodes are marked unschedulable, or schedulable again.
    Cordon {
        /// Which.
        nodes: Nodes,
        /// Unschedulable?
        on: bool,
    },
    /// A pool of capacity is endless again.
    RestoreCapacity(Pool),
    /// A zone fails, or comes back.
    ZoneOutage {
        /// `westeurope-1`.
        zone: String,
        /// Fails?
        on: bool,
    },
    /// Every replica of the controller ends at once.
    RestartController {
        /// And starts again after this long.
        restart_after: Duration,
    },
    /// The leading controller stands still.
    PauseController {
        /// For this long.
        lasts: Duration,
    },
    /// Nothing passes between the controller and a server, or everything again.
    Partition {
        /// The server; `None`: both.
        from: Option<Target>,
        /// Nothing?
        on: bool,
    },
    /// The timeline waits.
    WaitUntil {
        /// For this.
        condition: Expression,
        /// At most so long.
        within: Duration,
    },
}

/// An action and its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Since the start; for a step after a wait, at the earliest.
    pub at: Duration,
    /// When it has happened for certain: later than `at` only after a wait.
    pub latest: Duration,
    /// Set for a step that follows the one before it after this long.
    pub after_last: Option<Duration>,
    /// What happens.
    pub action: Action,
    /// Path of the step in the file.
    pub path: String,
}

/// How an expectation relates to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modality {
    /// True at some instant of the window.
    Eventually,
    /// True at every instant of the window.
    Always,
    /// False at every instant of the window.
    Never,
    /// A counter grows by at most so much in any part of the window of this length.
    AtMost {
        /// The length.
        per: Duration,
    },
    /// Within bounds at every instant of the window.
    Stays,
}

/// Something that must come true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// How it relates to time.
    pub modality: Modality,
    /// What.
    pub expression: Expression,
    /// Start of the window, since the start of the run.
    pub from: Duration,
    /// End of the window.
    pub to: Duration,
    /// Path of the entry in the file.
    pub path: String,
}

impl Expectation {
    /// As a sentence, for reports.
    pub fn describe(&self) -> String {
        use crate::format::format_duration as text;
        match self.modality {
            Modality::Eventually => format!(
                "eventually {} within {} after {}",
                self.expression.text,
                text(self.to.saturating_sub(self.from)),
                text(self.from)
            ),
            Modality::Always => format!(
                "always {} from {} to {}",
                self.expression.text,
                text(self.from),
                text(self.to)
            ),
            Modality::AtMost { per } => {
                let count = self.expression.all.first().map_or(0, |it| it.value);
                format!(
                    "at most {count} {} per {} from {} to {}",
                    self.expression.text,
                    text(per),
                    text(self.from),
                    text(self.to)
                )
            }
            Modality::Stays => format!(
                "stays {} from {} to {}",
                self.expression.text,
                text(self.from),
                text(self.to)
            ),
            Modality::Never => format!(
                "never {} from {} to {}",
                self.expression.text,
                text(self.from),
                text(self.to)
            ),
        }
    }
}

/// A validated scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Short name.
    pub name: String,
    /// The first comment line.
    pub proves: String,
    /// The file.
    pub source: Source,
    /// Root of all randomness.
    pub seed: u64,
    /// Wall time at the start.
    pub epoch: Timestamp,
    /// How long the run lasts.
    pub horizon: Duration,
    /// Whether crash points are swept exhaustively.
    pub sweep: bool,
    /// Where it may run.
    pub worlds: Vec<World>,
    /// The cloud at the start.
    pub cloud: CloudConfig,
    /// The cluster at the start.
    pub cluster: ClusterSettings,
    /// The controller.
    pub controller: ControllerSettings,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// Objects applied at the start.
    pub manifests: Vec<Manifest>,
    /// What users want, over time.
    pub load: Vec<Load>,
    /// What happens, in the order of time.
    pub timeline: Vec<Step>,
    /// What must come true.
    pub expect: Vec<Expectation>,
    /// Parameters that tell this case of the file from the others: `--set name=value` for each
    /// gives the same case again.
    pub set: BTreeMap<String, String>,
}

impl Scenario {
    /// Arguments of `nap sim` that choose this case of the file; each begins with a space.
    pub fn parameters(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.set {
            for part in [" --set '", name, "=", value, "'"] {
                text.push_str(part);
            }
        }
        text
    }

    /// What the load does with this seed, in the order of time.
    pub fn load_steps(&self, seed: u64) -> Vec<Step> {
        let steps = |load: &Load| load.steps(seed, self.epoch, self.horizon);
        let mut steps: Vec<Step> = self.load.iter().flat_map(steps).collect();
        steps.sort_by_key(|step| step.at);
        steps
    }

    /// When the last thing happens that somebody does: after it, things must come to rest.
    pub fn last_step(&self) -> Duration {
        let steps = self.timeline.iter().map(|step| step.latest);
        let loads = self.load.iter().map(|load| load.last_change(self.horizon));
        steps.chain(loads).max().unwrap_or_default()
    }
}
