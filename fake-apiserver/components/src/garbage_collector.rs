//! Not written yet.

use jiff::Timestamp;

use crate::api::{Component, Event, Identity, Request, Resource};
use crate::kinds::{PODS, identities};
use crate::outbox::Outbox;

#[derive(Debug)]
pub(crate) struct GarbageCollector {
    out: Outbox,
}

impl GarbageCollector {
    pub(crate) fn new(_timings: &crate::options::Timings) -> Self {
        Self { out: Outbox::new(identities::controller("generic-garbage-collector")) }
    }
}

impl Component for GarbageCollector {
    fn name(&self) -> &str {
        "generic-garbage-collector"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        &[PODS]
    }

    fn step(&mut self, _now: Timestamp, _event: Event) -> Vec<Request> {
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }
}
