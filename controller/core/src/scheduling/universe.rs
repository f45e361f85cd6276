//! Label keys, label values and resource names of one decision, as small integers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bits::Bits;
use crate::labels;
use crate::quantity::{self, Resources};
use crate::requirements::{Requirement, RequirementSpec, Requirements};

/// Index of a label key.
pub(crate) type KeyId = usize;
/// Index of a value among those of its key.
pub(crate) type ValueId = usize;

/// Amounts by resource index.
pub(crate) type Amounts = smallvec::SmallVec<[i64; 6]>;

/// Host name of every claim that has no node yet; no pod can ask for it by name.
pub(crate) const NEW_HOST: &str = "\u{0}new";

/// All keys and values that a decision can meet: those of the catalogues, shared between
/// decisions, and on top of them those that one snapshot names.
#[derive(Clone, Debug)]
pub(crate) struct Universe {
    /// What is shared. It stands on nothing itself.
    below: Option<Arc<Self>>,
    keys: Names,
    well_known: Vec<bool>,
    values: Vec<Names>,
    resources: Names,
    /// The host name's key.
    pub(crate) hostname: KeyId,
    /// The zone's key.
    pub(crate) zone: KeyId,
    /// The capacity type's key.
    pub(crate) capacity_type: KeyId,
    /// The instance type's key.
    pub(crate) instance_type: KeyId,
}

/// Names with consecutive numbers, on top of others.
#[derive(Clone, Debug, Default)]
struct Names {
    ids: BTreeMap<Arc<str>, usize>,
    list: Vec<Arc<str>>,
    /// Number of the first one.
    first: usize,
}

impl Names {
    fn above(below: &Self) -> Self {
        Self {
            first: below.len(),
            ..Self::default()
        }
    }

    fn len(&self) -> usize {
        self.first + self.list.len()
    }

    fn id(&self, name: &str) -> Option<usize> {
        self.ids.get(name).copied()
    }

    fn add(&mut self, name: &Arc<str>) -> usize {
        let id = self.len();
        self.ids.insert(Arc::clone(name), id);
        self.list.push(Arc::clone(name));
        id
    }
}

impl Universe {
    pub(crate) fn new() -> Self {
        let mut universe = Self {
            below: None,
            keys: Names::default(),
            well_known: Vec::new(),
            values: Vec::new(),
            resources: Names::default(),
            hostname: 0,
            zone: 0,
            capacity_type: 0,
            instance_type: 0,
        };
        universe.hostname = universe.add_key(&labels::HOSTNAME.into());
        universe.zone = universe.add_key(&labels::ZONE.into());
        universe.capacity_type = universe.add_key(&labels::CAPACITY_TYPE.into());
        universe.instance_type = universe.add_key(&labels::INSTANCE_TYPE.into());
        universe.add_value(universe.hostname, &NEW_HOST.into());
        for name in [
            quantity::CPU,
            quantity::MEMORY,
            quantity::EPHEMERAL_STORAGE,
            quantity::PODS,
        ] {
            universe.add_resource(&name.into());
        }
        universe
    }

    /// A universe with everything of another one, which keeps its numbers and is not copied.
    pub(crate) fn above(below: &Arc<Self>) -> Self {
        Self {
            keys: Names::above(&below.keys),
            well_known: below.well_known.clone(),
            values: below.values.iter().map(Names::above).collect(),
            resources: Names::above(&below.resources),
            below: Some(Arc::clone(below)),
            ..**below
        }
    }

    pub(crate) fn add_key(&mut self, key: &Arc<str>) -> KeyId {
        if let Some(id) = self.key(key) {
            return id;
        }
        self.well_known.push(labels::is_well_known(key));
        self.values.push(Names::default());
        self.keys.add(key)
    }

    pub(crate) fn add_value(&mut self, key: KeyId, value: &Arc<str>) -> ValueId {
        self.value(key, value)
            .unwrap_or_else(|| self.values[key].add(value))
    }

    pub(crate) fn add_requirements(&mut self, requirements: &Requirements) {
        for (key, requirement) in requirements.iter() {
            let key = self.add_key(key);
            for value in requirement.values() {
                self.add_value(key, value);
            }
        }
    }

