//! Drives all components of one cluster.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::api::{Api, Component, Event, Request, Resource, Status, WatchEvent};
use crate::cloud_node::CloudNode;
use crate::daemonset::DaemonSets;
use crate::deployment::Deployments;
use crate::disruption::Disruption;
use crate::garbage_collector::GarbageCollector;
use crate::host::HostFact;
use crate::kubelet::{JoinReport, Kubelets};
use crate::node_lifecycle::NodeLifecycle;
use crate::options::Options;
use crate::outbox::NO_REPLY;
use crate::pod_gc::PodGc;
use crate::replicaset::ReplicaSets;
use crate::scheduler::Scheduler;
use crate::service_account::EachNamespace;

/// Rounds of one [`Cluster::pump`]. The longest chain at one instant is the slow start of a
/// `ReplicaSet` (one round per doubling) and what follows from its last batch: some forty rounds.
const ROUNDS_MAX: u32 = 2_000;

/// How many of the last requests a livelock report shows.
const REPORTED_REQUESTS: usize = 12;

/// Pause before a resource the server does not know is listed again. Custom resources appear
/// within this time after their definition.
const MISSING_RETRY: Duration = Duration::from_secs(1);

/// Why [`Cluster::pump`] gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PumpError {
    /// Components kept answering each other at one instant.
    #[error("components are not quiescent after {rounds} rounds at {now}; last requests: {last}")]
    Livelock {
        rounds: u32,
        now: Timestamp,
        last: String,
    },
    /// A component may not read what it watches, or the read failed.
    #[error("{component} cannot read {group}/{plural}: {code} {message}")]
    Read {
        component: String,
        group: String,
        plural: String,
        code: u16,
        message: String,
    },
}

/// Refusals kept for [`Cluster::refusals`]: enough to name a missing rule; a component that is
/// refused once is refused at every attempt.
const REFUSALS_MAX: usize = 100;

/// A request of a component that the server did not understand or allow.
///
/// Conflicts, absent objects, evictions that must wait and quotas are no refusals: clients meet
/// them in ordinary life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub at: Timestamp,
    /// The user name of the component.
    pub user: String,
    pub verb: &'static str,
    /// `group/plural`, with the subresource behind a slash.
    pub resource: String,
    /// `namespace/name`.
    pub object: String,
    pub code: u16,
    pub message: String,
}

/// All components of one cluster and the events that wait for them.
pub struct Cluster {
    kubelets: Kubelets,
    cloud_node: CloudNode,
    node_lifecycle: NodeLifecycle,
    others: Vec<Box<dyn Component>>,
    slots: Vec<Slot>,
    feeds: BTreeMap<Resource, Feed>,
    polled: Option<u64>,
    order: Option<ChaCha8Rng>,
    last_requests: VecDeque<String>,
    refusals: Vec<Refusal>,
}

/// What waits for one component.
#[derive(Debug, Default)]
struct Slot {
    inbox: VecDeque<Event>,
    subscribed: BTreeSet<Resource>,
    /// How many of its watches have been looked at; watches only grow.
    seen_watches: usize,
}

/// The position in the history of one resource and who follows it.
#[derive(Debug, Default)]
struct Feed {
    since: u64,
    followers: Vec<usize>,
    /// Components whose list was answered 404, and when to try again.
    missing: Vec<usize>,
    retry_at: Option<Timestamp>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// A cluster whose components have seen nothing yet.
    pub fn new(options: &Options) -> Self {
        let timings = &options.timings;
        let others: Vec<Box<dyn Component>> = vec![
            Box::new(EachNamespace::service_account()),
            Box::new(EachNamespace::root_certificate(&options.cluster_ca_pem)),
            Box::new(Deployments::new()),
            Box::new(ReplicaSets::new()),
            Box::new(DaemonSets::new()),
            Box::new(Scheduler::new(timings)),
            Box::new(Disruption::new()),
            Box::new(GarbageCollector::new(timings)),
            Box::new(PodGc::new(timings)),
        ];
        let mut slots = Vec::new();
        slots.resize_with(TYPED + others.len(), Slot::default);
        Self {
            kubelets: Kubelets::new(options),
            cloud_node: CloudNode::new(timings),
            node_lifecycle: NodeLifecycle::new(timings),
            others,
            slots,
            feeds: BTreeMap::new(),
            polled: None,
            order: options.order_seed.map(ChaCha8Rng::from_seed),
            last_requests: VecDeque::new(),
            refusals: Vec::new(),
        }
    }

    /// Takes a fact from the cloud. Its consequences happen at the next [`Cluster::pump`].
    pub fn apply(&mut self, now: Timestamp, fact: &HostFact) {
        self.node_lifecycle.apply(now, fact);
        self.cloud_node.apply(now, fact);
        self.kubelets.apply(now, fact);
    }

