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

/// All keys and values that a decision can meet.
#[derive(Debug)]
pub(crate) struct Universe {
    keys: BTreeMap<Arc<str>, KeyId>,
    key_names: Vec<Arc<str>>,
    well_known: Vec<bool>,
    values: Vec<Values>,
    resources: BTreeMap<Arc<str>, usize>,
    resource_names: Vec<Arc<str>>,
    /// The host name's key.
    pub(crate) hostname: KeyId,
    /// The zone's key.
    pub(crate) zone: KeyId,
    /// The capacity type's key.
    pub(crate) capacity_type: KeyId,
    /// The instance type's key.
    pub(crate) instance_type: KeyId,
}

#[derive(Debug, Default)]
struct Values {
    ids: BTreeMap<Arc<str>, ValueId>,
    names: Vec<Arc<str>>,
}

impl Universe {
    pub(crate) fn new() -> Self {
        let mut universe = Self {
            keys: BTreeMap::new(),
            key_names: Vec::new(),
            well_known: Vec::new(),
            values: Vec::new(),
            resources: BTreeMap::new(),
            resource_names: Vec::new(),
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

    pub(crate) fn add_key(&mut self, key: &Arc<str>) -> KeyId {
        if let Some(&id) = self.keys.get(key) {
            return id;
        }
        let id = self.key_names.len();
        self.keys.insert(Arc::clone(key), id);
        self.key_names.push(Arc::clone(key));
        self.well_known.push(labels::is_well_known(key));
        self.values.push(Values::default());
        id
    }

    pub(crate) fn add_value(&mut self, key: KeyId, value: &Arc<str>) -> ValueId {
        let values = &mut self.values[key];
        if let Some(&id) = values.ids.get(value) {
            return id;
        }
        let id = values.names.len();
        values.ids.insert(Arc::clone(value), id);
        values.names.push(Arc::clone(value));
        id
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
        if let Some(&id) = self.resources.get(name) {
            return id;
        }
        let id = self.resource_names.len();
        self.resources.insert(Arc::clone(name), id);
        self.resource_names.push(Arc::clone(name));
        id
    }

    pub(crate) fn add_resources(&mut self, resources: &Resources) {
        for name in resources.extended.keys() {
            self.add_resource(name);
        }
    }

    pub(crate) fn key(&self, key: &str) -> Option<KeyId> {
        self.keys.get(key).copied()
    }

    pub(crate) fn key_name(&self, key: KeyId) -> &Arc<str> {
        &self.key_names[key]
    }

    pub(crate) fn key_count(&self) -> usize {
        self.key_names.len()
    }

    pub(crate) fn is_well_known(&self, key: KeyId) -> bool {
        self.well_known[key]
    }

    pub(crate) fn value(&self, key: KeyId, value: &str) -> Option<ValueId> {
        self.values[key].ids.get(value).copied()
    }

    pub(crate) fn value_name(&self, key: KeyId, value: ValueId) -> &Arc<str> {
        &self.values[key].names[value]
    }

    pub(crate) fn value_count(&self, key: KeyId) -> usize {
        self.values[key].names.len()
    }

    pub(crate) fn resource_count(&self) -> usize {
        self.resource_names.len()
    }

    pub(crate) fn resource_name(&self, resource: usize) -> &Arc<str> {
        &self.resource_names[resource]
    }

    pub(crate) fn resource(&self, name: &str) -> Option<usize> {
        self.resources.get(name).copied()
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
        for (name, &amount) in self.resource_names.iter().zip(amounts) {
            if amount != 0 {
                resources.set(name, amount);
            }
        }
        resources
    }

    /// Which known values of the key the requirement allows.
    pub(crate) fn allowed(&self, key: KeyId, requirement: &Requirement) -> Bits {
        let values = &self.values[key];
        if requirement.is_complement() {
            let mut bits = Bits::all(values.names.len());
            if requirement.bounds() == (None, None) {
                for value in requirement.values() {
                    if let Some(&id) = values.ids.get(value) {
                        bits.remove(id);
                    }
                }
            } else {
                for (id, name) in values.names.iter().enumerate() {
                    if !requirement.has(name) {
                        bits.remove(id);
                    }
                }
            }
            return bits;
        }
        let mut bits = Bits::none(values.names.len());
        for value in requirement.values() {
            if let Some(&id) = values.ids.get(value) {
                bits.insert(id);
            }
        }
        bits
    }
}
