//! What a predicate may know of the past.
//!
//! Everything here is kept up to date change by change: what it costs follows what happens, not
//! how large the world is or how long it runs.

mod commands;
mod facts;
mod waiting;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::world::facts::{Change, Object};
use crate::world::facts::{QuotaView, VmView};
use jiff::Timestamp;
use serde_json::Value;

use crate::observe::{Mirror, POOL_LABEL, Seen, resources};

use commands::Commands;
pub use facts::{Act, DeletedPod, Eviction, Facts, Priced, Refusal, Replacement};
use waiting::Waiting;

/// Annotation that protects pods and nodes from voluntary disruption.
pub(super) const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";

/// Claims that are remembered after they have gone: those of the last hour and a bit are asked for.
const GONE_KEPT: Duration = Duration::from_hours(2);

/// Names and times that the present alone does not show.
#[derive(Debug, Default)]
pub struct History {
    /// When each NodeClaim that is gone went, for the last two hours.
    pub claims_gone: BTreeMap<String, Timestamp>,
    /// When each object first asked to be deleted, as `Kind/namespace/name`.
    pub deleting_since: BTreeMap<String, Timestamp>,
    /// Objects that asked to be deleted and are gone.
    pub deletions: u64,
    /// NodeClaims of NodePools that were created, and that are gone.
    pub claims_created: u64,
    /// See [`Self::claims_created`].
    pub claims_deleted: u64,
    /// Nodes of NodePools that are gone.
    pub nodes_deleted: u64,
    /// How long leftovers may exist: one period of the controller's garbage collection and one
    /// pass of the world.
    pub grace: Duration,
    /// What has happened since the last look.
    pub facts: Facts,
    /// Since when the controller has been running, leading and without faults; `None`: it is not.
    pub calm_since: Option<Timestamp>,
    /// Protected pods that run: node, and since when both hold.
    pub protected_pods: BTreeMap<String, (String, Timestamp)>,
    /// Protected nodes, and since when.
    pub protected_nodes: BTreeMap<String, Timestamp>,
    /// When `spec.limits` of each NodePool changed last.
    pub limits_since: BTreeMap<String, Timestamp>,
    /// Pods that nobody has placed yet.
    pub waiting: Waiting,
    /// Voluntary disruptions of each NodePool since anything changed that could ask for them.
    pub churn: BTreeMap<String, u64>,
    /// Nodes of each NodePool when that count began.
    pub churn_nodes: BTreeMap<String, u64>,
    /// Tasks of the controller, and what of it must stay in proportion.
    pub tasks: u64,
    /// Pairs of a metric and what it should say; filled in once a run has settled.
    pub metrics: Vec<Metric>,
    commands: Commands,
    /// What the controller last read of quotas, and when.
    usages: Vec<(Timestamp, Vec<QuotaView>)>,
    /// Announced evictions by provider id: when announced, when due.
    notices: BTreeMap<String, (Timestamp, Timestamp)>,
}

/// A metric of the controller and the same figure counted from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name and labels.
    pub name: String,
    /// What the controller says.
    pub said: i64,
    /// What is true.
    pub truth: i64,
}

/// Usages that are remembered: the newest, and those of the last seconds before it.
const USAGES_MAX: usize = 16;

