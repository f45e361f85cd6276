//! Happenings, in the order of time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fake_apiserver_components::api::{Change, Object};
use fake_arm_cloud::{Catalog, CloudEvent, StopReason, VmView};
use jiff::Timestamp;
use serde::Serialize;

use crate::observe::{CloudView, Mirror, POOL_LABEL, Seen, is_true, resources};
use crate::story::lanes::{CostStep, Lane, LaneChange, Lanes, millis};
use crate::story::reasons::{requested, why_this_size};
use crate::story::render::money;

/// What a happening is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A step of the scenario.
    Step,
    /// Pods.
    Pods,
    /// A NodeClaim.
    Claim,
    /// A machine.
    Machine,
    /// A node.
    Node,
    /// A decision or complaint of the controller.
    Decision,
    /// A process.
    Process,
    /// An expectation or invariant was decided.
    Verdict,
}

impl Kind {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Pods => "pods",
            Self::Claim => "claim",
            Self::Machine => "machine",
            Self::Node => "node",
            Self::Decision => "decision",
            Self::Process => "process",
            Self::Verdict => "verdict",
        }
    }
}

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Happening {
    /// Since the start.
    #[serde(serialize_with = "as_millis")]
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    pub at: Duration,
    /// What it is about.
    pub kind: Kind,
    /// What happened.
    pub text: String,
    /// Why.
    pub why: String,
}

fn as_millis<S: serde::Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(millis(*at))
}

/// Something the controller decided and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Reason of the event.
    pub what: String,
    /// `Kind/name`.
    pub about: String,
    /// Message of the event.
    pub why: String,
}

/// Everything a report shows.
#[derive(Debug)]
pub struct Chronicle {
    epoch: Timestamp,
    catalog: Arc<Catalog>,
    happenings: Vec<Happening>,
    lanes: Lanes,
    pods: (usize, usize),
    /// How often each event of the controller was seen, by its name.
    events: BTreeMap<String, i64>,
    failures: BTreeMap<String, String>,
}

/// Pod counts that change within this time are one line.
const PODS_TOGETHER: Duration = Duration::from_secs(2);

/// Reasons of events that say what other lines say already.
const SILENT: [&str; 6] = [
    "Nominated",
    "Launched",
    "Registered",
    "Initialized",
    "Provisioned",
    "Finalized",
];

/// Events about a node and about its claim come within this time.
const TWINS: Duration = Duration::from_secs(1);

