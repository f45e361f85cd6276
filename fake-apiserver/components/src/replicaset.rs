//! Not written yet.

use jiff::Timestamp;

use crate::api::{Component, Event, Identity, Request, Resource};
use crate::kinds::{REPLICA_SETS, identities};
use crate::outbox::Outbox;

#[derive(Debug)]
pub(crate) struct ReplicaSets {
    out: Outbox,
}

impl ReplicaSets {
    pub(crate) fn new() -> Self {
        Self { out: Outbox::new(identities::controller("replicaset-controller")) }
    }
}

impl Component for ReplicaSets {
    fn name(&self) -> &str {
        "replicaset-controller"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        &[REPLICA_SETS]
    }

    fn step(&mut self, _now: Timestamp, _event: Event) -> Vec<Request> {
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }
}
