//! The state of links, set by timelines, faults and tests; networks obey it.
//!
//! ```text
//! process ──── to_server ───▶ server     accept: does the server answer a SYN?
//!         ◀─── to_client ────
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::world::ports::Target;

/// Which links: those of a process, those to a server, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Name of the process without the number of its life, e.g. `controller`; `None`: all.
    pub process: Option<String>,
    /// The server; `None`: both.
    pub target: Option<Target>,
}

impl Route {
    /// Every link.
    pub fn all() -> Self {
        Self::default()
    }

    /// Links to this server.
    pub fn to(target: Target) -> Self {
        Self {
            process: None,
            target: Some(target),
        }
    }

    /// Links of this process.
    pub fn of(process: &str) -> Self {
        Self {
            process: Some(process.to_owned()),
            target: None,
        }
    }

    /// The link between these two.
    pub fn between(process: &str, target: Target) -> Self {
        Self {
            process: Some(process.to_owned()),
            target: Some(target),
        }
    }

    /// Whether the link between these two is one of them.
    pub fn covers(&self, process: &str, target: Target) -> bool {
        self.process.as_deref().is_none_or(|name| name == process)
            && self.target.is_none_or(|server| server == target)
    }
}

/// The state of a link; the default is a good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Requests.
    pub to_server: Way,
    /// Answers.
    pub to_client: Way,
    /// New connections.
    pub accept: Accept,
}

impl Condition {
    /// Nothing passes in either direction until it is healed; what was sent arrives then.
    pub fn partitioned() -> Self {
        let held = Way {
            flow: Flow::Held,
            ..Way::default()
        };
        Self {
            to_server: held,
            to_client: held,
            accept: Accept::Silent,
        }
    }

    /// Nothing passes, and connections that were open stay dead after it is healed.
    pub fn black_hole() -> Self {
        let lost = Way {
            flow: Flow::Lost,
            ..Way::default()
        };
        Self {
            to_server: lost,
            to_client: lost,
            accept: Accept::Silent,
        }
    }

    /// Every byte takes this long, each way.
    pub fn delayed(delay: Duration) -> Self {
        let late = Way {
            delay,
            ..Way::default()
        };
        Self {
            to_server: late,
            to_client: late,
            accept: Accept::Yes,
        }
    }

    /// New connections are refused; open ones live on.
    pub fn refusing() -> Self {
        Self {
            accept: Accept::Refused,
            ..Self::default()
        }
    }

    /// Whether bytes pass in both directions.
    pub fn is_open(&self) -> bool {
        self.to_server.flow == Flow::Open && self.to_client.flow == Flow::Open
    }

    /// One direction of it.
    pub fn way(&self, toward: Toward) -> &Way {
        match toward {
            Toward::Server => &self.to_server,
            Toward::Client => &self.to_client,
        }
    }
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// How long a byte travels. Timers tick in milliseconds: less counts as one.
    pub delay: Duration,
    /// At most this much more, drawn for each segment; order is kept.
    pub spread: Duration,
    /// Bytes a second that fit through; `None`: any number.
    pub bandwidth: Option<u32>,
    /// Bytes a second that the receiver takes, a slow reader; `None`: any number.
    pub read_pace: Option<u32>,
    /// Of a thousand segments, how many are lost for good: the connection stalls there, and its
    /// client gives it up after [`GIVE_UP`].
    pub lost_per_mille: u16,
    /// Whether anything passes.
    pub flow: Flow,
}

/// Whether bytes pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// Yes.
    #[default]
    Open,
    /// Not now: what is sent waits, as retransmission would have it, and arrives when the flow
    /// opens again.
    Held,
    /// Never: connections on which something was to pass are dead from then on.
    Lost,
}

/// What becomes of new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Accept {
    /// They are accepted.
    #[default]
    Yes,
    /// They are refused at once.
    Refused,
    /// Nobody answers: the client waits until it gives up or somebody does.
    Silent,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Toward {
    /// Requests.
    Server,
    /// Answers.
    Client,
}

