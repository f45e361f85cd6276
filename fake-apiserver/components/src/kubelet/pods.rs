//! What a kubelet writes about the pods of its node.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object::{Key, is_deleting, items, text};
use crate::pod;
use crate::quantity::{Amounts, pod_requests};
use crate::time::rfc3339;

/// How far a pod has come on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Bound; its kubelet has not taken it yet.
    Bound,
    /// Containers are being created.
    Creating,
    Running,
    /// Told to stop.
    Stopping,
    /// Containers have ended.
    Ended,
}

/// A bound pod.
#[derive(Clone, Debug)]
pub(super) struct PodState {
    pub(super) key: Key,
    pub(super) node: String,
    pub(super) stage: Stage,
    pub(super) deleting: bool,
    pub(super) grace_seconds: i64,
    pub(super) requests: Amounts,
    pub(super) host_network: bool,
    pub(super) started: Option<Timestamp>,
    /// Its final deletion has been asked for.
    pub(super) removed: bool,
    /// `(name, image)`.
    containers: Vec<(String, String)>,
    init_containers: Vec<(String, String)>,
    generation: i64,
}

impl PodState {
    pub(super) fn read(pod: &Value) -> Self {
        let names = |list: &Value| {
            items(list)
                .iter()
                .map(|c| (text(&c["name"]).to_owned(), text(&c["image"]).to_owned()))
                .collect()
        };
        let spec = &pod["spec"];
        Self {
            key: Key::new(
                text(&pod["metadata"]["namespace"]),
                text(&pod["metadata"]["name"]),
            ),
            node: pod::node_name(pod).to_owned(),
            stage: Self::stage_of(pod),
            deleting: is_deleting(pod),
            grace_seconds: pod::grace_seconds(pod),
            requests: pod_requests(spec),
            host_network: spec["hostNetwork"] == true,
            started: None,
            removed: false,
            containers: names(&spec["containers"]),
            init_containers: names(&spec["initContainers"]),
            generation: pod["metadata"]["generation"].as_i64().unwrap_or(1),
        }
    }

    fn stage_of(pod: &Value) -> Stage {
        match pod::phase(pod) {
            "Running" => Stage::Running,
            "Succeeded" | "Failed" => Stage::Ended,
            _ => Stage::Bound,
        }
    }

    /// Containers are being created.
    pub(super) fn creating(&self, uid: &str, now: Timestamp, host_ip: &str) -> Value {
        let waiting = json!({ "waiting": { "reason": "ContainerCreating" } });
        let names: Vec<&str> = self
            .containers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let message = format!("containers with unready status: [{}]", names.join(" "));
        let not_ready = Some(("ContainersNotReady", message.as_str()));
        json!({
            "metadata": { "uid": uid },
            "status": {
                "phase": "Pending",
                "conditions": [
                    self.condition("PodReadyToStartContainers", "False", now, None),
                    self.condition("Initialized", "True", now, None),
                    self.condition("Ready", "False", now, not_ready),
                    self.condition("ContainersReady", "False", now, not_ready),
                ],
                "hostIP": host_ip,
                "hostIPs": [{ "ip": host_ip }],
                "startTime": rfc3339(now),
                "containerStatuses": self.statuses(&waiting, false),
            },
        })
    }

    /// All containers run and are ready.
    pub(super) fn running(&self, uid: &str, now: Timestamp, host_ip: &str, pod_ip: &str) -> Value {
        let running = json!({ "running": { "startedAt": rfc3339(now) } });
        let mut body = json!({
            "metadata": { "uid": uid },
            "status": {
                "phase": "Running",
                "conditions": [
                    self.condition("PodReadyToStartContainers", "True", now, None),
                    self.condition("Initialized", "True", now, None),
                    cleared(self.condition("Ready", "True", now, None)),
                    cleared(self.condition("ContainersReady", "True", now, None)),
                ],
                "hostIP": host_ip,
                "hostIPs": [{ "ip": host_ip }],
                "podIP": pod_ip,
                "podIPs": [{ "ip": pod_ip }],
                "containerStatuses": self.statuses(&running, true),
            },
        });
        if !self.init_containers.is_empty() {
            body["status"]["initContainerStatuses"] = self.init_statuses(now);
        }
        body
    }

