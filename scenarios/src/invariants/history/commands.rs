//! Consolidations under way: which nodes were to go, and what came in their place.

use std::time::Duration;

use crate::world::facts::Change;
use crate::world::facts::VmView;
use jiff::Timestamp;

use super::{Priced, Replacement, age, newly_disrupted};
use crate::observe::{Mirror, Seen, resources};

/// Candidates of one command are marked one after the other, and replacements are created right
/// after the last: further apart belongs to another command, or to other pods.
const TOGETHER: Duration = Duration::from_secs(3);

/// Commands that are followed; more under way at once are not judged.
const COMMANDS_MAX: usize = 64;

#[derive(Debug)]
struct Command {
    /// When its last candidate was marked or its last replacement created.
    at: Timestamp,
    candidates: Vec<Priced>,
    replacements: Vec<String>,
    /// Whether pods were waiting: claims may be for them.
    mixed: bool,
}

/// Commands of consolidation that replace nodes.
#[derive(Debug, Default)]
pub(super) struct Commands(Vec<Command>);

impl Commands {
    /// Follows a change of a claim; answers a replacement that has come so far that what it
    /// replaces goes.
    pub(super) fn observe(
        &mut self,
        now: Timestamp,
        change: &Seen,
        objects: &Mirror,
        vms: &[VmView],
    ) -> Option<Replacement> {
        let name = change.object.name();
        if newly_disrupted(change) == Some("Underutilized") {
            self.candidate(now, priced(name, objects, vms)?, objects);
        }
        if change.change == Change::Added {
            let recent = |command: &&mut Command| age(command.at, now) <= TOGETHER;
            if let Some(command) = self.0.last_mut().filter(recent) {
                command.at = now;
                command.replacements.push(name.to_owned());
                command.mixed |= pods_wait(objects);
            }
        }
        let deleting =
            |value: &serde_json::Value| !value["metadata"]["deletionTimestamp"].is_null();
        let goes = deleting(change.object.value())
            && change
                .before
                .as_ref()
                .is_some_and(|before| !deleting(before.value()));
        if !goes {
            return None;
        }
        let at = self
            .0
            .iter()
            .position(|command| command.candidates.iter().any(|from| from.claim == name))?;
        let command = self.0.remove(at);
        if command.mixed || command.replacements.is_empty() {
            return None;
        }
        let to = command
            .replacements
            .iter()
            .map(|claim| priced(claim, objects, vms));
        Some(Replacement {
            to: to.collect::<Option<Vec<_>>>()?,
            from: command.candidates,
        })
    }

    fn candidate(&mut self, now: Timestamp, candidate: Priced, objects: &Mirror) {
        let recent = self
            .0
            .last_mut()
            .filter(|command| age(command.at, now) <= TOGETHER && command.replacements.is_empty());
        if let Some(command) = recent {
            command.at = now;
            command.candidates.push(candidate);
            return;
        }
        if self.0.len() == COMMANDS_MAX {
            self.0.remove(0);
        }
        self.0.push(Command {
            at: now,
            candidates: vec![candidate],
            replacements: Vec::new(),
            mixed: pods_wait(objects),
        });
    }
}

fn pods_wait(objects: &Mirror) -> bool {
    objects.all(resources::PODS).any(|pod| {
        let value = pod.value();
        value["spec"]["nodeName"].is_null() && value["metadata"]["deletionTimestamp"].is_null()
    })
}

/// A claim with its machine, as the cloud sells it.
fn priced(claim: &str, objects: &Mirror, vms: &[VmView]) -> Option<Priced> {
    let claim = objects.get(resources::CLAIMS, "", claim)?;
    let id = claim.value()["status"]["providerID"].as_str()?;
    let vm = vms
        .iter()
        .find(|vm| vm.provider_id.eq_ignore_ascii_case(id))?;
    Some(Priced {
        claim: claim.name().to_owned(),
        offering: format!("{} {} {}", vm.size, vm.zone, vm.capacity_type.as_str()),
        price: vm.price_per_hour.0,
    })
}