/// What happens to a connection once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// Both ends get a reset.
    Reset,
    /// No more bytes in this direction: its receiver sees the end, the other direction lives on.
    HalfClose(Toward),
    /// The connection is dead, and nobody is told.
    Vanish,
    /// This many more bytes in this direction, then the end.
    After {
        /// Which direction is counted and cut.
        toward: Toward,
        /// How many bytes still pass.
        bytes: u64,
        /// What kind of end.
        then: Then,
    },
}

/// How a truncated connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Then {
    /// As if the sender had closed it.
    Close,
    /// With a reset.
    Reset,
}

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections that were opened.
    pub connections: u64,
    /// Connections that were refused or not answered.
    pub refused: u64,
    /// Connections that were reset, given up or vanished.
    pub broken: u64,
    /// Bytes that servers have received.
    pub bytes_to_server: u64,
    /// Bytes that clients have received.
    pub bytes_to_client: u64,
}

/// A client whose bytes are not acknowledged for this long gives a connection up
/// (`TCP_USER_TIMEOUT` of the controller's sockets).
pub const GIVE_UP: Duration = Duration::from_secs(30);
/// A silent connection is probed after [`GIVE_UP`] (`SO_KEEPALIVE`), and given up as long after.
pub const GIVE_UP_SILENT: Duration = Duration::from_mins(1);

/// A connection that obeys the state of its link.
pub(crate) trait Obeys: fmt::Debug + Send + Sync {
    /// The link's state is now this.
    fn set(&self, condition: Condition);
    /// This happens to it.
    fn cut(&self, cut: Cut);
}

/// The state of all links of a world: a handle, clones of which share it.
#[derive(Clone, Default)]
pub struct Links(Arc<Mutex<State>>);

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Links")
            .field("conditions", &state.conditions)
            .field("traffic", &state.traffic)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    /// The later one counts.
    conditions: Vec<(Route, Condition)>,
    armed: Vec<(Route, Cut)>,
    down: BTreeSet<Target>,
    connections: BTreeMap<u64, Entry>,
    traffic: Traffic,
    opened: u64,
    revision: u64,
}

struct Entry {
    life: String,
    target: Target,
    connection: Arc<dyn Obeys>,
}

/// `controller` of `controller#1`.
pub(crate) fn process_of(life: &str) -> &str {
    life.split('#').next().unwrap_or(life)
}

impl State {
    fn condition(&self, process: &str, target: Target) -> Condition {
        let found = self.conditions.iter().rev();
        let mut found = found.filter(|(route, _)| route.covers(process, target));
        let mut condition = found
            .next()
            .map_or_else(Condition::default, |(_, condition)| *condition);
        if self.down.contains(&target) {
            condition.accept = Accept::Refused;
        }
        condition
    }

    fn on(&self, route: &Route) -> Vec<(u64, Arc<dyn Obeys>, Condition)> {
        let covered = self
            .connections
            .iter()
            .filter(|(_, entry)| route.covers(process_of(&entry.life), entry.target));
        covered
            .map(|(id, entry)| {
                let condition = self.condition(process_of(&entry.life), entry.target);
                (*id, Arc::clone(&entry.connection), condition)
            })
            .collect()
    }
}

impl Links {
    /// Sets the state of links, open connections included, until it is set again.
    pub fn set(&self, route: &Route, condition: Condition) {
        let connections = {
            let mut state = self.lock();
            state.conditions.retain(|(known, _)| known != route);
            state.conditions.push((route.clone(), condition));
            state.revision += 1;
            state.on(route)
        };
        for (_, connection, condition) in connections {
            connection.set(condition);
        }
    }

    /// A server goes down with all its connections, or comes back with what it had stored.
    pub fn set_down(&self, target: Target, is_down: bool) {
        let has_changed = {
            let mut state = self.lock();
            state.revision += 1;
            if is_down {
                state.down.insert(target)
            } else {
                state.down.remove(&target)
            }
        };
        if is_down && has_changed {
            self.cut(&Route::to(target), Cut::Reset);
        }
    }

    /// Whether a server is down.
    pub fn is_down(&self, target: Target) -> bool {
        self.lock().down.contains(&target)
    }

