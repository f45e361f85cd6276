//! Both fakes, the components between them, and what is known of them: the same in every world.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fake_apiserver::{ApiServer, CertificateAuthority, Options as ServerOptions, Tracking};
use fake_apiserver_components::api::{Change, Resource};
use fake_apiserver_components::{Cluster, Options as ClusterOptions, Timings};
use fake_arm::Arm;
use fake_arm_cloud::{CloudConfig, CloudEvent, ClusterView, ConfigError, StopReason, VmView};
use jiff::Timestamp;
use rand_core::Rng;
use serde_json::json;

use controller_ports::Entropy;

use crate::format::ClusterSettings;
use crate::invariants::{Act, History};
use crate::observe::{CloudView, Mirror, Observation, POOL_TAG, Seen, is_of_pool, resources};
use crate::story::Chronicle;
use crate::trace::{Aside, Entry, Trace, body_hash, diff};
use crate::world::bridge::{Crossing, Facts, cross};
use crate::world::controller::{GROUPS, USER};
use crate::world::net::{Links, Tally};
use crate::world::ports::{Finding, SimClock};

/// Bearer tokens of those who are no component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The harness itself, an administrator.
    pub admin: String,
    /// The controller.
    pub controller: String,
}

impl Tokens {
    /// For servers that nobody outside the process can reach.
    pub fn fixed() -> Self {
        Self {
            admin: "nap-admin-token".to_owned(),
            controller: "nap-controller-token".to_owned(),
        }
    }

    /// For servers behind sockets.
    pub fn drawn(entropy: &Entropy) -> Self {
        let token = |name: &str| {
            let mut bytes = [0; 24];
            entropy.stream(name).fill_bytes(&mut bytes);
            bytes
                .iter()
                .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
        };
        Self {
            admin: token("token/admin"),
            controller: token("token/controller"),
        }
    }
}

/// Rounds at one instant after which the world is called a livelock. A round follows each answer
/// from the cloud to the cluster and back; a dozen is usual.
const ROUNDS_MAX: u32 = 1_000;

/// What invariants look at, beside the cloud.
const TELLING: [Resource; 4] = [
    resources::CLAIMS,
    resources::NODES,
    resources::POOLS,
    resources::CLASSES,
];

/// How long leftovers may exist before they count as leaks: two periods of the controller's
/// garbage collection (two minutes each) and the deletion of a machine in between.
const LEAK_GRACE: std::time::Duration = std::time::Duration::from_mins(6);

/// What a site is built from.
#[derive(Debug)]
pub struct SiteOptions<'a> {
    /// The cloud.
    pub cloud: CloudConfig,
    /// The cluster.
    pub cluster: &'a ClusterSettings,
    /// Time.
    pub clock: SimClock,
    /// Randomness.
    pub entropy: Entropy,
    /// Whether components with pending events step in a seeded order.
    pub jitter: bool,
    /// The record of the run.
    pub trace: Trace,
    /// The cluster's certificate authority; `None`: derived from the seed.
    pub ca: Option<CertificateAuthority>,
    /// Host and port of the API server.
    pub kube_address: &'a str,
    /// Who may sign in.
    pub tokens: &'a Tokens,
}

/// Both fakes and what drives them.
#[derive(Debug)]
pub struct Site {
    /// The cloud.
    pub arm: Arm,
    /// The API server.
    pub api: ApiServer,
    /// What the cloud may know of the cluster.
    pub facts: Facts,
    /// Kubernetes objects.
    pub objects: Mirror,
    /// Azure resources.
    pub cloud: CloudView,
    /// What happened.
    pub chronicle: Chronicle,
    /// What invariants know of the past.
    pub history: History,
    /// The managed cluster.
    pub cluster: ClusterView,
    /// The state of the network.
    pub links: Links,
    /// What servers behind sockets have counted.
    pub served: Tally,
    /// Requests that the controller has sent.
    pub requests: Arc<AtomicU64>,
    /// Set when node auto-provisioning was switched on or off.
    pub provisioning: Option<bool>,
    components: Cluster,
    clock: SimClock,
    trace: Trace,
    /// Revision of the cloud at the last look.
    seen_cloud: Option<u64>,
}

/// What [`Site::settle`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// When something happens next.
    pub wake_at: Option<Timestamp>,
    /// Whether anything changed.
    pub changed: bool,
    /// Whether anything changed that invariants look at.
    pub telling: bool,
}

