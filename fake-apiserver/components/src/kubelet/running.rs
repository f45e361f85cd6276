//! The life of pods on their nodes.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::pods::{PodState, Stage, shortage};
use super::{Kubelets, Progress, Timer};
use crate::api::Change;
use crate::events::{About, normal};
use crate::kinds::{PODS, identities};
use crate::object::{is_deleting, text};
use crate::outbox::{Target, delete_now, strategic};
use crate::pod;

impl Kubelets {
    pub(super) fn see_pod(&mut self, now: Timestamp, change: Change, value: &Value) {
        let uid = text(&value["metadata"]["uid"]);
        if change == Change::Deleted {
            self.forget_pod(uid);
            return;
        }
        if pod::node_name(value).is_empty() {
            return;
        }
        if let Some(known) = self.pods.get_mut(uid) {
            known.deleting = is_deleting(value);
            known.grace_seconds = pod::grace_seconds(value);
            if pod::is_terminal(value) && known.stage != Stage::Ended {
                known.stage = Stage::Ended;
                self.release(uid);
            }
        } else {
            let state = PodState::read(value);
            self.pods_by_node
                .entry(state.node.clone())
                .or_default()
                .insert(uid.to_owned());
            self.pods.insert(uid.to_owned(), state);
        }
        self.advance(now, uid);
    }

    pub(super) fn forget_pod(&mut self, uid: &str) {
        self.release(uid);
        let Some(state) = self.pods.remove(uid) else {
            return;
        };
        if let Some(of_node) = self.pods_by_node.get_mut(&state.node) {
            of_node.remove(uid);
            if of_node.is_empty() {
                self.pods_by_node.remove(&state.node);
            }
        }
    }

    /// Gives back what a pod held on its node.
    pub(super) fn release(&mut self, uid: &str) {
        let Some(state) = self.pods.get(uid) else {
            return;
        };
        if let Some((amounts, pods)) = self.used.get_mut(&state.node)
            && matches!(
                state.stage,
                Stage::Creating | Stage::Running | Stage::Stopping
            )
        {
            amounts.subtract(&state.requests);
            *pods = pods.saturating_sub(1);
        }
    }

    /// Does the next thing for a pod, if its kubelet is up.
    pub(super) fn advance(&mut self, now: Timestamp, uid: &str) {
        let Some(state) = self.pods.get(uid) else {
            return;
        };
        let node = state.node.clone();
        let Some(host) = self.host_of(&node) else {
            return;
        };
        let Progress::Registered { ready, .. } = host.progress else {
            return;
        };
        match state.stage {
            Stage::Bound | Stage::Ended if state.deleting => self.remove(uid),
            Stage::Creating if state.deleting => self.stop(now, uid, Duration::ZERO),
            Stage::Running if state.deleting => {
                let grace = u64::try_from(state.grace_seconds).unwrap_or_default();
                let grace = Duration::from_secs(grace);
                self.stop(now, uid, grace.min(self.timings.container_stop));
            }
            Stage::Bound if ready || state.host_network => self.admit(now, uid, &node),
            _ => {}
        }
    }

    pub(super) fn stop(&mut self, now: Timestamp, uid: &str, after: Duration) {
        if let Some(state) = self.pods.get_mut(uid) {
            state.stage = Stage::Stopping;
        }
        self.arm(now + after, Timer::Stop(uid.to_owned()));
    }

    pub(super) fn admit(&mut self, now: Timestamp, uid: &str, node: &str) {
        let Some(host) = self.host_of(node) else {
            return;
        };
        let Some(spec) = &host.spec else { return };
        let gpus = match host.progress {
            Progress::Registered { gpus, .. } => gpus,
            _ => 0,
        };
        let (allocatable, address) = (spec.allocatable(gpus), host.address.clone());
        let (used, pods) = self.used.entry(node.to_owned()).or_default();
        let Some(state) = self.pods.get_mut(uid) else {
            return;
        };
        let body = match shortage(&state.requests, used, *pods, &allocatable) {
            Some(short) => {
                state.stage = Stage::Ended;
                PodState::rejected(uid, now, &short)
            }
            None => {
                used.add(&state.requests);
                *pods += 1;
                state.stage = Stage::Creating;
                state.creating(uid, now, &address)
            }
        };
        let creating = state.stage == Stage::Creating;
        self.patch_pod(uid, body);
        if creating {
            self.arm(
                now + self.timings.container_start,
                Timer::Start(uid.to_owned()),
            );
        }
    }

    pub(super) fn containers_started(&mut self, now: Timestamp, start: u64, uid: &str) {
        let Some(state) = self.pods.get_mut(uid) else {
            return;
        };
        if state.stage != Stage::Creating {
            return;
        }
        let Some(host) = self
            .by_node
            .get(&state.node)
            .and_then(|id| self.hosts.get_mut(id))
        else {
            return;
        };
        if host.start != start {
            return;
        }
        host.pods_started += 1;
        let pod_ip = if state.host_network {
            host.address.clone()
        } else {
            let (block, number) = (host.number, host.pods_started);
            format!(
                "10.{}.{}.{}",
                244 + (block >> 8) % 8,
                block & 255,
                number % 250 + 2
            )
        };
        state.stage = Stage::Running;
        state.started = Some(now);
        let body = state.running(uid, now, &host.address, &pod_ip);
        let about = About::pod(&state.key.namespace, &state.key.name, uid);
        let identity = identities::node(&state.node);
        self.patch_pod(uid, body);
        let note = normal("Started", "Container started");
        self.events
            .write_as(&identity, &mut self.out, now, &about, note);
    }

    pub(super) fn containers_stopped(&mut self, now: Timestamp, start: u64, uid: &str) {
        let Some(state) = self.pods.get(uid) else {
            return;
        };
        let alive = self
            .host_of(&state.node)
            .is_some_and(|host| host.start == start);
        if !alive || state.stage != Stage::Stopping {
            return;
        }
        let body = state.ended(uid, now);
        self.release(uid);
        if let Some(state) = self.pods.get_mut(uid) {
            state.stage = Stage::Ended;
        }
        self.patch_pod(uid, body);
        self.remove(uid);
    }

    /// The last word on a deleted pod: take the object away.
    pub(super) fn remove(&mut self, uid: &str) {
        let Some(state) = self.pods.get_mut(uid) else {
            return;
        };
        // Once is enough: a finalizer may hold the object, and whoever lifts it ends it.
        if std::mem::replace(&mut state.removed, true) {
            return;
        }
        let target = Target::new(PODS, &state.key.namespace, &state.key.name);
        self.out
            .tell_as(identities::node(&state.node), target, delete_now(Some(uid)));
    }

    pub(super) fn patch_pod(&mut self, uid: &str, body: Value) {
        let Some(state) = self.pods.get(uid) else {
            return;
        };
        let target = Target::new(PODS, &state.key.namespace, &state.key.name).status();
        self.out
            .tell_as(identities::node(&state.node), target, strategic(body));
    }
}
