//! Not written yet.

use jiff::Timestamp;

use crate::api::{Component, Event, Identity, Request, Resource};
use crate::kinds::{DEPLOYMENTS, identities};
use crate::outbox::Outbox;

#[derive(Debug)]
pub(crate) struct Deployments {
    out: Outbox,
}

impl Deployments {
    pub(crate) fn new() -> Self {
        Self { out: Outbox::new(identities::controller("deployment-controller")) }
    }
}

impl Component for Deployments {
    fn name(&self) -> &str {
        "deployment-controller"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        &[DEPLOYMENTS]
    }

    fn step(&mut self, _now: Timestamp, _event: Event) -> Vec<Request> {
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }
}