impl Site {
    /// Builds both fakes.
    ///
    /// # Errors
    ///
    /// When the cloud's configuration names what does not exist.
    pub fn new(options: SiteOptions<'_>) -> Result<Self, ConfigError> {
        let SiteOptions {
            cloud,
            cluster,
            clock,
            entropy,
            jitter,
            trace,
            ca,
            kube_address,
            tokens,
        } = options;
        let seed = |name: &str| entropy.stream(name).next_u64();
        let arm = Arm::new(cloud, seed("fake-arm"), clock.of_arm())?;
        let view = arm
            .with_cloud(|cloud, _| cloud.clusters())
            .into_iter()
            .next()
            .ok_or_else(|| ConfigError {
                field: "clusters".to_owned(),
                reason: "a world needs one managed cluster".to_owned(),
            })?;
        let mut server = ServerOptions::new(clock.of_apiserver(), seed("fake-apiserver"))
            .with_token(&tokens.admin, "system:admin", &["system:masters"])
            .with_token(&tokens.controller, USER, &GROUPS);
        server.version = format!("v{}", view.kubernetes_version);
        server.ca = ca;
        server.tracking = Tracking::Applied;
        kube_address.clone_into(&mut server.address);
        let api = ApiServer::new(server);
        let timings = if cluster.realistic {
            Timings::realistic()
        } else {
            Timings::fast()
        };
        let mut components = ClusterOptions::new(api.ca().pem(), timings);
        components.heartbeat = cluster.heartbeat;
        if jitter {
            let mut key = [0; 32];
            entropy.stream("components/order").fill_bytes(&mut key);
            components.order_seed = Some(key);
        }
        let facts = Facts::default();
        arm.with_cloud(|cloud, _| cloud.set_cluster_facts(Box::new(facts.clone())));
        Ok(Self {
            chronicle: Chronicle::new(
                clock.epoch(),
                arm.with_cloud(|cloud, _| cloud.catalog().clone()),
            ),
            arm,
            api,
            facts,
            objects: Mirror::new(),
            cloud: CloudView::default(),
            history: History::new(LEAK_GRACE),
            cluster: view,
            links: Links::default(),
            served: Tally::default(),
            requests: Arc::default(),
            provisioning: None,
            components: Cluster::new(&components),
            clock,
            trace,
            seen_cloud: None,
        })
    }

    /// Lets everything happen that is due now, on both sides of the bridge, until nothing is left.
    ///
    /// # Errors
    ///
    /// When it does not come to an end, or components cannot read what they must.
    pub fn settle(&mut self) -> Result<Settled, Finding> {
        let (mut changed, mut telling) = (false, false);
        for _ in 0..ROUNDS_MAX {
            let now = self.clock.wall();
            let events = self.arm.advance();
            for event in &events {
                self.carry(now, event);
            }
            let components = &mut self.components;
            let woken = self.api.with_api(|api| components.pump(now, api));
            let wake = woken.map_err(|error| Finding::World {
                message: error.to_string(),
            })?;
            self.report_joins();
            let objects = &mut self.objects;
            let seen = self
                .api
                .with_api(|api| objects.refresh(api))
                .map_err(|status| Finding::World {
                    message: format!("the store cannot be read: {}", status.message),
                })?;
            if events.is_empty() && seen.is_empty() {
                let cloud = self.arm.wake_at();
                let wake_at = [wake, cloud].into_iter().flatten().min();
                if wake_at.is_none_or(|at| at > now) {
                    return Ok(Settled {
                        wake_at,
                        changed,
                        telling,
                    });
                }
                continue;
            }
            changed = true;
            telling |= self.note(now, &seen);
        }
        Err(Finding::Livelock {
            message: format!("the world does not come to rest at {}", self.clock.wall()),
        })
    }

    /// The time of this world.
    pub fn clock(&self) -> SimClock {
        self.clock
    }

    /// Takes a look at the cloud; false when nothing has changed there since the last look.
    pub fn refresh_cloud(&mut self) -> bool {
        let revision = self.arm.revision();
        if self.seen_cloud == Some(revision) {
            return false;
        }
        self.seen_cloud = Some(revision);
        let view = self.arm.with_cloud(|cloud, _| CloudView {
            vms: cloud.vms(),
            nics: cloud.nics(),
            disks: cloud.disks(),
        });
        self.tell_machines(&view);
        self.chronicle
            .cloud(self.clock.elapsed(), &view, &self.objects);
        self.cloud = view;
        true
    }

    /// For expectations and invariants.
    pub fn observation(&self) -> Observation<'_> {
        Observation {
            now: self.clock.wall(),
            objects: &self.objects,
            cloud: &self.cloud,
            elapsed: self.clock.elapsed(),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }

    /// Takes note of what the controller did.
    pub(crate) fn note_acts(&mut self, acts: &[Act]) {
        let now = self.clock.wall();
        for act in acts {
            if let Act::DeletedPod { namespace, name } = act
                && let Some(pod) = self.objects.get(resources::PODS, namespace, name)
            {
                self.history.deleted_pod(pod);
            }
            let arm = &self.arm;
            self.history.act(
                now,
                act,
                || arm.with_cloud(|cloud, _| cloud.quotas()),
                |size| {
                    arm.with_cloud(|cloud, _| {
                        let size = cloud.catalog().size(size);
                        size.map(|size| size.family.to_owned())
                    })
                },
            );
        }
    }

