//! Requirements as bit sets over the values that one decision knows.

use std::sync::Arc;

use smallvec::SmallVec;

use super::bits::Bits;
use super::universe::{KeyId, Universe, ValueId};
use crate::requirements::{Requirement, RequirementSpec, Requirements};

/// The values one label may have: the allowed ones of the known values, and whether unknown
/// values are allowed too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Req {
    /// Unknown values are allowed (`NotIn`, `Exists`, bounds).
    complement: bool,
    /// Some value is excluded by name (`NotIn`), so absence is allowed.
    exclusions: bool,
    /// The known values that are allowed.
    pub(crate) bits: Bits,
    low: Option<i64>,
    high: Option<i64>,
    pub(crate) min_values: Option<u32>,
}

impl Req {
    pub(crate) fn new(key: KeyId, requirement: &Requirement, universe: &Universe) -> Self {
        let (low, high) = requirement.bounds();
        Self {
            complement: requirement.is_complement(),
            exclusions: requirement.is_complement() && !requirement.values().is_empty(),
            bits: universe.allowed(key, requirement),
            low,
            high,
            min_values: requirement.min_values(),
        }
    }

    /// One of the known values in `bits`.
    pub(crate) fn one_of(bits: Bits) -> Self {
        Self {
            complement: false,
            exclusions: false,
            bits,
            low: None,
            high: None,
            min_values: None,
        }
    }

    /// The same with another number of values that must stay possible.
    pub(crate) fn with_min_values(&self, min_values: Option<u32>) -> Self {
        Self {
            min_values,
            ..self.clone()
        }
    }

    pub(crate) fn is_complement(&self) -> bool {
        self.complement
    }

    pub(crate) fn has_bounds(&self) -> bool {
        self.low.is_some() || self.high.is_some()
    }

    pub(crate) fn allows_absence(&self) -> bool {
        if self.complement {
            self.exclusions
        } else {
            !self.bits.any()
        }
    }

    /// Whether a label value may be this one; `None` is a value outside the universe.
    pub(crate) fn has(&self, value: Option<ValueId>) -> bool {
        match value {
            Some(value) => self.bits.get(value),
            None => self.complement && !self.has_bounds(),
        }
    }

    fn bounds_with(&self, other: &Self) -> (Option<i64>, Option<i64>) {
        let high = match (self.high, other.high) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, None) | (None, one) => one,
        };
        (self.low.max(other.low), high)
    }

    pub(crate) fn has_intersection(&self, other: &Self) -> bool {
        let (low, high) = self.bounds_with(other);
        if low.zip(high).is_some_and(|(low, high)| low > high) {
            return false;
        }
        (self.complement && other.complement) || self.bits.intersects(&other.bits)
    }

    /// Whether both can hold for one label, absence included.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        self.has_intersection(other) || (self.allows_absence() && other.allows_absence())
    }

    pub(crate) fn intersect(&self, other: &Self) -> Self {
        let (low, high) = self.bounds_with(other);
        let min_values = self.min_values.max(other.min_values);
        let bits = self.bits.and(&other.bits);
        if low.zip(high).is_some_and(|(low, high)| low > high) {
            return Self {
                min_values,
                ..Self::one_of(Bits::default())
            };
        }
        if self.complement && other.complement {
            let exclusions = self.exclusions || other.exclusions;
            return Self {
                complement: true,
                exclusions,
                bits,
                low,
                high,
                min_values,
            };
        }
        Self {
            min_values,
            ..Self::one_of(bits)
        }
    }

    /// Back to the public form.
    pub(crate) fn to_requirement(&self, key: KeyId, universe: &Universe) -> Requirement {
        let name = |value| universe.value_name(key, value).clone();
        let bounds = [
            (crate::requirements::Operator::Gte, self.low),
            (crate::requirements::Operator::Lte, self.high),
        ];
        let mut requirement = if self.complement {
            let mut bounded = Requirement::exists();
            for (operator, bound) in bounds {
                let Some(bound) = bound else { continue };
                let spec = RequirementSpec::new("", operator, [bound.to_string().into()]);
                bounded = bounded.intersect(&Requirement::from_spec(&spec));
            }
            let excluded = (0..universe.value_count(key))
                .filter(|&value| !self.bits.get(value) && bounded.has(&name(value)))
                .map(name);
            bounded.intersect(&Requirement::none_of(excluded))
        } else {
            Requirement::one_of(self.bits.iter().map(name))
        };
        requirement.set_min_values(self.min_values);
        requirement
    }
}

/// A conjunction of compiled requirements, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReqSet(SmallVec<[(KeyId, Arc<Req>); 4]>);

impl ReqSet {
    pub(crate) fn new(requirements: &Requirements, universe: &Universe) -> Self {
        let mut set = Self::default();
        for (key, requirement) in requirements.iter() {
            let key = universe
                .key(key)
                .expect("every requirement is interned before it is compiled");
            set.insert(key, Arc::new(Req::new(key, requirement, universe)));
        }
        set
    }

    pub(crate) fn get(&self, key: KeyId) -> Option<&Arc<Req>> {
        self.position(key).ok().map(|index| &self.0[index].1)
    }

    pub(crate) fn insert(&mut self, key: KeyId, req: Arc<Req>) {
        match self.position(key) {
            Ok(index) => self.0[index].1 = req,
            Err(index) => self.0.insert(index, (key, req)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (KeyId, &Arc<Req>)> {
        self.0.iter().map(|(key, req)| (*key, req))
    }

    /// The first key of `incoming` that this side cannot agree with. Undefined well-known keys
    /// are fine.
    pub(crate) fn conflict(&self, incoming: &Self, universe: &Universe) -> Option<KeyId> {
        incoming.iter().find_map(|(key, req)| {
            let fine = match self.get(key) {
                Some(own) => own.agrees(req),
                None => universe.is_well_known(key) || req.allows_absence(),
            };
            (!fine).then_some(key)
        })
    }

    /// The first relevant key that both have and cannot agree about.
    pub(crate) fn disjoint(
        &self,
        other: &Self,
        is_relevant: impl Fn(KeyId) -> bool,
    ) -> Option<KeyId> {
        let disagrees = |key, req: &Arc<Req>| self.get(key).is_some_and(|own| !own.agrees(req));
        let found = |(key, req)| (is_relevant(key) && disagrees(key, req)).then_some(key);
        other.iter().find_map(found)
    }

    /// Narrows one key; says whether anything changed.
    pub(crate) fn narrow(&mut self, key: KeyId, req: &Arc<Req>) -> bool {
        match self.position(key) {
            Ok(index) => {
                let own = &mut self.0[index].1;
                let merged = own.intersect(req);
                if merged == **own {
                    return false;
                }
                *own = Arc::new(merged);
            }
            Err(index) => self.0.insert(index, (key, Arc::clone(req))),
        }
        true
    }

    /// The same on a set that others may share: it is copied when it changes.
    pub(crate) fn narrow_shared(shared: &mut Arc<Self>, key: KeyId, req: &Arc<Req>) -> bool {
        if let Some(own) = shared.get(key)
            && (Arc::ptr_eq(own, req) || own.intersect(req) == **own)
        {
            return false;
        }
        Arc::make_mut(shared).narrow(key, req)
    }

    /// Back to the public form.
    pub(crate) fn to_requirements(&self, universe: &Universe) -> Requirements {
        let mut requirements = Requirements::new();
        for (key, req) in self.iter() {
            let name = universe.key_name(key).clone();
            requirements.add(name, req.to_requirement(key, universe));
        }
        requirements
    }

    fn position(&self, key: KeyId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |(key, _)| *key)
    }
}
