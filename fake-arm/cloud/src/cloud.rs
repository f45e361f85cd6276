//! The state machine itself.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    catalog::Catalog,
    config::{CloudConfig, ConfigError},
    control::{DiskView, NicView, VmView},
    event::{CloudEvent, ClusterFacts, NoClusterFacts},
    exchange::{ArmRequest, ArmResponse},
    model::{Cluster, Disk, Document, Group, Nic, Vm},
    operations::{Operation, Operations, Owner, Progress},
    physics::{Capacity, Quota, Step},
    random::Seeds,
    routes,
    timers::{Timer, Timers},
};

/// Deleted resources remembered for inspection, per kind: enough for the longest scenario's
/// history of machines, little enough that a soak run stays small.
const REMEMBERED: usize = 10_000;

/// A whole Azure: one tenant, one subscription, one region with its sizes.
pub struct Cloud {
    pub(crate) config: CloudConfig,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) seeds: Seeds,
    /// The latest time that was told to us; time never runs backwards here.
    pub(crate) now: Timestamp,
    pub(crate) timers: Timers,
    pub(crate) operations: Operations,
    pub(crate) events: Vec<CloudEvent>,
    /// By lower-case name.
    pub(crate) groups: BTreeMap<String, Group>,
    // All others by `ResourceId::key`.
    pub(crate) vms: BTreeMap<String, Vm>,
    pub(crate) nics: BTreeMap<String, Nic>,
    pub(crate) disks: BTreeMap<String, Disk>,
    pub(crate) documents: BTreeMap<String, Document>,
    pub(crate) clusters: BTreeMap<String, Cluster>,
    /// Addresses in use, by subnet key.
    pub(crate) addresses: BTreeMap<String, std::collections::BTreeSet<u32>>,
    pub(crate) capacity: Capacity,
    pub(crate) quota: Quota,
    pub(crate) facts: Box<dyn ClusterFacts>,
    pub(crate) gone_vms: VecDeque<VmView>,
    pub(crate) gone_nics: VecDeque<NicView>,
    pub(crate) gone_disks: VecDeque<DiskView>,
    /// Rises whenever something stored may have changed.
    pub(crate) revision: u64,
    pub(crate) answers: routes::Answers,
    /// Counts everything that needs a name of its own.
    serial: u64,
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloud")
            .field("region", &self.config.region)
            .field("now", &self.now)
            .field("vms", &self.vms.len())
            .field("nics", &self.nics.len())
            .field("disks", &self.disks.len())
            .finish_non_exhaustive()
    }
}

impl Cloud {
    /// A cloud that begins at `now`. Fails when the configuration names what does not exist.
    pub fn new(config: CloudConfig, seed: u64, now: Timestamp) -> Result<Self, ConfigError> {
        let catalog = Catalog::of(&config.region)?;
        let mut cloud = Self {
            seeds: Seeds::new(seed),
            now,
            timers: Timers::default(),
            operations: Operations::default(),
            events: Vec::new(),
            groups: BTreeMap::new(),
            vms: BTreeMap::new(),
            nics: BTreeMap::new(),
            disks: BTreeMap::new(),
            documents: BTreeMap::new(),
            clusters: BTreeMap::new(),
            addresses: BTreeMap::new(),
            capacity: Capacity::default(),
            quota: Quota::new(config.quota.clone()),
            facts: Box::new(NoClusterFacts),
            gone_vms: VecDeque::new(),
            gone_nics: VecDeque::new(),
            gone_disks: VecDeque::new(),
            revision: 0,
            answers: routes::Answers::default(),
            serial: 0,
            catalog,
            config,
        };
        cloud.apply_configuration()?;
        Ok(cloud)
    }

    /// Installs what the managed clusters say about themselves.
    pub fn set_cluster_facts(&mut self, facts: Box<dyn ClusterFacts>) {
        self.facts = facts;
    }

    /// Answers one request at `now`.
    pub fn handle(&mut self, now: Timestamp, request: &ArmRequest) -> ArmResponse {
        self.run_until(now);
        routes::answer(self, request)
    }

    /// Lets everything happen that is due by `now`, and hands over all events since the last call.
    pub fn advance(&mut self, now: Timestamp) -> Vec<CloudEvent> {
        self.run_until(now);
        std::mem::take(&mut self.events)
    }

    /// When `advance` is wanted next: at once when events wait, else at the next deadline.
    pub fn wake_at(&self) -> Option<Timestamp> {
        if self.events.is_empty() {
            self.timers.next_at()
        } else {
            Some(self.now)
        }
    }

    /// Rises whenever something stored may have changed: equal numbers, nothing new to see.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The configuration the cloud began with.
    pub fn config(&self) -> &CloudConfig {
        &self.config
    }

    /// Sizes and prices of the region.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub(crate) fn run_until(&mut self, now: Timestamp) {
        while let Some((at, timer)) = self.timers.pop_due(now) {
            self.now = self.now.max(at);
            self.revision += 1;
            self.fire(timer);
        }
        self.now = self.now.max(now);
    }

    /// The next number of the series that ids are drawn from.
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// The first epoch of a new resource.
    pub(crate) fn first_epoch(&mut self) -> u64 {
        self.next_serial() * crate::lifecycle::EPOCHS_PER_LIFE
    }

    /// A GUID that nobody had before.
    pub(crate) fn next_guid(&mut self, purpose: &str) -> String {
        let serial = self.next_serial();
        self.seeds.guid(purpose, &serial.to_string())
    }

    /// How long a step takes for `identity`.
    pub(crate) fn draw(&self, step: Step, identity: &str) -> SignedDuration {
        self.config.latency.draw(self.seeds, step, identity)
    }

    /// Sets a timer relative to now.
    pub(crate) fn after(&mut self, delay: SignedDuration, timer: Timer) {
        self.timers.set(self.now + delay, timer);
    }

    /// Starts an operation and gives its id.
    pub(crate) fn start_operation(&mut self, owner: Owner, result: Option<String>) -> String {
        let id = self.next_guid("operation");
        let operation = Operation {
            id: id.clone(),
            owner,
            started: self.now,
            ended: None,
            progress: Progress::Running,
            result,
        };
        self.operations.start(self.now, operation);
        id
    }

    /// Ends an operation, if there is one.
    pub(crate) fn end_operation(&mut self, id: Option<String>, progress: Progress) {
        if let Some(id) = id {
            self.operations.end(&id, self.now, progress);
        }
    }
}

/// Remembers something that is gone, within the bound.
pub(crate) fn remember<T>(gone: &mut VecDeque<T>, item: T) {
    if gone.len() == REMEMBERED {
        gone.pop_front();
    }
    gone.push_back(item);
}
