//! Catalogues compiled once, for many decisions.

use std::sync::Arc;

use super::catalog::Catalog;
use super::universe::Universe;
use crate::model::{InstanceType, Snapshot};

/// The instance types of all pools, compiled: the dearest part of a decision, and the same from
/// one decision to the next until the provider has new ones. The caller keeps it between
/// decisions; it decides nothing and may be thrown away at any time.
#[derive(Clone, Debug, Default)]
pub struct CompiledCatalogs(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    /// Lists in the order of the pools that first name them, each with its catalogue: equal lists
    /// have one.
    lists: Vec<(Arc<Vec<InstanceType>>, usize)>,
    catalogs: Vec<Arc<Catalog>>,
    /// What the catalogues name.
    universe: Arc<Universe>,
}

impl Default for Compiled {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl CompiledCatalogs {
    /// This one when it is of the snapshot's very lists of instance types (the same allocations),
    /// otherwise a new one. Cheap in the first case.
    #[must_use]
    pub fn refreshed(&self, snapshot: &Snapshot) -> Self {
        let lists = distinct_lists(snapshot);
        let mut known = self.0.lists.iter();
        let is_same = lists.len() == self.0.lists.len()
            && lists
                .iter()
                .all(|list| known.next().is_some_and(|(own, _)| Arc::ptr_eq(own, list)));
        if is_same {
            self.clone()
        } else {
            Self(Arc::new(Compiled::new(&lists)))
        }
    }

    /// A universe to which a snapshot adds what it names.
    pub(super) fn universe(&self) -> Universe {
        Universe::above(&self.0.universe)
    }

    /// The catalogues in a universe that stands on this one's.
    pub(super) fn catalogs(&self, universe: &Universe) -> Vec<Arc<Catalog>> {
        let catalog = |catalog: &Arc<Catalog>| {
            if catalog.is_complete(universe) {
                Arc::clone(catalog)
            } else {
                Arc::new(Catalog::new(Arc::clone(&catalog.types), universe))
            }
        };
        self.0.catalogs.iter().map(catalog).collect()
    }

    /// Position of a list's catalogue.
    pub(super) fn position(&self, types: &Arc<Vec<InstanceType>>) -> usize {
        let same = |(list, _): &&(Arc<Vec<InstanceType>>, usize)| Arc::ptr_eq(list, types);
        let found = self.0.lists.iter().find(same);
        found.expect("every list of the snapshot was compiled").1
    }
}

impl Compiled {
    fn new(lists: &[Arc<Vec<InstanceType>>]) -> Self {
        let mut distinct: Vec<&Arc<Vec<InstanceType>>> = Vec::new();
        let mut positions = Vec::new();
        for list in lists {
            let position = distinct.iter().position(|other| *other == list);
            positions.push(position.unwrap_or_else(|| {
                distinct.push(list);
                distinct.len() - 1
            }));
        }
        let mut universe = Universe::new();
        for types in &distinct {
            Catalog::intern(types, &mut universe);
        }
        let catalog =
            |types: &&Arc<Vec<InstanceType>>| Arc::new(Catalog::new(Arc::clone(types), &universe));
        Self {
            catalogs: distinct.iter().map(catalog).collect(),
            lists: lists.iter().cloned().zip(positions).collect(),
            universe: Arc::new(universe),
        }
    }
}

/// The pools' lists, in pool order, each allocation once.
fn distinct_lists(snapshot: &Snapshot) -> Vec<Arc<Vec<InstanceType>>> {
    let mut lists: Vec<Arc<Vec<InstanceType>>> = Vec::new();
    for catalog in snapshot.pools.values() {
        let list = &catalog.instance_types;
        if !lists.iter().any(|known| Arc::ptr_eq(known, list)) {
            lists.push(Arc::clone(list));
        }
    }
    lists
}
