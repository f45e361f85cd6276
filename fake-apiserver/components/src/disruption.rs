//! Not written yet.

use jiff::Timestamp;

use crate::api::{Component, Event, Identity, Request, Resource};
use crate::kinds::{PDBS, identities};
use crate::outbox::Outbox;

#[derive(Debug)]
pub(crate) struct Disruption {
    out: Outbox,
}

impl Disruption {
    pub(crate) fn new() -> Self {
        Self { out: Outbox::new(identities::controller("disruption-controller")) }
    }
}

impl Component for Disruption {
    fn name(&self) -> &str {
        "disruption-controller"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        &[PDBS]
    }

    fn step(&mut self, _now: Timestamp, _event: Event) -> Vec<Request> {
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }
}
