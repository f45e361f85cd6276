//! What answers to the controller's requests lead to.

use jiff::Timestamp;
use serde_json::json;

use super::sets::REVISION;
use super::{Asked, CREATE_RETRY, Deployments, status};
use crate::api::{Change, Object, Operation, Status};
use crate::events::{About, normal, warning};
use crate::kinds::DEPLOYMENTS;
use crate::object::{Key, number};
use crate::outbox::Target;

impl Deployments {
    pub(super) fn reply(&mut self, now: Timestamp, id: u64, result: Result<Object, Status>) {
        let Some(asked) = self.asked.remove(&id) else {
            return;
        };
        match asked {
            Asked::Status(key) => match result {
                Ok(object) => self.see_deployment(Change::Modified, &object),
                // A conflict: the newer state is on its way and syncs again.
                Err(_) => {
                    if let Some(view) = self.wanted.get_mut(&key) {
                        view.sent = None;
                    }
                }
            },
            Asked::Progress(key) => {
                if let Some(view) = self.wanted.get_mut(&key) {
                    view.awaited = view.awaited.saturating_sub(1);
                }
                if let Ok(object) = result {
                    self.see_deployment(Change::Modified, &object);
                }
                self.dirty.insert(key);
            }
            Asked::TouchSet(key) => self.set_changed(&key, &result),
            Asked::CreateSet {
                deployment,
                replicas,
            } => {
                self.set_changed(&deployment, &result);
                self.set_created(now, &deployment, replicas, result);
            }
            Asked::ScaleSet {
                deployment,
                set,
                from,
                to,
            } => {
                self.set_changed(&deployment, &result);
                if result.is_ok() && from != to {
                    self.say_scaled(now, &deployment, &set, from, to);
                }
            }
        }
    }

    fn set_changed(&mut self, key: &Key, result: &Result<Object, Status>) {
        if let Some(view) = self.wanted.get_mut(key) {
            view.awaited = view.awaited.saturating_sub(1);
        }
        if let Ok(object) = result {
            self.see_set(Change::Modified, object);
            self.dirty.insert(key.clone());
        }
    }

    fn set_created(
        &mut self,
        now: Timestamp,
        key: &Key,
        replicas: i64,
        result: Result<Object, Status>,
    ) {
        let Some(view) = self.wanted.get_mut(key) else {
            return;
        };
        match result {
            Ok(set) => {
                let status = status::set_created(now, view.object.value(), set.name());
                let mut body = view.object.value().clone();
                body["status"] = status;
                let revision = &set.value()["metadata"]["annotations"][REVISION];
                if !body["metadata"]["annotations"].is_object() {
                    body["metadata"]["annotations"] = json!({});
                }
                body["metadata"]["annotations"][REVISION] = revision.clone();
                let target = Target::new(DEPLOYMENTS, &key.namespace, &key.name).status();
                let id = self.out.ask(target, Operation::Update(body));
                // The next pass judges the deployment with this condition.
                self.wait(key, id, Asked::Progress(key.clone()));
                if replicas > 0 {
                    self.say_scaled(now, key, set.name(), 0, replicas);
                }
            }
            Err(status) if status.code == 409 => {
                // Another set has the name: hash again with a higher count.
                let count = number(&view.object.value()["status"]["collisionCount"]) + 1;
                let mut body = view.object.value().clone();
                body["status"]["collisionCount"] = json!(count);
                let target = Target::new(DEPLOYMENTS, &key.namespace, &key.name).status();
                let id = self.out.ask(target, Operation::Update(body));
                self.asked.insert(id, Asked::Status(key.clone()));
            }
            Err(status) => {
                let about = About::new("apps/v1", "Deployment", view.object.value());
                let message = format!("Failed to create new replica set: {}", status.message);
                let note = warning("ReplicaSetCreateError", &message);
                self.events.write(&mut self.out, now, &about, note);
                self.timers.insert((now + CREATE_RETRY, key.clone()));
            }
        }
    }

    fn say_scaled(&mut self, now: Timestamp, key: &Key, set: &str, from: i64, to: i64) {
        let Some(view) = self.wanted.get(key) else {
            return;
        };
        let about = About::new("apps/v1", "Deployment", view.object.value());
        let direction = if to > from { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {set} from {from} to {to}");
        let note = normal("ScalingReplicaSet", &message);
        self.events.write(&mut self.out, now, &about, note);
    }
}
