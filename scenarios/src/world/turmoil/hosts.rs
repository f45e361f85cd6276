//! The hosts, and what makes them follow the state of the links.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use controller_operator::real::transport_over;
use controller_ports::{Spawner, Transport};
use futures::FutureExt;
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use turmoil::Sim;
use turmoil::net::TcpListener;

use crate::world::net::{Absolute, Condition, Flow, HttpVersion, Links, Network};
use crate::world::net::{process_of, serve};
use crate::world::ports::{FencedSpawner, Findings, Incarnation, Target};
use crate::world::site::Site;
use crate::world::turmoil::TICK;
use crate::world::turmoil::stream::{Connector, PORT};

/// Least time on the way: turmoil delivers between ticks anyhow.
const LATENCY: Duration = Duration::from_millis(1);

const TARGETS: [Target; 2] = [Target::Kube, Target::Arm];

/// Name of a server's host.
pub(super) fn host_of(target: Target) -> &'static str {
    match target {
        Target::Kube => "kube",
        Target::Arm => "arm",
    }
}

type Start = Box<dyn FnOnce() + Send>;

/// What a process is to run next on its host.
#[derive(Clone, Default)]
struct Inbox(Arc<(Mutex<VecDeque<Start>>, Notify)>);

impl Inbox {
    fn push(&self, start: Start) {
        lock(&self.0.0).push_back(start);
        self.0.1.notify_one();
    }

    /// The host's software: starts what it is given, for ever.
    #[expect(clippy::infinite_loop, reason = "the type is turmoil's")]
    async fn run(self) -> turmoil::Result {
        loop {
            let next = lock(&self.0.0).pop_front();
            match next {
                Some(start) => start(),
                None => self.0.1.notified().await,
            }
        }
    }
}

/// turmoil's network, as processes see it.
#[derive(Clone)]
pub(super) struct Fabric(Arc<Mutex<State>>);

struct State {
    http: HttpVersion,
    links: Links,
    inboxes: BTreeMap<String, Inbox>,
    /// Processes without a host yet.
    new: Vec<(String, Inbox)>,
}

impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0);
        f.debug_tuple("Fabric").field(&state.links).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fabric {
    pub(super) fn new(http: HttpVersion) -> Self {
        Self(Arc::new(Mutex::new(State {
            http,
            links: Links::default(),
            inboxes: BTreeMap::new(),
            new: Vec::new(),
        })))
    }

    /// Whose state the network follows.
    pub(super) fn joins(&self, links: Links) {
        lock(&self.0).links = links;
    }
}

impl Network for Fabric {
    fn transport(&self, life: &Arc<Incarnation>, target: Target) -> Transport {
        let (links, http) = {
            let state = lock(&self.0);
            (state.links.clone(), state.http)
        };
        let connector = Connector::new(links, life.name(), target);
        match target {
            Target::Kube => Absolute::transport(transport_over(connector, http)),
            Target::Arm => transport_over(connector, HttpVersion::Http1),
        }
    }

    fn start(&self, life: &Arc<Incarnation>, start: Start) {
        let process = process_of(life.name()).to_owned();
        let mut state = lock(&self.0);
        let inbox = state.inboxes.get(&process).cloned();
        let inbox = inbox.unwrap_or_else(|| {
            let inbox = Inbox::default();
            state.inboxes.insert(process.clone(), inbox.clone());
            state.new.push((process, inbox.clone()));
            inbox
        });
        inbox.push(start);
    }

    /// A host may have had its turn in this tick: by the end of the next one it has stopped.
    fn grace(&self) -> Duration {
        TICK * 2
    }
}

/// What turmoil was told about a link last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    is_held: bool,
    /// Requests, answers.
    is_cut: (bool, bool),
    delay: Duration,
}

impl Told {
    fn of(condition: Condition) -> Self {
        let flows = (condition.to_server.flow, condition.to_client.flow);
        Self {
            // turmoil holds both directions or none.
            is_held: flows.0 == Flow::Held || flows.1 == Flow::Held,
            is_cut: (flows.0 == Flow::Lost, flows.1 == Flow::Lost),
            delay: condition.to_server.delay.max(condition.to_client.delay),
        }
    }
}

/// The outside of the simulation: registers hosts, and does to them what links demand.
pub(super) struct Hosts {
    fabric: Fabric,
    processes: Vec<String>,
    revision: u64,
    told: BTreeMap<(String, Target), Told>,
    down: BTreeSet<Target>,
}

impl Hosts {
    /// Starts the servers' hosts.
    pub(super) fn new(sim: &mut Sim<'_>, site: &Site, fabric: &Fabric) -> Self {
        let http = lock(&fabric.0).http;
        let servers = [
            (Target::Kube, site.api.router(), http),
            (Target::Arm, site.arm.router(), HttpVersion::Http1),
        ];
        for (target, router, http) in servers {
            sim.host(host_of(target), move || listen(router.clone(), http));
        }
        Self {
            fabric: fabric.clone(),
            processes: Vec::new(),
            revision: 0,
            told: BTreeMap::new(),
            down: BTreeSet::new(),
        }
    }

    /// Between two ticks: new processes get hosts, and links the state they shall have.
    pub(super) fn follow(&mut self, sim: &mut Sim<'_>) {
        let (new, links) = {
            let mut state = lock(&self.fabric.0);
            (std::mem::take(&mut state.new), state.links.clone())
        };
        let has_grown = !new.is_empty();
        for (process, inbox) in new {
            sim.host(process.as_str(), move || inbox.clone().run());
            self.processes.push(process);
        }
        let revision = links.revision();
        if revision == self.revision && !has_grown {
            return;
        }
        self.revision = revision;
        for target in TARGETS {
            self.power(sim, target, links.is_down(target));
            for process in self.processes.clone() {
                let told = Told::of(links.condition(&process, target));
                self.tell(sim, (process, target), told);
            }
        }
    }

    /// A server's host crashes and comes back; what it stores survives.
    fn power(&mut self, sim: &mut Sim<'_>, target: Target, is_down: bool) {
        if is_down && self.down.insert(target) {
            sim.crash(host_of(target));
        } else if !is_down && self.down.remove(&target) {
            sim.bounce(host_of(target));
        }
    }

    fn tell(&mut self, sim: &Sim<'_>, link: (String, Target), told: Told) {
        let before = self.told.get(&link).copied().unwrap_or_default();
        if told == before {
            return;
        }
        let (process, server) = (link.0.as_str(), host_of(link.1));
        if before.is_held && !told.is_held {
            sim.release(process, server);
        }
        if before.is_cut != (false, false) {
            sim.repair(process, server);
        }
        if told.is_held {
            sim.hold(process, server);
        }
        match told.is_cut {
            (false, false) => {}
            (true, true) => sim.partition(process, server),
            (true, false) => sim.partition_oneway(process, server),
            (false, true) => sim.partition_oneway(server, process),
        }
        if told.delay != before.delay {
            sim.set_link_latency(process, server, told.delay.max(LATENCY));
        }
        self.told.insert(link, told);
    }
}

/// A server's software.
fn listen(
    router: axum::Router,
    http: HttpVersion,
) -> impl Future<Output = turmoil::Result> + 'static {
    let spawner = FencedSpawner::new(Incarnation::new("server", 1), Findings::default(), None);
    async move {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            let serving = serve(TokioIo::new(stream), router.clone(), http);
            drop(spawner.spawn("connection", serving.boxed()));
        }
    }
}