    pub(crate) fn add_specs(&mut self, specs: &[RequirementSpec]) {
        self.add_requirements(&Requirements::from_specs(specs));
    }

    pub(crate) fn add_labels(&mut self, labels: &BTreeMap<Arc<str>, Arc<str>>) {
        self.add_requirements(&Requirements::from_labels(labels));
    }

    pub(crate) fn add_resource(&mut self, name: &Arc<str>) -> usize {
        self.resource(name)
            .unwrap_or_else(|| self.resources.add(name))
    }

    pub(crate) fn add_resources(&mut self, resources: &Resources) {
        for name in resources.extended.keys() {
            self.add_resource(name);
        }
    }

    pub(crate) fn key(&self, key: &str) -> Option<KeyId> {
        let below = self.below.as_ref().and_then(|below| below.keys.id(key));
        below.or_else(|| self.keys.id(key))
    }

    pub(crate) fn key_name(&self, key: KeyId) -> &Arc<str> {
        match &self.below {
            Some(below) if key < self.keys.first => &below.keys.list[key],
            _ => &self.keys.list[key - self.keys.first],
        }
    }

    pub(crate) fn key_count(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn is_well_known(&self, key: KeyId) -> bool {
        self.well_known[key]
    }

    pub(crate) fn value(&self, key: KeyId, value: &str) -> Option<ValueId> {
        let known = |below: &Arc<Self>| below.values.get(key)?.id(value);
        let below = self.below.as_ref().and_then(known);
        below.or_else(|| self.values[key].id(value))
    }

    pub(crate) fn value_name(&self, key: KeyId, value: ValueId) -> &Arc<str> {
        let own = &self.values[key];
        match &self.below {
            Some(below) if value < own.first => &below.values[key].list[value],
            _ => &own.list[value - own.first],
        }
    }

    pub(crate) fn value_count(&self, key: KeyId) -> usize {
        self.values[key].len()
    }

    pub(crate) fn resource_count(&self) -> usize {
        self.resources.len()
    }

    pub(crate) fn resource_name(&self, resource: usize) -> &Arc<str> {
        match &self.below {
            Some(below) if resource < self.resources.first => &below.resources.list[resource],
            _ => &self.resources.list[resource - self.resources.first],
        }
    }

    pub(crate) fn resource(&self, name: &str) -> Option<usize> {
        let below = self.below.as_ref().and_then(|b| b.resources.id(name));
        below.or_else(|| self.resources.id(name))
    }

    /// Resources nobody in the universe asks for or sells are left out.
    pub(crate) fn amounts(&self, resources: &Resources) -> Amounts {
        let mut amounts = Amounts::from_elem(0, self.resource_count());
        amounts[0] = resources.cpu_milli;
        amounts[1] = resources.memory_bytes;
        amounts[2] = resources.ephemeral_bytes;
        amounts[3] = resources.pods;
        for (name, &amount) in &resources.extended {
            if let Some(id) = self.resource(name) {
                amounts[id] = amount;
            }
        }
        amounts
    }

    pub(crate) fn to_resources(&self, amounts: &[i64]) -> Resources {
        let mut resources = Resources::default();
        for (resource, &amount) in amounts.iter().enumerate() {
            if amount != 0 {
                resources.set(self.resource_name(resource), amount);
            }
        }
        resources
    }

    /// Which known values of the key the requirement allows.
    pub(crate) fn allowed(&self, key: KeyId, requirement: &Requirement) -> Bits {
        let count = self.value_count(key);
        if !requirement.is_complement() {
            let mut bits = Bits::none(count);
            for id in self.values_of(key, requirement) {
                bits.insert(id);
            }
            return bits;
        }
        let mut bits = Bits::all(count);
        if requirement.bounds() == (None, None) {
            for id in self.values_of(key, requirement) {
                bits.remove(id);
            }
        } else {
            for id in 0..count {
                if !requirement.has(self.value_name(key, id)) {
                    bits.remove(id);
                }
            }
        }
        bits
    }

    fn values_of(&self, key: KeyId, requirement: &Requirement) -> impl Iterator<Item = ValueId> {
        let values = requirement.values().iter();
        values.filter_map(move |value| self.value(key, value))
    }
}