impl History {
    /// A history that allows leftovers this long.
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            ..Self::default()
        }
    }

    /// Takes note of changes, oldest first; `vms` are the machines there are.
    pub fn observe(&mut self, now: Timestamp, seen: &[Seen], objects: &Mirror, vms: &[VmView]) {
        for change in seen {
            match change.resource {
                resources::CLAIMS => self.claim(now, change, objects, vms),
                resources::NODES => self.node(now, change),
                resources::PODS => self.pod(now, change),
                resources::POOLS => self.pool(now, change),
                resources::DEPLOYMENTS | resources::CLASSES => self.asked(change),
                resources::EVENTS => self.waiting.event(change.object.value()),
                _ => {}
            }
            self.deleting(now, change);
            if change.resource != resources::EVENTS {
                self.facts.changes.push(change.clone());
            }
        }
    }

    /// Takes note of what the controller did; `quotas` are what is true now.
    pub fn act(
        &mut self,
        now: Timestamp,
        act: &Act,
        quotas: impl FnOnce() -> Vec<QuotaView>,
        family: impl FnOnce(&str) -> Option<String>,
    ) {
        match act {
            // As it was is known from the change that follows.
            Act::DeletedPod { .. } => {}
            Act::ReadUsages if self.calm_since.is_none() => {}
            Act::ReadUsages => {
                if self.usages.len() == USAGES_MAX {
                    self.usages.remove(0);
                }
                self.usages.push((now, quotas()));
            }
            Act::QuotaRefused { size, spot } => {
                let present = quotas();
                let names = if *spot {
                    vec!["lowPriorityCores".to_owned()]
                } else {
                    let mut names = vec!["cores".to_owned()];
                    names.extend(family(size));
                    names
                };
                let calm = self.calm_since.is_some();
                let known_since = self.known_since(&present, &names).filter(|_| calm);
                self.facts.refusals.push(Refusal {
                    size: size.clone(),
                    known_since,
                });
                if calm {
                    self.usages.push((now, present));
                }
            }
        }
    }

    /// A pod that the controller deleted directly, as it was.
    pub fn deleted_pod(&mut self, pod: &Object) {
        let value = pod.value();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.facts.deleted_pods.push(DeletedPod {
            pod: format!("{}/{}", pod.namespace(), pod.name()),
            node: text(&value["spec"]["nodeName"]),
            grace_seconds: value["spec"]["terminationGracePeriodSeconds"]
                .as_i64()
                .unwrap_or(30),
        });
    }

    /// Since when the controller has known what these counters say now.
    fn known_since(&self, present: &[QuotaView], names: &[String]) -> Option<Timestamp> {
        let figures = |quotas: &[QuotaView]| {
            let mut found: Vec<QuotaView> = quotas
                .iter()
                .filter(|quota| {
                    names
                        .iter()
                        .any(|name| quota.name.eq_ignore_ascii_case(name))
                })
                .cloned()
                .collect();
            found.sort_by(|left, right| left.name.cmp(&right.name));
            found
        };
        let now = figures(present);
        let same = |(_, quotas): &&(Timestamp, Vec<QuotaView>)| figures(quotas) == now;
        let known = self.usages.iter().rev().take_while(same).last();
        known.map(|(at, _)| *at)
    }

    /// When an announced eviction of a machine strikes.
    pub fn notice(&self, provider_id: &str) -> Option<Timestamp> {
        let notice = self.notices.get(&provider_id.to_lowercase());
        notice.map(|(_, due)| *due)
    }

    /// An eviction was announced.
    pub fn noticed(&mut self, now: Timestamp, provider_id: &str, due: Timestamp) {
        let key = provider_id.to_lowercase();
        self.notices.entry(key).or_insert((now, due));
    }

    /// A machine stopped: taken away, or given up before.
    pub fn stopped(&mut self, now: Timestamp, provider_id: &str, evicted: bool) {
        let Some((noticed, _)) = self.notices.remove(&provider_id.to_lowercase()) else {
            return;
        };
        // Capacity that is taken away asks for new nodes.
        self.churn.clear();
        self.facts.evictions.push(Eviction {
            provider_id: provider_id.to_owned(),
            noticed,
            at: now,
            evicted,
        });
    }

    /// Something outside changed that may ask for other nodes.
    pub fn disturbed(&mut self) {
        self.churn.clear();
    }

    /// Whether the controller runs, leads, and nothing goes wrong.
    pub fn set_calm(&mut self, now: Timestamp, calm: bool) {
        match (calm, self.calm_since) {
            (true, None) => self.calm_since = Some(now),
            (false, Some(_)) => {
                self.calm_since = None;
                self.churn.clear();
                // A process that has died knows nothing; one whose requests are held up sends
                // them when it knows better.
                self.usages.clear();
            }
            _ => {}
        }
    }

    /// Whether there has been calm since `since`, with time for a restarted controller to lead.
    pub fn was_calm(&self, since: Timestamp) -> bool {
        let settled = |calm: Timestamp| calm.checked_add(RECOVERY).is_ok_and(|calm| calm <= since);
        self.calm_since.is_some_and(settled)
    }

    /// When something is due that no change announces: a pod has waited for too long.
    pub fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let patience = super::pod_verdict::PATIENCE + Duration::from_secs(1);
        self.waiting
            .unanswered
            .iter()
            .filter_map(|(since, _)| since.checked_add(patience).ok())
            .find(|due| *due > now)
    }

    /// What has happened was judged.
    pub fn judged(&mut self) {
        self.facts = Facts::default();
    }

    /// Whether something that began at `since` is older than the grace, and the controller could
    /// have seen to it all that time.
    pub fn is_overdue(&self, since: Timestamp, now: Timestamp) -> bool {
        self.calm_since
            .is_some_and(|calm| age(since.max(calm), now) > self.grace)
    }

    fn claim(&mut self, now: Timestamp, change: &Seen, objects: &Mirror, vms: &[VmView]) {
        let name = change.object.name();
        let of_pool = u64::from(!pool_of(&change.object).is_empty());
        if change.change == Change::Added {
            self.claims_created += of_pool;
        }
        if change.change == Change::Deleted {
            self.claims_deleted += of_pool;
            self.claims_gone.entry(name.to_owned()).or_insert(now);
            self.claims_gone
                .retain(|_, gone| age(*gone, now) < GONE_KEPT);
        }
        if let Some(replacement) = self.commands.observe(now, change, objects, vms) {
            self.facts.replacements.push(replacement);
        }
        if newly_disrupted(change).is_some_and(|reason| reason == "Underutilized") {
            let pool = pool_of(&change.object);
            let nodes = objects
                .all(resources::CLAIMS)
                .filter(|claim| pool_of(claim) == pool);
            if !self.churn.contains_key(&pool) {
                let count = u64::try_from(nodes.count()).unwrap_or(u64::MAX);
                self.churn_nodes.insert(pool.clone(), count);
            }
            *self.churn.entry(pool).or_default() += 1;
        }
    }

    fn node(&mut self, now: Timestamp, change: &Seen) {
        let name = change.object.name().to_owned();
        if change.change == Change::Deleted && !pool_of(&change.object).is_empty() {
            self.nodes_deleted += 1;
        }
        if change.change == Change::Deleted || !is_protected(&change.object) {
            self.protected_nodes.remove(&name);
        } else {
            self.protected_nodes.entry(name).or_insert(now);
        }
    }

    fn pod(&mut self, now: Timestamp, change: &Seen) {
        let value = change.object.value();
        let key = format!("{}/{}", change.object.namespace(), change.object.name());
        let node = value["spec"]["nodeName"].as_str().unwrap_or_default();
        let active = change.change != Change::Deleted
            && value["metadata"]["deletionTimestamp"].is_null()
            && !matches!(
                value["status"]["phase"].as_str(),
                Some("Succeeded" | "Failed")
            );
        if active && !node.is_empty() && is_protected(&change.object) {
            let entry = self.protected_pods.entry(key);
            entry.or_insert_with(|| (node.to_owned(), now));
        } else {
            self.protected_pods.remove(&key);
        }
        self.waiting.pod(now, change, active);
        let comes_or_goes = change.change != Change::Modified || !active;
        if comes_or_goes && !is_managed(value) {
            self.churn.clear();
        }
    }

    fn pool(&mut self, now: Timestamp, change: &Seen) {
        let limits = |object: &Object| object.value()["spec"]["limits"].clone();
        let before = change.before.as_ref().map(limits);
        if before != Some(limits(&change.object)) {
            let name = change.object.name().to_owned();
            self.limits_since.insert(name, now);
        }
        self.asked(change);
    }

    /// A change of what is wanted: disruptions that follow have a reason.
    fn asked(&mut self, change: &Seen) {
        let spec = |object: &Object| object.value()["spec"].clone();
        if change.before.as_ref().map(spec) != Some(spec(&change.object)) {
            self.churn.clear();
        }
    }

    fn deleting(&mut self, now: Timestamp, change: &Seen) {
        let kind = match change.resource {
            resources::CLAIMS => "NodeClaim",
            resources::NODES => "Node",
            resources::POOLS => "NodePool",
            resources::CLASSES => "AKSNodeClass",
            _ => return,
        };
        let key = format!(
            "{kind}/{}/{}",
            change.object.namespace(),
            change.object.name()
        );
        if change.change == Change::Deleted {
            self.deletions += u64::from(self.deleting_since.remove(&key).is_some());
        } else if !change.object.value()["metadata"]["deletionTimestamp"].is_null() {
            self.deleting_since.entry(key).or_insert(now);
        }
    }
}