    /// Containers ended after SIGTERM.
    pub(super) fn ended(&self, uid: &str, now: Timestamp) -> Value {
        let at = rfc3339(now);
        let terminated = json!({
            "terminated": {
                "exitCode": 0,
                "reason": "Completed",
                "startedAt": self.started.map_or_else(|| at.clone(), rfc3339),
                "finishedAt": at,
            },
        });
        let completed = Some(("PodCompleted", ""));
        json!({
            "metadata": { "uid": uid },
            "status": {
                "phase": "Succeeded",
                "conditions": [
                    self.condition("PodReadyToStartContainers", "False", now, None),
                    self.condition("Initialized", "True", now, completed),
                    self.condition("Ready", "False", now, completed),
                    self.condition("ContainersReady", "False", now, completed),
                ],
                "containerStatuses": self.statuses(&terminated, false),
            },
        })
    }

    fn condition(
        &self,
        kind: &str,
        status: &str,
        now: Timestamp,
        reason: Option<(&str, &str)>,
    ) -> Value {
        let mut condition = json!({
            "type": kind,
            "status": status,
            "observedGeneration": self.generation,
            "lastTransitionTime": rfc3339(now),
        });
        if let Some((reason, message)) = reason {
            condition["reason"] = json!(reason);
            if !message.is_empty() {
                condition["message"] = json!(message);
            }
        }
        condition
    }

    fn statuses(&self, state: &Value, ready: bool) -> Vec<Value> {
        self.containers
            .iter()
            .map(|(name, image)| {
                json!({
                    "name": name,
                    "image": image,
                    "imageID": if ready { image.as_str() } else { "" },
                    "ready": ready,
                    "started": ready,
                    "restartCount": 0,
                    "state": state,
                    "lastState": {},
                })
            })
            .collect()
    }

    fn init_statuses(&self, now: Timestamp) -> Value {
        let at = rfc3339(now);
        let list: Vec<Value> = self
            .init_containers
            .iter()
            .map(|(name, image)| {
                json!({
                    "name": name, "image": image, "imageID": image,
                    "ready": true, "started": false, "restartCount": 0, "lastState": {},
                    "state": { "terminated": {
                        "exitCode": 0, "reason": "Completed", "startedAt": at, "finishedAt": at,
                    } },
                })
            })
            .collect();
        Value::Array(list)
    }

    /// Refused because the node has too little of a resource (`lifecycle/predicate.go`).
    pub(super) fn rejected(uid: &str, now: Timestamp, short: &Shortage) -> Value {
        let message = format!(
            "Pod was rejected: Node didn't have enough resource: {}, requested: {}, used: {}, \
             capacity: {}",
            short.resource, short.requested, short.used, short.capacity
        );
        json!({
            "metadata": { "uid": uid },
            "status": {
                "phase": "Failed",
                "reason": format!("OutOf{}", short.resource),
                "message": message,
                "startTime": rfc3339(now),
            },
        })
    }
}

/// Takes reason and message away from a condition that had them while containers were created.
fn cleared(mut condition: Value) -> Value {
    condition["reason"] = Value::Null;
    condition["message"] = Value::Null;
    condition
}

/// The resource a node is short of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shortage {
    resource: String,
    requested: i64,
    used: i64,
    capacity: i64,
}

/// What a node lacks for one more pod, if anything.
pub(super) fn shortage(
    requests: &Amounts,
    used: &Amounts,
    pods: usize,
    allocatable: &Amounts,
) -> Option<Shortage> {
    let pods = i64::try_from(pods).unwrap_or(i64::MAX);
    let room = allocatable.other.get("pods").copied().unwrap_or_default();
    let extended = requests.other.iter().map(|(name, requested)| {
        let of = |amounts: &Amounts| amounts.other.get(name).copied().unwrap_or_default();
        (name.as_ref(), *requested, of(used), of(allocatable))
    });
    [
        ("pods", 1, pods, room),
        (
            "cpu",
            requests.cpu_milli,
            used.cpu_milli,
            allocatable.cpu_milli,
        ),
        ("memory", requests.memory, used.memory, allocatable.memory),
        (
            "ephemeral-storage",
            requests.ephemeral,
            used.ephemeral,
            allocatable.ephemeral,
        ),
    ]
    .into_iter()
    .chain(extended)
    .find(|(_, requested, used, capacity)| *requested > 0 && used + requested > *capacity)
    .map(|(resource, requested, used, capacity)| Shortage {
        resource: resource.to_owned(),
        requested,
        used,
        capacity,
    })
}
