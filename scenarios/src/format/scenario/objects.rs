//! Whether steps name objects that exist by then.

use std::collections::BTreeSet;

use crate::format::check::did_you_mean;
use crate::format::error::FormatError;
use crate::format::scenario::read::Reader;
use crate::format::scenario::{Action, Load, Manifest, ObjectRef, Step};

/// Kinds that only exist when somebody applies them; of others, controllers make some.
const APPLIED: [&str; 8] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "PodDisruptionBudget",
    "NodePool",
    "AKSNodeClass",
    "ClusterRole",
    "ClusterRoleBinding",
];

/// Kinds without a namespace.
const CLUSTER_WIDE: [&str; 4] = [
    "NodePool",
    "AKSNodeClass",
    "ClusterRole",
    "ClusterRoleBinding",
];

/// Kind, namespace and name.
type Key = (String, String, String);

impl Reader<'_> {
    /// An error for each step whose object nobody has applied by then.
    pub(super) fn unknown_objects(
        &self,
        manifests: &[Manifest],
        load: &[Load],
        timeline: &[Step],
        default_pools: bool,
    ) -> Vec<FormatError> {
        let mut known: BTreeSet<Key> = manifests.iter().map(key_of).collect();
        known.extend(
            load.iter()
                .filter_map(Load::object)
                .map(|(namespace, name)| {
                    (
                        "Deployment".to_owned(),
                        namespace.to_owned(),
                        name.to_owned(),
                    )
                }),
        );
        if default_pools {
            for (kind, name) in [
                ("NodePool", "default"),
                ("NodePool", "system-surge"),
                ("AKSNodeClass", "default"),
            ] {
                known.insert((kind.to_owned(), String::new(), name.to_owned()));
            }
        }
        let mut wrong = Vec::new();
        for step in timeline {
            let (verb, target) = match &step.action {
                Action::Apply(more) => {
                    known.extend(more.iter().map(key_of));
                    continue;
                }
                Action::Delete(target) => ("delete", target),
                Action::Scale { target, .. } => ("scale", target),
                Action::Patch { target, .. } => ("patch", target),
                _ => continue,
            };
            if APPLIED.contains(&target.kind.as_str()) && !known.contains(&key(target)) {
                wrong.push(self.unknown_object(
                    target,
                    &format!("{}.{verb}.name", step.path),
                    &known,
                ));
            }
        }
        wrong
    }

    fn unknown_object(&self, target: &ObjectRef, path: &str, known: &BTreeSet<Key>) -> FormatError {
        let (kind, namespace, name) = key(target);
        let place = if namespace.is_empty() {
            String::new()
        } else {
            format!(" in namespace {namespace}")
        };
        let others = known
            .iter()
            .filter(|(other, space, _)| *other == kind && *space == namespace)
            .map(|(.., name)| name.as_str());
        let help = if others.clone().next().is_none() {
            "apply it under 'manifests' or in an earlier step".to_owned()
        } else {
            did_you_mean(&name, others)
        };
        self.error(path, format!("there is no {kind} '{name}'{place} by then"))
            .help(help)
    }
}

fn spaced(kind: &str, namespace: &str) -> String {
    if CLUSTER_WIDE.contains(&kind) {
        String::new()
    } else {
        namespace.to_owned()
    }
}

fn key(target: &ObjectRef) -> Key {
    let namespace = spaced(&target.kind, &target.namespace);
    (target.kind.clone(), namespace, target.name.clone())
}

fn key_of(manifest: &Manifest) -> Key {
    let object = &manifest.object;
    let kind = object["kind"].as_str().unwrap_or_default();
    let namespace = object["metadata"]["namespace"]
        .as_str()
        .unwrap_or("default");
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    (kind.to_owned(), spaced(kind, namespace), name.to_owned())
}
