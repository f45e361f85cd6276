//! Lives of machines and pods, and what they cost.

use std::collections::BTreeMap;
use std::time::Duration;

use fake_apiserver_components::api::Object;
use fake_arm_cloud::VmState;
use serde::Serialize;

use crate::observe::{CloudView, POOL_TAG, is_of_pool};

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Lane {
    /// Name of the machine, which is the node's.
    pub name: String,
    /// Its NodePool.
    pub pool: String,
    /// VM size.
    pub size: String,
    /// `westeurope-1`.
    pub zone: String,
    /// `spot` or `on-demand`.
    pub capacity: String,
    /// vCPUs.
    pub cores: u32,
    /// Millionths of a dollar per hour.
    pub price: u64,
    /// When it was asked for, in milliseconds since the start.
    pub requested: u64,
    /// When it ran.
    pub running: Option<u64>,
    /// When its node was ready.
    pub ready: Option<u64>,
    /// When it was gone.
    pub gone: Option<u64>,
    /// Why it was taken rather than another.
    pub why: String,
    /// Why it failed or went.
    pub end: String,
    /// Pods that ran on it.
    pub pods: Vec<PodSpan>,
}

/// One pod on one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PodSpan {
    /// `namespace/name`.
    pub name: String,
    /// Requested CPU in thousandths.
    pub cpu: u64,
    /// Bound, in milliseconds since the start.
    pub bound: u64,
    /// Running.
    pub running: Option<u64>,
    /// Gone.
    pub gone: Option<u64>,
}

/// From this time on, this much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CostStep {
    /// Milliseconds since the start.
    pub at: u64,
    /// Millionths of a dollar per hour of all machines of NodePools.
    pub per_hour: u64,
    /// Machines of NodePools.
    pub machines: u32,
}

/// All lanes, by name of the machine.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) by_name: BTreeMap<String, Lane>,
    pub(super) costs: Vec<CostStep>,
    /// `(lane, index)` of the pods that exist, by uid.
    pods: BTreeMap<String, (String, usize)>,
}

/// What changed on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneChange {
    Requested,
    Running,
    Failed,
    Gone,
}

pub(super) fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

impl Lanes {
    /// Takes over the cloud as it is; answers what changed, in order of names.
    pub(super) fn cloud(&mut self, at: Duration, view: &CloudView) -> Vec<(String, LaneChange)> {
        let now = millis(at);
        let mut changes = Vec::new();
        let (mut cost, mut machines) = (0, 0);
        for vm in view.vms.iter().filter(|vm| is_of_pool(vm)) {
            // The cloud remembers the price of machines that are gone; nobody pays it any more.
            if vm.state != VmState::Gone {
                cost += vm.price_per_hour.0;
                machines += u32::from(vm.price_per_hour.0 > 0);
            }
            let known = self.by_name.contains_key(&vm.name);
            let lane = self.by_name.entry(vm.name.clone()).or_insert_with(|| Lane {
                name: vm.name.clone(),
                pool: vm.tags.get(POOL_TAG).cloned().unwrap_or_default(),
                size: vm.size.clone(),
                zone: vm.zone.clone(),
                capacity: vm.capacity_type.as_str().to_owned(),
                cores: vm.cores,
                price: vm.price_per_hour.0,
                requested: now,
                running: None,
                ready: None,
                gone: None,
                why: String::new(),
                end: String::new(),
                pods: Vec::new(),
            });
            if !known {
                changes.push((vm.name.clone(), LaneChange::Requested));
            }
            lane.price = lane.price.max(vm.price_per_hour.0);
            if vm.state == VmState::Running && lane.running.is_none() {
                lane.running = Some(now);
                changes.push((vm.name.clone(), LaneChange::Running));
            }
            if let (Some(code), true) = (&vm.failure, lane.end.is_empty()) {
                lane.end.clone_from(code);
                changes.push((vm.name.clone(), LaneChange::Failed));
            }
            if vm.state == VmState::Gone && lane.gone.is_none() {
                lane.gone = Some(now);
                changes.push((vm.name.clone(), LaneChange::Gone));
            }
        }
        let last = self.costs.last().map(|step| (step.per_hour, step.machines));
        if last != Some((cost, machines)) {
            self.costs.push(CostStep {
                at: now,
                per_hour: cost,
                machines,
            });
        }
        changes
    }

    /// Takes over one pod.
    pub(super) fn pod(&mut self, at: Duration, pod: &Object, gone: bool) {
        let now = millis(at);
        let value = pod.value();
        let Some(node) = value["spec"]["nodeName"].as_str() else {
            return;
        };
        let finished = matches!(
            value["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        );
        if !self.pods.contains_key(pod.uid()) {
            let Some(lane) = self.by_name.get_mut(node) else {
                return;
            };
            let name = format!("{}/{}", pod.namespace(), pod.name());
            let cpu = cpu_milli(value);
            lane.pods.push(PodSpan {
                name,
                cpu,
                bound: now,
                running: None,
                gone: None,
            });
            let index = lane.pods.len() - 1;
            self.pods
                .insert(pod.uid().to_owned(), (node.to_owned(), index));
        }
        let Some((lane, index)) = self.pods.get(pod.uid()) else {
            return;
        };
        let Some(span) = self
            .by_name
            .get_mut(lane)
            .and_then(|lane| lane.pods.get_mut(*index))
        else {
            return;
        };
        if value["status"]["phase"] == "Running" && span.running.is_none() {
            span.running = Some(now);
        }
        if (gone || finished) && span.gone.is_none() {
            span.gone = Some(now);
        }
    }

    /// The node of a machine is ready; true when that is news.
    pub(super) fn ready(&mut self, at: Duration, node: &str) -> bool {
        let Some(lane) = self
            .by_name
            .get_mut(node)
            .filter(|lane| lane.ready.is_none())
        else {
            return false;
        };
        lane.ready = Some(millis(at));
        true
    }
}

/// CPU requests of a pod's containers, in thousandths.
fn cpu_milli(pod: &serde_json::Value) -> u64 {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    containers
        .filter_map(|container| {
            let text = container["resources"]["requests"]["cpu"].as_str()?;
            match text.strip_suffix('m') {
                Some(milli) => milli.parse().ok(),
                None => text.parse::<u64>().ok()?.checked_mul(1000),
            }
        })
        .sum()
}
