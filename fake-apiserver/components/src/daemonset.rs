//! Not written yet.

use jiff::Timestamp;

use crate::api::{Component, Event, Identity, Request, Resource};
use crate::kinds::{DAEMON_SETS, identities};
use crate::outbox::Outbox;

#[derive(Debug)]
pub(crate) struct DaemonSets {
    out: Outbox,
}

impl DaemonSets {
    pub(crate) fn new() -> Self {
        Self { out: Outbox::new(identities::controller("daemon-set-controller")) }
    }
}

impl Component for DaemonSets {
    fn name(&self) -> &str {
        "daemon-set-controller"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        &[DAEMON_SETS]
    }

    fn step(&mut self, _now: Timestamp, _event: Event) -> Vec<Request> {
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }
}