    /// Every link is good again, every server is up, and nothing is armed. What was cut stays cut.
    pub fn heal(&self) {
        let connections = {
            let mut state = self.lock();
            state.conditions.clear();
            state.armed.clear();
            state.down.clear();
            state.revision += 1;
            state.on(&Route::all())
        };
        for (_, connection, condition) in connections {
            connection.set(condition);
        }
    }

    /// Cuts the connections that are open on these links now; answers how many there are.
    pub fn cut(&self, route: &Route, cut: Cut) -> usize {
        let connections = self.lock().on(route);
        for (_, connection, _) in &connections {
            connection.cut(cut);
        }
        connections.len()
    }

    /// Cuts the next connection that is opened on one of these links.
    pub fn arm(&self, route: &Route, cut: Cut) {
        self.lock().armed.push((route.clone(), cut));
    }

    /// The state of one link.
    pub fn condition(&self, process: &str, target: Target) -> Condition {
        self.lock().condition(process, target)
    }

    /// Grows with every change of a state, so that a network may follow.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// What has passed so far.
    pub fn traffic(&self) -> Traffic {
        self.lock().traffic
    }

    /// Numbers a new connection and says what it begins with.
    pub(crate) fn open(&self, life: &str, target: Target) -> (u64, Condition, Option<Cut>) {
        let mut state = self.lock();
        state.opened += 1;
        state.traffic.connections += 1;
        let process = process_of(life);
        let armed = state
            .armed
            .iter()
            .position(|(route, _)| route.covers(process, target));
        let cut = armed.map(|index| state.armed.remove(index).1);
        (state.opened, state.condition(process, target), cut)
    }

    /// From now on the connection obeys.
    pub(crate) fn join(&self, id: u64, (life, target): (&str, Target), connection: Arc<dyn Obeys>) {
        let entry = Entry {
            life: life.to_owned(),
            target,
            connection,
        };
        self.lock().connections.insert(id, entry);
    }

    /// Both ends are closed.
    pub(crate) fn leave(&self, id: u64) {
        self.lock().connections.remove(&id);
    }

    /// Resets what a dead process had open.
    pub(crate) fn reset_life(&self, life: &str) {
        let connections: Vec<Arc<dyn Obeys>> = {
            let state = self.lock();
            let of_life = state
                .connections
                .values()
                .filter(|entry| entry.life == life);
            of_life.map(|entry| Arc::clone(&entry.connection)).collect()
        };
        for connection in connections {
            connection.cut(Cut::Reset);
        }
    }

    /// Counts.
    pub(crate) fn count(&self, count: impl FnOnce(&mut Traffic)) {
        count(&mut self.lock().traffic);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_state_that_covers_a_link_counts() {
        let links = Links::default();
        assert_eq!(
            links.condition("controller", Target::Kube),
            Condition::default()
        );
        links.set(&Route::all(), Condition::delayed(Duration::from_millis(5)));
        links.set(
            &Route::between("controller", Target::Kube),
            Condition::partitioned(),
        );
        assert_eq!(
            links.condition("controller", Target::Kube),
            Condition::partitioned()
        );
        let late = Condition::delayed(Duration::from_millis(5));
        assert_eq!(links.condition("controller", Target::Arm), late);
        assert_eq!(links.condition("other", Target::Kube), late);
        links.set(&Route::to(Target::Kube), Condition::refusing());
        assert_eq!(
            links.condition("controller", Target::Kube).accept,
            Accept::Refused
        );
        links.heal();
        assert_eq!(
            links.condition("controller", Target::Kube),
            Condition::default()
        );
    }

    #[test]
    fn an_armed_cut_hits_the_next_connection_of_its_link_only() {
        let links = Links::default();
        links.arm(&Route::to(Target::Arm), Cut::Vanish);
        assert_eq!(links.open("controller#1", Target::Kube).2, None);
        assert_eq!(links.open("controller#1", Target::Arm).2, Some(Cut::Vanish));
        assert_eq!(links.open("controller#1", Target::Arm).2, None);
        assert_eq!(links.traffic().connections, 3);
    }
}
