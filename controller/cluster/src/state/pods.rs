//! Pods, by key and by node, with shared shapes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use controller_core::model::{NodeName, Pod, PodKey, PodShape};

use crate::convert::PodRecord;

/// Shapes nobody uses are dropped when there are this many times more shapes than after the last
/// sweep: a sweep then costs a constant per insertion.
const SWEEP_GROWTH: usize = 2;

/// Fewer shapes than this are never swept.
const SWEEP_MIN: usize = 64;

#[derive(Clone, Debug, Default)]
pub(crate) struct Pods {
    by_key: BTreeMap<PodKey, PodRecord>,
    by_node: BTreeMap<NodeName, BTreeSet<PodKey>>,
    provisionable: BTreeSet<PodKey>,
    shapes: BTreeSet<Arc<PodShape>>,
    shapes_after_sweep: usize,
}

impl Pods {
    pub(crate) fn insert(&mut self, mut record: PodRecord) -> bool {
        record.pod.shape = self.share(&record.pod.shape);
        let key = record.pod.key.clone();
        if self.by_key.get(&key) == Some(&record) {
            return false;
        }
        self.remove(&key);
        if let Some(node) = &record.pod.node {
            self.by_node
                .entry(node.clone())
                .or_default()
                .insert(key.clone());
        }
        if record.provisionable {
            self.provisionable.insert(key.clone());
        }
        self.by_key.insert(key, record);
        true
    }

    pub(crate) fn remove(&mut self, key: &PodKey) -> bool {
        let Some(record) = self.by_key.remove(key) else {
            return false;
        };
        self.provisionable.remove(key);
        if let Some(node) = &record.pod.node
            && let Some(keys) = self.by_node.get_mut(node)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_node.remove(node);
            }
        }
        true
    }

    fn share(&mut self, shape: &Arc<PodShape>) -> Arc<PodShape> {
        if let Some(known) = self.shapes.get(shape) {
            return Arc::clone(known);
        }
        if self.shapes.len() >= SWEEP_MIN.max(self.shapes_after_sweep * SWEEP_GROWTH) {
            self.shapes.retain(|shape| Arc::strong_count(shape) > 1);
            self.shapes_after_sweep = self.shapes.len();
        }
        self.shapes.insert(Arc::clone(shape));
        Arc::clone(shape)
    }

    pub(crate) fn get(&self, key: &PodKey) -> Option<&Pod> {
        self.by_key.get(key).map(|record| &record.pod)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PodRecord> {
        self.by_key.values()
    }

    /// Pods on a node, by key.
    pub(crate) fn on(&self, node: &NodeName) -> impl Iterator<Item = &Pod> {
        self.by_node
            .get(node)
            .into_iter()
            .flatten()
            .filter_map(|key| self.get(key))
    }

    /// Pods that wait for capacity: oldest first, then by key.
    pub(crate) fn pending(&self) -> Vec<Pod> {
        let mut pods: Vec<_> = self
            .provisionable
            .iter()
            .filter_map(|key| self.get(key))
            .cloned()
            .collect();
        pods.sort_by(|a, b| (a.created, &a.key).cmp(&(b.created, &b.key)));
        pods
    }
}
