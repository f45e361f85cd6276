//! Numbers for equal things, found by hash. The hash is the same on every machine, and nothing
//! iterates over it.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use indexmap::IndexSet;

use crate::model::PodShape;

/// Things in the order in which they were first seen.
pub(crate) type Interner<K> = IndexSet<K, BuildHasherDefault<Fold>>;

/// Multiplies and rotates word by word: good enough for keys that nobody chooses to collide,
/// because a collision costs a comparison and no more.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fold(u64);

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// A shape that stands for all that need the same of a machine, other pods aside.
#[derive(Clone, Debug)]
pub(crate) struct Needs(pub(crate) Arc<PodShape>);

impl PartialEq for Needs {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.0, &other.0);
        a.requests == b.requests
            && a.node_selector == b.node_selector
            && a.required_affinity.first() == b.required_affinity.first()
            && a.preferred_affinity == b.preferred_affinity
            && a.tolerations == b.tolerations
            && a.host_ports == b.host_ports
            && a.volume_requirements == b.volume_requirements
    }
}

impl Eq for Needs {}

impl Hash for Needs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let shape = &self.0;
        shape.requests.hash(state);
        shape.node_selector.hash(state);
        shape.required_affinity.first().hash(state);
        shape.preferred_affinity.hash(state);
        shape.tolerations.hash(state);
        shape.host_ports.hash(state);
        shape.volume_requirements.hash(state);
    }
}

/// A shape that stands for all that selectors cannot tell apart.
#[derive(Clone, Debug)]
pub(crate) struct Labelled(pub(crate) Arc<PodShape>);

impl PartialEq for Labelled {
    fn eq(&self, other: &Self) -> bool {
        self.0.namespace == other.0.namespace && self.0.labels == other.0.labels
    }
}

impl Eq for Labelled {}

impl Hash for Labelled {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.namespace.hash(state);
        self.0.labels.hash(state);
    }
}
