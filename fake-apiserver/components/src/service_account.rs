//! Not written yet.

use jiff::Timestamp;

use crate::api::{Component, Event, Identity, Request, Resource};
use crate::kinds::{NAMESPACES, identities};
use crate::outbox::Outbox;

#[derive(Debug)]
pub(crate) struct NamespaceDefaults {
    out: Outbox,
}

impl NamespaceDefaults {
    pub(crate) fn new(_options: &crate::options::Options) -> Self {
        Self { out: Outbox::new(identities::controller("service-account-controller")) }
    }
}

impl Component for NamespaceDefaults {
    fn name(&self) -> &str {
        "service-account-controller"
    }

    fn identity(&self) -> &Identity {
        self.out.identity()
    }

    fn watches(&self) -> &[Resource] {
        &[NAMESPACES]
    }

    fn step(&mut self, _now: Timestamp, _event: Event) -> Vec<Request> {
        self.out.take()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }
}
