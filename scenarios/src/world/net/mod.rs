//! What lies between processes and servers: a network, and the state it is in.
//!
//! | World | Network |
//! |---|---|
//! | `discrete` | [`InProcess`]: a request is a function call; links have no state |
//! | `pipes` | HTTP over in-memory connections, which [`Links`] delay, stall, cut and refuse |
//! | `turmoil` | HTTP over turmoil's TCP between hosts; [`Links`] partition, hold and delay |
//! | `live` | real sockets, outside of our hands |
//!
//! Faults of single requests (latency, 5xx, reset after commit …) are layers above any network;
//! here are the faults of connections.

mod http;
mod links;
mod tally;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use controller_ports::Transport;

pub use controller_operator::real::HttpVersion;

use crate::world::ports::{Incarnation, Target, Wire};
use crate::world::site::Site;

pub(crate) use http::{Absolute, serve};
pub use links::{Accept, Condition, Cut, Flow, Links, Route, Then, Toward, Traffic, Way};
pub use links::{GIVE_UP, GIVE_UP_SILENT};
pub(crate) use links::{Obeys, process_of};
pub use tally::Tally;

/// Joins simulated processes to the servers.
pub(crate) trait Network: fmt::Debug + Send + Sync {
    /// Carries the requests of one life of a process to a server.
    fn transport(&self, life: &Arc<Incarnation>, target: Target) -> Transport;

    /// Runs `start`, which spawns the first task of a process, where the process lives.
    fn start(&self, life: &Arc<Incarnation>, start: Box<dyn FnOnce() + Send>) {
        let _ = life;
        start();
    }

    /// The process is dead: what it had open is closed, as an operating system would.
    fn died(&self, life: &Incarnation) {
        let _ = life;
    }

    /// After this time every stopped task has had a turn and is gone.
    fn grace(&self) -> Duration {
        Duration::from_millis(1)
    }
}

/// Requests are calls of the servers' routers.
#[derive(Clone, Debug)]
pub(crate) struct InProcess {
    /// The API server's.
    pub(crate) kube: axum::Router,
    /// ARM's.
    pub(crate) arm: axum::Router,
}

impl InProcess {
    pub(crate) fn of(site: &Site) -> Self {
        Self {
            kube: site.api.router(),
            arm: site.arm.router(),
        }
    }
}

impl Network for InProcess {
    fn transport(&self, _life: &Arc<Incarnation>, target: Target) -> Transport {
        let router = match target {
            Target::Kube => self.kube.clone(),
            Target::Arm => self.arm.clone(),
        };
        Wire::new(router).transport()
    }
}