/// How long a controller that has just started, or has just got its network back, needs until it
/// leads and has seen everything: the lease of its predecessor (15 s) and lists.
const RECOVERY: Duration = Duration::from_mins(1);

/// Time from one moment to another; nothing when they are the wrong way round.
pub(super) fn age(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// The NodePool of an object.
pub(super) fn pool_of(object: &Object) -> String {
    let label = &object.value()["metadata"]["labels"][POOL_LABEL];
    label.as_str().unwrap_or_default().to_owned()
}

/// Why a claim is disrupted, when it is.
pub(super) fn disruption(object: &Object) -> Option<&str> {
    let conditions = object.value()["status"]["conditions"].as_array()?;
    let marked = conditions
        .iter()
        .find(|condition| condition["type"] == "DisruptionReason")?;
    (marked["status"] == "True")
        .then(|| marked["reason"].as_str())
        .flatten()
}

/// Why a claim is disrupted from this change on.
pub(super) fn newly_disrupted(change: &Seen) -> Option<&str> {
    let before = change.before.as_ref().and_then(disruption);
    let now = disruption(&change.object)?;
    (before.is_none() && change.change != Change::Deleted).then_some(now)
}

/// Whether a pod follows the wishes of an object that is watched, or of the nodes there are.
fn is_managed(pod: &Value) -> bool {
    let kind = pod["metadata"]["ownerReferences"][0]["kind"].as_str();
    matches!(kind, Some("ReplicaSet" | "DaemonSet"))
}

fn is_protected(object: &Object) -> bool {
    object.value()["metadata"]["annotations"][DO_NOT_DISRUPT] == "true"
}
