//! Nodes and the pods on them, as the scheduler believes them to be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::shape::{Port, Shape};
use crate::object::labels;
use crate::quantity::Amounts;
use crate::toleration::Taint;

/// A node with what its pods take.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeInfo {
    pub(super) name: String,
    /// False while only pods, not the Node, have been seen.
    pub(super) exists: bool,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) taints: Vec<Taint>,
    pub(super) unschedulable: bool,
    pub(super) allocatable: Amounts,
    pub(super) requested: Amounts,
    /// CPU and memory as scores count them.
    pub(super) scored: (i64, i64),
    pub(super) ports: BTreeMap<Port, u32>,
    pub(super) pods: BTreeSet<String>,
}

impl NodeInfo {
    fn read(&mut self, node: &Value) {
        self.exists = true;
        self.labels = labels(node);
        self.taints = Taint::read_all(node);
        self.unschedulable = node["spec"]["unschedulable"] == true;
        self.allocatable = Amounts::read(&node["status"]["allocatable"]);
    }

    fn take(&mut self, uid: &str, shape: &Shape) {
        self.requested.add(&shape.requests);
        self.scored.0 += shape.scored.0;
        self.scored.1 += shape.scored.1;
        for port in &shape.ports {
            *self.ports.entry(port.clone()).or_default() += 1;
        }
        self.pods.insert(uid.to_owned());
    }

    fn give_back(&mut self, uid: &str, shape: &Shape) {
        self.requested.subtract(&shape.requests);
        self.scored.0 -= shape.scored.0;
        self.scored.1 -= shape.scored.1;
        for port in &shape.ports {
            if let Some(count) = self.ports.get_mut(port) {
                *count -= 1;
                if *count == 0 {
                    self.ports.remove(port);
                }
            }
        }
        self.pods.remove(uid);
    }
}

/// A pod that is, or is assumed to be, on a node.
#[derive(Clone, Debug)]
pub(super) struct PlacedPod {
    pub(super) node: String,
    pub(super) shape: Arc<Shape>,
    pub(super) deleting: bool,
}

/// The scheduler's picture of the cluster.
#[derive(Debug, Default)]
pub(super) struct Cache {
    nodes: BTreeMap<String, NodeInfo>,
    pods: BTreeMap<String, PlacedPod>,
    /// Placed pods with required anti-affinity.
    repelling: BTreeSet<String>,
    existing: usize,
    /// Rises with every change: verdicts hold for one version.
    pub(super) version: u64,
}

impl Cache {
    /// Nodes that exist, by name.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|node| node.exists)
    }

    pub(super) fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).filter(|node| node.exists)
    }

    /// How many nodes exist.
    pub(super) fn count(&self) -> usize {
        self.existing
    }

    pub(super) fn pod(&self, uid: &str) -> Option<&PlacedPod> {
        self.pods.get(uid)
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = &PlacedPod> {
        self.pods.values()
    }

    pub(super) fn repelling(&self) -> impl Iterator<Item = &PlacedPod> {
        self.repelling.iter().filter_map(|uid| self.pods.get(uid))
    }

    /// Takes a node in; answers whether anything that matters changed.
    pub(super) fn set_node(&mut self, name: &str, node: &Value) -> bool {
        let info = self.nodes.entry(name.to_owned()).or_default();
        let before = info.clone();
        name.clone_into(&mut info.name);
        info.read(node);
        self.existing += usize::from(!before.exists);
        let changed = !before.exists
            || before.labels != info.labels
            || before.taints != info.taints
            || before.unschedulable != info.unschedulable
            || before.allocatable != info.allocatable;
        self.version += u64::from(changed);
        changed
    }

    pub(super) fn remove_node(&mut self, name: &str) {
        let Some(info) = self.nodes.get_mut(name) else {
            return;
        };
        self.existing -= usize::from(info.exists);
        info.exists = false;
        self.version += 1;
        if info.pods.is_empty() {
            self.nodes.remove(name);
        }
    }

    /// Forgets all nodes, but not the pods: a new list follows.
    pub(super) fn clear_nodes(&mut self) {
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        for name in names {
            self.remove_node(&name);
        }
    }

    pub(super) fn clear_pods(&mut self) {
        let uids: Vec<String> = self.pods.keys().cloned().collect();
        for uid in uids {
            self.remove_pod(&uid);
        }
    }

    pub(super) fn place(&mut self, uid: &str, node: &str, shape: &Arc<Shape>) {
        self.remove_pod(uid);
        let info = self.nodes.entry(node.to_owned()).or_default();
        node.clone_into(&mut info.name);
        info.take(uid, shape);
        if !shape.without.is_empty() {
            self.repelling.insert(uid.to_owned());
        }
        let pod = PlacedPod {
            node: node.to_owned(),
            shape: Arc::clone(shape),
            deleting: false,
        };
        self.pods.insert(uid.to_owned(), pod);
        self.version += 1;
    }

    pub(super) fn mark_deleting(&mut self, uid: &str) {
        if let Some(pod) = self.pods.get_mut(uid)
            && !std::mem::replace(&mut pod.deleting, true)
        {
            self.version += 1;
        }
    }

    /// Takes a pod away and answers where it was.
    pub(super) fn remove_pod(&mut self, uid: &str) -> Option<PlacedPod> {
        let pod = self.pods.remove(uid)?;
        self.repelling.remove(uid);
        if let Some(info) = self.nodes.get_mut(&pod.node) {
            info.give_back(uid, &pod.shape);
            if !info.exists && info.pods.is_empty() {
                self.nodes.remove(&pod.node);
            }
        }
        self.version += 1;
        Some(pod)
    }
}