    /// Hosts that gave up joining since the last call, oldest first.
    pub fn join_failures(&mut self) -> Vec<JoinReport> {
        self.kubelets.join_failures()
    }

    /// Requests that were refused since the last call, oldest first; at most a hundred are kept.
    /// Each means that a component and the server disagree.
    pub fn refusals(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.refusals)
    }

    /// Lets every component react to what has happened until all are quiescent at `now`, and
    /// answers when the next of them wants to be woken.
    ///
    /// Call it again at that time, after every [`Cluster::apply`], and after foreign writes.
    pub fn pump(
        &mut self,
        now: Timestamp,
        api: &mut dyn Api,
    ) -> Result<Option<Timestamp>, PumpError> {
        self.last_requests.clear();
        for _ in 0..ROUNDS_MAX {
            self.poll(api)?;
            self.subscribe(now, api)?;
            self.queue_wakes(now);
            let busy = self.busy();
            if busy.is_empty() {
                return Ok(self.wake_at());
            }
            for index in busy {
                self.run(index, now, api);
            }
        }
        Err(PumpError::Livelock {
            rounds: ROUNDS_MAX,
            now,
            last: self
                .last_requests
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join("; "),
        })
    }

    /// When a component next wants to be woken.
    pub fn wake_at(&self) -> Option<Timestamp> {
        // Missing resources are no reason to wake: they can only appear by a write, and whoever
        // writes pumps.
        (0..self.slots.len())
            .filter_map(|index| self.component(index).wake_at())
            .min()
    }

    /// Delivers to one component all that waits for it and carries out its requests.
    fn run(&mut self, index: usize, now: Timestamp, api: &mut dyn Api) {
        let waiting = std::mem::take(&mut self.slots[index].inbox);
        for event in waiting {
            let requests = self.component_mut(index).step(now, event);
            for request in requests {
                let result = api.call(now, &request);
                self.note(now, &request, result.as_ref().err());
                if request.id != NO_REPLY {
                    let reply = Event::Reply {
                        id: request.id,
                        result,
                    };
                    self.slots[index].inbox.push_back(reply);
                }
            }
        }
    }

    fn note(&mut self, now: Timestamp, request: &Request, error: Option<&Status>) {
        if let Some(status) = error
            && is_refusal(status)
            && self.refusals.len() < REFUSALS_MAX
        {
            let resource = &request.resource;
            let sub = if request.subresource.is_empty() {
                ""
            } else {
                "/"
            };
            self.refusals.push(Refusal {
                at: now,
                user: request.identity.user.to_string(),
                verb: request.operation.verb(),
                resource: format!(
                    "{}/{}{sub}{}",
                    resource.group, resource.plural, request.subresource
                ),
                object: format!("{}/{}", request.namespace, request.name),
                code: status.code,
                message: status.message.clone(),
            });
        }
        if self.last_requests.len() == REPORTED_REQUESTS {
            self.last_requests.pop_front();
        }
        let outcome = error.map_or(200, |status| status.code);
        self.last_requests.push_back(format!(
            "{} {} {}/{} {} -> {outcome}",
            request.identity.user,
            request.operation.verb(),
            request.resource.plural,
            request.subresource,
            request.name,
        ));
    }

    /// Components with something to do, in the order in which they step.
    fn busy(&mut self) -> Vec<usize> {
        let mut busy: Vec<usize> = (0..self.slots.len())
            .filter(|index| !self.slots[*index].inbox.is_empty())
            .collect();
        if let Some(random) = &mut self.order {
            // Fisher-Yates; at most a dozen components, so the bias of a remainder is nil.
            for last in (1..busy.len()).rev() {
                let bound = u64::try_from(last + 1).unwrap_or(1);
                let with = usize::try_from(random.next_u64() % bound).unwrap_or_default();
                busy.swap(last, with);
            }
        }
        busy
    }

    fn queue_wakes(&mut self, now: Timestamp) {
        for index in 0..self.slots.len() {
            let due = self.component(index).wake_at().is_some_and(|at| at <= now);
            if due && self.slots[index].inbox.is_empty() {
                self.slots[index].inbox.push_back(Event::Wake);
            }
        }
    }

    /// Hands new changes to those who follow the resource, in the order of revisions.
    fn poll(&mut self, api: &mut dyn Api) -> Result<(), PumpError> {
        let newest = api.revision();
        if self.polled == Some(newest) {
            return Ok(());
        }
        let touched = self.polled.and_then(|since| api.touched(since));
        self.polled = Some(newest);
        let mut changes: Vec<WatchEvent> = Vec::new();
        let followed = self.feeds.keys().copied();
        let resources: Vec<Resource> = match &touched {
            Some(touched) => followed
                .filter(|resource| touched.contains(resource))
                .collect(),
            None => followed.collect(),
        };
        for resource in resources {
            changes.extend(self.changes_of(resource, api)?);
        }
        changes.sort_by_key(|change| change.revision);
        for change in changes {
            let Some(feed) = self.feeds.get_mut(&change.resource) else {
                continue;
            };
            feed.since = feed.since.max(change.revision);
            for index in &feed.followers {
                self.slots[*index]
                    .inbox
                    .push_back(Event::Watch(change.clone()));
            }
        }
        for feed in self.feeds.values_mut() {
            feed.since = feed.since.max(newest);
        }
        Ok(())
    }

    fn changes_of(
        &mut self,
        resource: Resource,
        api: &mut dyn Api,
    ) -> Result<Vec<WatchEvent>, PumpError> {
        let feed = &self.feeds[&resource];
        let Some(first) = feed.followers.first().copied() else {
            return Ok(Vec::new());
        };
        match api.changes(self.component(first).identity(), resource, feed.since) {
            Ok(changes) => Ok(changes),
            // 410: the position is older than the compaction floor. List again for everybody.
            Err(status) if status.code == 410 => {
                let followers = feed.followers.clone();
                for index in followers {
                    self.list(index, resource, api)?;
                }
                Ok(Vec::new())
            }
            // 404: the custom resource was taken away.
            Err(status) if status.code == 404 => Ok(Vec::new()),
            Err(status) => Err(self.unreadable(first, resource, &status)),
        }
    }

    /// Lists what components have begun to watch.
    fn subscribe(&mut self, now: Timestamp, api: &mut dyn Api) -> Result<(), PumpError> {
        for index in 0..self.slots.len() {
            let watches = self.component(index).watches();
            if watches.len() == self.slots[index].seen_watches {
                continue;
            }
            let watches = watches.to_vec();
            self.slots[index].seen_watches = watches.len();
            for resource in watches {
                if self.slots[index].subscribed.insert(resource) {
                    self.start(index, resource, now, api)?;
                }
            }
        }
        self.retry_missing(now, api)
    }

    fn start(
        &mut self,
        index: usize,
        resource: Resource,
        now: Timestamp,
        api: &mut dyn Api,
    ) -> Result<(), PumpError> {
        let found = self.list(index, resource, api)?;
        let feed = self.feeds.entry(resource).or_default();
        if found {
            feed.followers.push(index);
        } else {
            feed.missing.push(index);
            feed.retry_at = Some(now + MISSING_RETRY);
        }
        Ok(())
    }

    fn retry_missing(&mut self, now: Timestamp, api: &mut dyn Api) -> Result<(), PumpError> {
        let due: Vec<Resource> = self
            .feeds
            .iter()
            .filter(|(_, feed)| feed.retry_at.is_some_and(|at| at <= now))
            .map(|(resource, _)| *resource)
            .collect();
        for resource in due {
            let Some(feed) = self.feeds.get_mut(&resource) else {
                continue;
            };
            feed.retry_at = None;
            for index in std::mem::take(&mut feed.missing) {
                self.start(index, resource, now, api)?;
            }
        }
        Ok(())
    }

    /// Lists a resource for one component; false when the server does not know it.
    fn list(
        &mut self,
        index: usize,
        resource: Resource,
        api: &mut dyn Api,
    ) -> Result<bool, PumpError> {
        match api.list(self.component(index).identity(), resource) {
            Ok((objects, revision)) => {
                let feed = self.feeds.entry(resource).or_default();
                feed.since = feed.since.max(revision);
                self.slots[index]
                    .inbox
                    .push_back(Event::Listed { resource, objects });
                Ok(true)
            }
            Err(status) if status.code == 404 => Ok(false),
            Err(status) => Err(self.unreadable(index, resource, &status)),
        }
    }

    fn unreadable(&self, index: usize, resource: Resource, status: &Status) -> PumpError {
        PumpError::Read {
            component: self.component(index).name().to_owned(),
            group: resource.group.to_owned(),
            plural: resource.plural.to_owned(),
            code: status.code,
            message: status.message.clone(),
        }
    }
}

/// Whether an answer means that the request should never have been made like this.
fn is_refusal(status: &Status) -> bool {
    let quota = status.code == 403 && status.message.contains("exceeded quota");
    let ending = status.code == 403 && status.message.contains("being terminated");
    !matches!(status.code, 404 | 409 | 410 | 429) && !quota && !ending
}

/// Components with a type of their own, because facts reach them.
const TYPED: usize = 3;

impl Cluster {
    fn component(&self, index: usize) -> &dyn Component {
        match index {
            0 => &self.kubelets,
            1 => &self.cloud_node,
            2 => &self.node_lifecycle,
            other => self.others[other - TYPED].as_ref(),
        }
    }

    fn component_mut(&mut self, index: usize) -> &mut dyn Component {
        match index {
            0 => &mut self.kubelets,
            1 => &mut self.cloud_node,
            2 => &mut self.node_lifecycle,
            other => self.others[other - TYPED].as_mut(),
        }
    }
}

#[cfg(test)]
mod driver_tests;
#[cfg(test)]
mod tests;