impl Chronicle {
    /// Nothing has happened yet.
    pub fn new(epoch: Timestamp, catalog: Arc<Catalog>) -> Self {
        Self {
            epoch,
            catalog,
            happenings: Vec::new(),
            lanes: Lanes::default(),
            pods: (0, 0),
            events: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }

    /// Wall time at the start.
    pub fn epoch(&self) -> Timestamp {
        self.epoch
    }

    /// All happenings.
    pub fn happenings(&self) -> &[Happening] {
        &self.happenings
    }

    /// All machines, the oldest first.
    pub fn lanes(&self) -> Vec<&Lane> {
        let mut lanes: Vec<&Lane> = self.lanes.by_name.values().collect();
        lanes.sort_by_key(|lane| (lane.requested, lane.name.clone()));
        lanes
    }

    /// Cost over time.
    pub fn costs(&self) -> &[CostStep] {
        &self.lanes.costs
    }

    /// What all machines cost until `end`, in millionths of a dollar.
    pub fn total_cost(&self, end: Duration) -> u64 {
        let end = millis(end);
        let steps = &self.lanes.costs;
        let ends = steps.iter().skip(1).map(|step| step.at).chain([end]);
        let sum: u128 = steps
            .iter()
            .zip(ends)
            .map(|(step, until)| {
                u128::from(step.per_hour) * u128::from(until.saturating_sub(step.at))
            })
            .sum();
        u64::try_from(sum / 3_600_000).unwrap_or(u64::MAX)
    }

    /// Adds a line.
    pub fn say(
        &mut self,
        at: Duration,
        kind: Kind,
        text: impl Into<String>,
        why: impl Into<String>,
    ) {
        self.happenings.push(Happening {
            at,
            kind,
            text: text.into(),
            why: why.into(),
        });
    }

    /// The cloud as it is now.
    pub(crate) fn cloud(&mut self, at: Duration, view: &CloudView, objects: &Mirror) {
        for (name, change) in self.lanes.cloud(at, view) {
            let Some(vm) = view.vms.iter().rev().find(|vm| vm.name == name) else {
                continue;
            };
            match change {
                LaneChange::Requested => {
                    let claim = objects
                        .all(resources::CLAIMS)
                        .find(|claim| name.ends_with(claim.name()));
                    let why = claim
                        .map_or_else(String::new, |claim| why_this_size(&self.catalog, claim, vm));
                    let price = self.price(vm);
                    if let Some(lane) = self.lanes.by_name.get_mut(&name) {
                        lane.price = price;
                        lane.why.clone_from(&why);
                    }
                    let text = format!(
                        "{} {} in {} requested for {name}, {}",
                        vm.size,
                        vm.capacity_type.as_str(),
                        vm.zone,
                        money(self.price(vm))
                    );
                    self.say(at, Kind::Machine, text, why);
                }
                LaneChange::Running => self.say(at, Kind::Machine, format!("{name} runs"), ""),
                LaneChange::Failed => {
                    let code = vm.failure.clone().unwrap_or_default();
                    self.say(at, Kind::Machine, format!("{name} refused: {code}"), "");
                }
                LaneChange::Gone => {
                    let why = self.failures.remove(&name).unwrap_or_default();
                    self.say(at, Kind::Machine, format!("{name} gone"), why);
                }
            }
        }
    }

    /// The list price: a machine that has no place yet costs nothing.
    fn price(&self, vm: &VmView) -> u64 {
        let size = self.catalog.size(&vm.size);
        size.and_then(|size| size.price(vm.capacity_type))
            .map_or(0, |price| price.0)
    }

    /// Something the cloud did by itself.
    pub(crate) fn cloud_event(&mut self, at: Duration, event: &CloudEvent) {
        match event {
            CloudEvent::ScheduledEvent {
                provider_id,
                not_before,
                ..
            } => {
                let name = name_of(provider_id);
                let text = format!("{name} will be evicted at {not_before}");
                self.say(at, Kind::Machine, text, "");
            }
            CloudEvent::VmStopped {
                provider_id,
                reason: StopReason::Evicted,
            } => {
                let name = name_of(provider_id).to_owned();
                self.say(at, Kind::Machine, format!("{name} evicted by Azure"), "");
            }
            CloudEvent::NapModeChanged { mode, .. } => {
                let text = format!("node auto-provisioning is {}", mode.as_str());
                self.say(at, Kind::Process, text, "");
            }
            _ => {}
        }
    }

    /// A host gave up joining.
    pub(crate) fn join_failed(&mut self, at: Duration, host: &str, reason: &str) {
        self.say(at, Kind::Node, format!("{host} cannot join"), reason);
    }

    /// Changes of objects; answers with decisions of the controller.
    pub(crate) fn objects(&mut self, at: Duration, seen: &[Seen]) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for change in seen {
            match change.resource {
                resources::PODS => {
                    self.lanes
                        .pod(at, &change.object, change.change == Change::Deleted);
                }
                resources::CLAIMS => self.claim(at, change),
                resources::NODES => self.node(at, change),
                resources::EVENTS => decisions.extend(self.event(at, &change.object)),
                _ => {}
            }
        }
        self.count_pods(at, seen);
        decisions
    }

    fn claim(&mut self, at: Duration, change: &Seen) {
        let name = change.object.name();
        let value = change.object.value();
        match change.change {
            Change::Added => {
                let pool = value["metadata"]["labels"][POOL_LABEL]
                    .as_str()
                    .unwrap_or("?");
                let text = format!("{name} for NodePool {pool}: {}", requested(value));
                self.say(at, Kind::Claim, text, "");
            }
            Change::Modified => {
                let was = change.before.as_ref().is_some_and(|before| {
                    !before.value()["metadata"]["deletionTimestamp"].is_null()
                });
                if !was && !value["metadata"]["deletionTimestamp"].is_null() {
                    self.say(at, Kind::Claim, format!("{name} is being deleted"), "");
                }
            }
            Change::Deleted => self.say(at, Kind::Claim, format!("{name} gone"), ""),
        }
    }

