//! The resources that take part in garbage collection: built-in ones and those of custom
//! resource definitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::Value;

use crate::api::Resource;
use crate::kinds::{
    CONFIG_MAPS, CONTROLLER_REVISIONS, CRDS, DAEMON_SETS, DEPLOYMENTS, LEASES, NAMESPACES, NODES,
    PDBS, PODS, REPLICA_SETS, SECRETS, SERVICE_ACCOUNTS, SERVICES, STATEFUL_SETS,
};
use crate::object::{items, text};

const fn of(group: &'static str, plural: &'static str) -> Resource {
    Resource {
        group,
        version: "v1",
        plural,
    }
}

/// Built-in kinds with their resources. Events take no part.
const BUILT_IN: [(&str, Resource, bool); 22] = [
    ("Namespace", NAMESPACES, false),
    ("Node", NODES, false),
    ("ConfigMap", CONFIG_MAPS, true),
    ("ControllerRevision", CONTROLLER_REVISIONS, true),
    ("DaemonSet", DAEMON_SETS, true),
    ("Deployment", DEPLOYMENTS, true),
    (
        "EndpointSlice",
        of("discovery.k8s.io", "endpointslices"),
        true,
    ),
    ("Job", of("batch", "jobs"), true),
    ("CronJob", of("batch", "cronjobs"), true),
    ("Lease", LEASES, true),
    (
        "PersistentVolumeClaim",
        of("", "persistentvolumeclaims"),
        true,
    ),
    ("PodDisruptionBudget", PDBS, true),
    ("ReplicaSet", REPLICA_SETS, true),
    ("Role", of("rbac.authorization.k8s.io", "roles"), true),
    (
        "RoleBinding",
        of("rbac.authorization.k8s.io", "rolebindings"),
        true,
    ),
    ("Secret", SECRETS, true),
    ("Service", SERVICES, true),
    ("ServiceAccount", SERVICE_ACCOUNTS, true),
    ("StatefulSet", STATEFUL_SETS, true),
    (
        "VolumeAttachment",
        of("storage.k8s.io", "volumeattachments"),
        false,
    ),
    ("CustomResourceDefinition", CRDS, false),
    // Pods last: what owns them is known when they come.
    ("Pod", PODS, true),
];

/// Kinds known so far.
#[derive(Debug)]
pub(super) struct Resources {
    /// By group and kind.
    kinds: BTreeMap<(String, String), (Resource, bool)>,
    list: Vec<Resource>,
}

impl Resources {
    pub(super) fn new() -> Self {
        let mut resources = Self {
            kinds: BTreeMap::new(),
            list: Vec::new(),
        };
        for (kind, resource, namespaced) in BUILT_IN {
            resources.add(kind, resource, namespaced);
        }
        resources
    }

    fn add(&mut self, kind: &str, resource: Resource, namespaced: bool) {
        let key = (resource.group.to_owned(), kind.to_owned());
        if self.kinds.insert(key, (resource, namespaced)).is_none() {
            self.list.push(resource);
        }
    }

    /// Everything to watch; it only grows.
    pub(super) fn list(&self) -> &[Resource] {
        &self.list
    }

    /// Takes in the storage version of an established definition.
    pub(super) fn learn(&mut self, definition: &Value) {
        let spec = &definition["spec"];
        let established = crate::object::condition_status(definition, "Established") == "True";
        let Some(version) = items(&spec["versions"])
            .iter()
            .find(|v| v["served"] == true)
        else {
            return;
        };
        let stored = items(&spec["versions"])
            .iter()
            .find(|v| v["storage"] == true && v["served"] == true)
            .unwrap_or(version);
        let kind = text(&spec["names"]["kind"]);
        let known = self
            .kinds
            .contains_key(&(text(&spec["group"]).to_owned(), kind.to_owned()));
        if !established || known {
            return;
        }
        let resource = Resource {
            group: interned(text(&spec["group"])),
            version: interned(text(&stored["name"])),
            plural: interned(text(&spec["names"]["plural"])),
        };
        self.add(kind, resource, text(&spec["scope"]) == "Namespaced");
    }

    /// The resource of an owner reference and whether it is namespaced.
    pub(super) fn of_kind(&self, api_version: &str, kind: &str) -> Option<(Resource, bool)> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.kinds
            .get(&(group.to_owned(), kind.to_owned()))
            .copied()
    }

    /// Whether strategic merge patches are understood: custom resources have none.
    pub(super) fn is_built_in(resource: Resource) -> bool {
        BUILT_IN.iter().any(|(_, known, _)| *known == resource)
    }
}

/// A string that lives as long as the process. There are as many as there are distinct names of
/// custom resources, whatever the number of simulated clusters.
fn interned(text: &str) -> &'static str {
    static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(same) = known.get(text) {
        return same;
    }
    let leaked: &'static str = Box::leak(text.to_owned().into_boxed_str());
    known.insert(leaked);
    leaked
}