    fn carry(&mut self, now: Timestamp, event: &CloudEvent) {
        let (what, id, arg) = describe(event);
        let entry = Entry::Cloud {
            what,
            id,
            arg: &arg,
        };
        self.trace.record(self.clock.millis(), "cloud", entry);
        match event {
            CloudEvent::ScheduledEvent {
                provider_id,
                not_before,
                ..
            } => self.history.noticed(now, provider_id, *not_before),
            CloudEvent::VmStopped {
                provider_id,
                reason,
            } => {
                let evicted = *reason == StopReason::Evicted;
                self.history.stopped(now, provider_id, evicted);
            }
            _ => {}
        }
        match cross(event, &self.cluster.name) {
            Some(Crossing::Host(fact)) => self.components.apply(now, &fact),
            Some(Crossing::Controller(on)) => self.provisioning = Some(on),
            None => {}
        }
        self.chronicle.cloud_event(self.clock.elapsed(), event);
    }

    /// A host that gives up joining fails the machine's provisioning, as the extension that waits
    /// for the kubelet would.
    fn report_joins(&mut self) {
        for report in self.components.join_failures() {
            let reason = report.failure.to_string();
            let entry = Entry::Cloud {
                what: "join-failed",
                id: &report.provider_id,
                arg: &reason,
            };
            self.trace.record(self.clock.millis(), "cloud", entry);
            self.chronicle
                .join_failed(self.clock.elapsed(), &report.hostname, &reason);
            let (status, line) = (report.failure.exit_status(), report.failure.log_line());
            let told = self.arm.with_cloud(|cloud, now| {
                cloud.guest_failed(now, &report.provider_id, status, &line)
            });
            // The machine was deleted meanwhile: nobody asks any more.
            drop(told);
        }
    }

    /// Takes note of changes; answers whether any of them is about something invariants look at.
    fn note(&mut self, now: Timestamp, seen: &[Seen]) -> bool {
        let telling = seen.iter().any(|change| TELLING.contains(&change.resource));
        for change in seen {
            self.trace_write(change);
        }
        let concerns_facts = |change: &Seen| {
            change.resource == resources::NODES || change.resource == resources::POOLS
        };
        if seen.iter().any(concerns_facts) {
            self.facts.refresh(&self.objects);
        }
        self.history
            .observe(now, seen, &self.objects, &self.cloud.vms);
        let decisions = self.chronicle.objects(self.clock.elapsed(), seen);
        for decision in decisions {
            let entry = Entry::Decide {
                what: &decision.what,
                about: &decision.about,
                why: &decision.why,
            };
            self.trace.record(self.clock.millis(), "controller", entry);
        }
        telling
    }

    fn trace_write(&self, change: &Seen) {
        let op = match change.change {
            Change::Added => "create",
            Change::Modified => "update",
            Change::Deleted => "delete",
        };
        let value = change.object.value();
        let body = serde_json::to_vec(value).expect("objects are JSON");
        let entry = Entry::Write {
            op,
            kind: change.resource.plural,
            ns: change.object.namespace(),
            name: change.object.name(),
            rv: change.revision,
            body: &body_hash(&body),
        };
        let more = || match (change.change, &change.before) {
            (Change::Deleted, _) => None,
            (_, Some(before)) => Some(json!({"diff": diff(before.value(), value)})),
            (_, None) => Some(json!({"object": value})),
        };
        self.trace
            .record_with(self.clock.millis(), "store", entry, more);
    }

    /// Says of each machine that has changed since the last look what it is now.
    fn tell_machines(&self, view: &CloudView) {
        // Machines are never taken out of the cloud's list, only marked as gone.
        let known = self
            .cloud
            .vms
            .iter()
            .map(Some)
            .chain(std::iter::repeat(None));
        for (vm, was) in view.vms.iter().zip(known) {
            let same =
                |was: &VmView| (was.state, was.price_per_hour) == (vm.state, vm.price_per_hour);
            if !is_of_pool(vm) || was.is_some_and(same) {
                continue;
            }
            self.trace.aside(self.clock.millis(), || Aside::Vm {
                name: vm.name.clone(),
                pool: vm.tags.get(POOL_TAG).cloned().unwrap_or_default(),
                size: vm.size.clone(),
                zone: vm.zone.clone(),
                capacity: vm.capacity_type.as_str().to_owned(),
                state: format!("{:?}", vm.state).to_lowercase(),
                per_hour: vm.price_per_hour.0,
            });
        }
    }
}

fn describe(event: &CloudEvent) -> (&'static str, &str, String) {
    match event {
        CloudEvent::VmStarted(vm) => ("vm-started", &vm.provider_id, vm.vm_size.clone()),
        CloudEvent::VmStopped {
            provider_id,
            reason,
        } => ("vm-stopped", provider_id, format!("{reason:?}")),
        CloudEvent::ScheduledEvent {
            provider_id,
            not_before,
            ..
        } => ("preempt", provider_id, not_before.to_string()),
        CloudEvent::NapModeChanged { cluster, mode } => {
            ("nap-mode", cluster, mode.as_str().to_owned())
        }
    }
}