    fn node(&mut self, at: Duration, change: &Seen) {
        let name = change.object.name();
        if change.change == Change::Deleted {
            if !change.object.value()["metadata"]["labels"][POOL_LABEL].is_null() {
                self.say(at, Kind::Node, format!("{name} gone"), "");
            }
        } else if is_true(&change.object, "Ready") && self.lanes.ready(at, name) {
            self.say(at, Kind::Node, format!("{name} ready"), "");
        }
    }

    /// Events of the controller are its published decisions.
    fn event(&mut self, at: Duration, event: &Object) -> Option<Decision> {
        let value = event.value();
        let component = value["reportingComponent"]
            .as_str()
            .filter(|text| !text.is_empty())
            .or_else(|| value["source"]["component"].as_str())?;
        if component != "karpenter" {
            return None;
        }
        let count = value["count"].as_i64().unwrap_or(1);
        let seen = self
            .events
            .insert(event.name().to_owned(), count)
            .unwrap_or(0);
        if seen >= count {
            return None;
        }
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let about = format!(
            "{}/{}",
            text(&value["involvedObject"]["kind"]),
            text(&value["involvedObject"]["name"])
        );
        let decision = Decision {
            what: text(&value["reason"]),
            about,
            why: text(&value["message"]),
        };
        if seen == 0 && !is_silent(&decision) && !self.is_twin(at, &decision) {
            let line = format!("{} {}", decision.what, decision.about);
            self.say(at, Kind::Decision, line, decision.why.clone());
        }
        Some(decision)
    }

    /// Whether the same was just said about the other half of a node and its claim.
    fn is_twin(&self, at: Duration, decision: &Decision) -> bool {
        let recent = self
            .happenings
            .iter()
            .rev()
            .take_while(|it| at.saturating_sub(it.at) <= TWINS);
        recent
            .filter(|it| it.kind == Kind::Decision)
            .any(|it| it.text.starts_with(&decision.what) && same_words(&it.why, &decision.why))
    }

    fn count_pods(&mut self, at: Duration, seen: &[Seen]) {
        let mut counts = self.pods;
        for change in seen.iter().filter(|it| it.resource == resources::PODS) {
            if let Some(count) = change
                .before
                .as_ref()
                .and_then(|pod| of_phase(&mut counts, pod))
            {
                *count -= 1;
            }
            let is_there = change.change != Change::Deleted;
            if let Some(count) = of_phase(&mut counts, &change.object).filter(|_| is_there) {
                *count += 1;
            }
        }
        if counts == self.pods {
            return;
        }
        self.pods = counts;
        let text = format!("{} running, {} pending", counts.0, counts.1);
        match self.happenings.last_mut() {
            Some(last)
                if last.kind == Kind::Pods && at.saturating_sub(last.at) <= PODS_TOGETHER =>
            {
                last.text = text;
            }
            _ => self.say(at, Kind::Pods, text, ""),
        }
    }
}

/// Among (running, pending), the count that the pod is in; pods of the system are in none.
fn of_phase<'a>(counts: &'a mut (usize, usize), pod: &Object) -> Option<&'a mut usize> {
    if pod.namespace() == "kube-system" {
        return None;
    }
    match pod.value()["status"]["phase"].as_str() {
        Some("Running") => Some(&mut counts.0),
        Some("Pending") => Some(&mut counts.1),
        _ => None,
    }
}

/// Whether an event repeats what other lines say: progress of conditions, names of phases.
fn is_silent(decision: &Decision) -> bool {
    let progress = decision.why.starts_with("Status condition transitioned")
        && (!decision.why.contains("-> False")
            || ["Readiness", "UnhealthyDependents", "NotReady"]
                .iter()
                .any(|word| decision.why.contains(word)));
    progress
        || SILENT.contains(&decision.what.as_str())
        || decision.why == "Node is deleting or marked for deletion"
}

/// `Disrupting Node: Empty` and `Disrupting NodeClaim: Empty` say the same.
fn same_words(left: &str, right: &str) -> bool {
    left.replace("NodeClaim", "Node") == right.replace("NodeClaim", "Node")
}

fn name_of(provider_id: &str) -> &str {
    provider_id.rsplit('/').next().unwrap_or(provider_id)
}
