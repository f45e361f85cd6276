//! Instance types as columns: one bit set per label value, sorted resource columns, one cell per
//! purchasable form.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bits::Bits;
use super::compiled::{Req, ReqSet};
use super::universe::{Amounts, KeyId, Universe, ValueId};
use crate::labels;
use crate::model::{CapacityType, InstanceType, Price, Zone};
use crate::requirements::{Requirement, RequirementSpec, Requirements};

/// The instance types of one NodeClass.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) types: Arc<Vec<InstanceType>>,
    /// Requirements by type.
    pub(crate) reqs: Vec<ReqSet>,
    /// Allocatable by type.
    allocatable: Vec<Amounts>,
    /// Capacity by type.
    capacity: Vec<Amounts>,
    /// Types of which no allocatable amount is negative.
    sound: Bits,
    keys: Vec<KeyColumn>,
    /// By allocatable amount.
    columns: Vec<ResourceColumn>,
    /// By capacity.
    capacities: Vec<ResourceColumn>,
    /// Types by name.
    name_order: Vec<usize>,
    /// Purchasable forms.
    pub(crate) cells: Vec<Cell>,
    /// Keys that some cell has a requirement for.
    pub(crate) cell_keys: Bits,
    /// Keys for which a type or a cell allows values by what they are not, with the number of
    /// values that it was compiled for.
    open_keys: Vec<(KeyId, usize)>,
}

/// One zone, capacity type and further requirements, over all types that are sold so.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) reqs: ReqSet,
    pub(crate) capacity_type: CapacityType,
    /// Types that are sold in this form.
    pub(crate) listed: Bits,
    /// Types that can be had now.
    pub(crate) available: Bits,
    /// Price by type; meaningful where listed.
    pub(crate) price: Vec<Price>,
}

/// Which types allow which values of one label.
#[derive(Debug, Default)]
struct KeyColumn {
    /// By value.
    allowing: Vec<Bits>,
    /// Types that allow unknown values.
    complement: Bits,
    /// Types whose label may be absent.
    absent: Bits,
    /// Types that say nothing about the label.
    undefined: Bits,
    /// Some type has bounds: compare one by one.
    bounded: bool,
}

/// Types by amount: `at_least[i]` are the types with at least `amounts[i]`.
#[derive(Debug)]
struct ResourceColumn {
    amounts: Vec<i64>,
    at_least: Vec<Bits>,
}

impl ResourceColumn {
    fn new(values: impl Iterator<Item = i64> + Clone, len: usize) -> Self {
        let mut amounts: Vec<i64> = values.clone().collect();
        amounts.sort_unstable();
        amounts.dedup();
        let mut at_least = vec![Bits::none(len); amounts.len()];
        for (index, value) in values.enumerate() {
            let rank = amounts.partition_point(|&amount| amount < value);
            at_least[rank].insert(index);
        }
        for rank in (1..at_least.len()).rev() {
            let (low, high) = at_least.split_at_mut(rank);
            low[rank - 1].or_assign(&high[0]);
        }
        Self { amounts, at_least }
    }

    fn at_least(&self, amount: i64) -> Option<&Bits> {
        self.at_least
            .get(self.amounts.partition_point(|&have| have < amount))
    }

    fn more_than(&self, amount: i64) -> Option<&Bits> {
        self.at_least
            .get(self.amounts.partition_point(|&have| have <= amount))
    }

    fn largest(&self, types: &Bits) -> i64 {
        let has = |types_there: &Bits| types_there.intersects(types);
        // The sets shrink with the amount, so those that have one of the types come first.
        let ranks = self.at_least.partition_point(has);
        ranks.checked_sub(1).map_or(0, |rank| self.amounts[rank])
    }
}

/// A type's requirements in the public form, with its own name.
fn type_requirements(instance_type: &InstanceType) -> Requirements {
    let mut requirements = Requirements::from_specs(&instance_type.requirements);
    if requirements.get(labels::INSTANCE_TYPE).is_none() {
        let name = Requirement::one_of([instance_type.name.shared()]);
        requirements.add(labels::INSTANCE_TYPE.into(), name);
    }
    requirements
}

/// An offering's requirements in the public form.
fn offering_requirements(
    zone: &Zone,
    capacity_type: CapacityType,
    specs: &[RequirementSpec],
) -> Requirements {
    let mut requirements = Requirements::from_specs(specs);
    requirements.add(labels::ZONE.into(), Requirement::one_of([zone.shared()]));
    let capacity_type = Requirement::one_of([Arc::from(capacity_type.as_str())]);
    requirements.add(labels::CAPACITY_TYPE.into(), capacity_type);
    requirements
}

impl Catalog {
    /// Adds everything that the types mention.
    pub(crate) fn intern(types: &[InstanceType], universe: &mut Universe) {
        // Thousands of offerings come in a handful of forms.
        let mut forms: BTreeSet<(&Zone, CapacityType, &[RequirementSpec])> = BTreeSet::new();
        for instance_type in types {
            universe.add_requirements(&type_requirements(instance_type));
            universe.add_resources(&instance_type.capacity);
            for offering in &instance_type.offerings {
                let specs = &offering.requirements[..];
                if !forms.insert((&offering.zone, offering.capacity_type, specs)) {
                    continue;
                }
                universe.add_requirements(&offering_requirements(
                    &offering.zone,
                    offering.capacity_type,
                    &offering.requirements,
                ));
            }
        }
    }

    pub(crate) fn new(types: Arc<Vec<InstanceType>>, universe: &Universe) -> Self {
        let len = types.len();
        let reqs: Vec<ReqSet> = types
            .iter()
            .map(|it| ReqSet::new(&type_requirements(it), universe))
            .collect();
        let allocatable: Vec<Amounts> = types
            .iter()
            .map(|it| universe.amounts(&it.allocatable()))
            .collect();
        let capacity: Vec<Amounts> = types
            .iter()
            .map(|it| universe.amounts(&it.capacity))
            .collect();
        let mut sound = Bits::none(len);
        for (index, amounts) in allocatable.iter().enumerate() {
            if amounts.iter().all(|&amount| amount >= 0) {
                sound.insert(index);
            }
        }
        let columns = (0..universe.resource_count())
            .map(|r| ResourceColumn::new(allocatable.iter().map(move |a| a[r]), len))
            .collect();
        let capacities = (0..universe.resource_count())
            .map(|r| ResourceColumn::new(capacity.iter().map(move |a: &Amounts| a[r]), len))
            .collect();
        let mut name_order: Vec<usize> = (0..len).collect();
        name_order.sort_by(|&a, &b| types[a].name.cmp(&types[b].name));
        let keys = (0..universe.key_count())
            .map(|k| key_column(k, &reqs, universe))
            .collect();
        let cells = cells(&types, universe);
        let mut cell_keys = Bits::none(universe.key_count());
        let mut open = Bits::none(universe.key_count());
        for (key, req) in cells.iter().flat_map(|cell| cell.reqs.iter()) {
            cell_keys.insert(key);
            if req.is_complement() {
                open.insert(key);
            }
        }
        for (key, _) in reqs
            .iter()
            .flat_map(ReqSet::iter)
            .filter(|(_, req)| req.is_complement())
        {
            open.insert(key);
        }
        let open_keys = open
            .iter()
            .map(|key| (key, universe.value_count(key)))
            .collect();
        Self {
            types,
            reqs,
            allocatable,
            capacity,
            sound,
            keys,
            columns,
            capacities,
            name_order,
            cells,
            cell_keys,
            open_keys,
        }
    }

    /// Whether the columns are right in a universe that has grown since they were made. Keys,
    /// values and resources that no type names need no columns; but a type that allows all values
    /// except some would have to be asked about new ones.
    pub(crate) fn is_complete(&self, universe: &Universe) -> bool {
        let mut open = self.open_keys.iter();
        open.all(|&(key, values)| universe.value_count(key) == values)
    }

    /// Capacity of a type.
    pub(crate) fn capacity(&self, index: usize, resource: usize) -> i64 {
        // A resource that no type has may be beyond the columns.
        self.capacity[index].get(resource).copied().unwrap_or(0)
    }

    /// Drops the types with more of a resource than so much.
    pub(crate) fn drop_larger(&self, resource: usize, most: i64, types: &mut Bits) {
        match self.capacities.get(resource) {
            Some(column) => {
                if let Some(larger) = column.more_than(most) {
                    types.and_not_assign(larger);
                }
            }
            None if most < 0 => *types = Bits::none(self.len()),
            None => {}
        }
    }

    /// The most that any of the types has of a resource.
    pub(crate) fn largest(&self, resource: usize, types: &Bits) -> i64 {
        self.capacities
            .get(resource)
            .map_or(0, |column| column.largest(types))
    }

    /// The types in the order of their names.
    pub(crate) fn by_name<'c>(&'c self, types: &'c Bits) -> impl Iterator<Item = usize> + 'c {
        let order = self.name_order.iter().copied();
        order.filter(|&index| types.get(index))
    }

    /// What pods may request of a type.
    pub(crate) fn allocatable(&self, index: usize, resource: usize) -> i64 {
        self.allocatable[index].get(resource).copied().unwrap_or(0)
    }

    /// Whether a type has at least these amounts.
    pub(crate) fn fits(&self, index: usize, amounts: &[i64]) -> bool {
        let mut wanted = amounts.iter().enumerate();
        wanted.all(|(resource, &amount)| amount <= self.allocatable(index, resource))
    }

    pub(crate) fn len(&self) -> usize {
        self.types.len()
    }

    /// Types whose label can agree with the requirement.
    pub(crate) fn matching(&self, key: KeyId, req: &Arc<Req>) -> Bits {
        let Some(column) = self.keys.get(key) else {
            return Bits::all(self.len());
        };
        let mut result = column.undefined.clone();
        if column.bounded && req.has_bounds() {
            for (index, own) in self.reqs.iter().enumerate() {
                if own.get(key).is_some_and(|own| own.agrees(req)) {
                    result.insert(index);
                }
            }
            return result;
        }
        for value in req.bits.iter() {
            let Some(allowing) = column.allowing.get(value) else {
                break;
            };
            result.or_assign(allowing);
        }
        if req.is_complement() {
            result.or_assign(&column.complement);
        }
        if req.allows_absence() {
            result.or_assign(&column.absent);
        }
        result
    }

    /// Types that can be had now in a form that agrees with the requirements.
    pub(crate) fn offered(&self, reqs: &ReqSet, universe: &Universe) -> Bits {
        let mut result = Bits::none(self.len());
        for cell in self.cells.iter().filter(|cell| cell.agrees(reqs, universe)) {
            result.or_assign(&cell.available);
        }
        result
    }

    /// Types that have at least these amounts.
    pub(crate) fn fitting(&self, amounts: &[i64]) -> Bits {
        let mut result = self.sound.clone();
        for (resource, &amount) in amounts.iter().enumerate() {
            if amount <= 0 {
                continue;
            }
            let column = self.columns.get(resource);
            match column.and_then(|column| column.at_least(amount)) {
                Some(types) => result.and_assign(types),
                None => return Bits::none(self.len()),
            }
        }
        result
    }

    /// How many distinct values of a label the types have among them.
    pub(crate) fn distinct_values(&self, key: KeyId, types: &Bits) -> u32 {
        let Some(column) = self.keys.get(key) else {
            return 0;
        };
        let listed = |allowing: &&Bits| {
            allowing
                .iter()
                .any(|index| types.get(index) && !column.complement.get(index))
        };
        u32::try_from(column.allowing.iter().filter(listed).count()).unwrap_or(u32::MAX)
    }

    /// Whether one of the types has the label value by itself.
    pub(crate) fn is_labelled(&self, key: KeyId, value: ValueId, types: &Bits) -> bool {
        let Some(column) = self.keys.get(key) else {
            return false;
        };
        let Some(allowing) = column.allowing.get(value) else {
            return false;
        };
        let named = |index| allowing.get(index) && !column.complement.get(index);
        types.iter().any(named)
    }

    /// Whether one of the types can be had in a form that has the label value and agrees with the
    /// requirements.
    pub(crate) fn is_offered(
        &self,
        key: KeyId,
        value: ValueId,
        types: &Bits,
        reqs: &ReqSet,
        universe: &Universe,
    ) -> bool {
        self.cells.iter().any(|cell| {
            cell.reqs.get(key).is_some_and(|req| req.has(Some(value)))
                && cell.available.intersects(types)
                && cell.agrees(reqs, universe)
        })
    }

    /// The types, cheapest first, equal prices by name. Types without an offering are left out.
    pub(crate) fn by_price(
        &self,
        types: &Bits,
        reqs: &ReqSet,
        universe: &Universe,
    ) -> Vec<(Price, usize)> {
        let cells: Vec<&Cell> = self
            .cells
            .iter()
            .filter(|cell| cell.agrees(reqs, universe))
            .collect();
        let price = |index| {
            let sold = cells.iter().filter(|cell| cell.available.get(index));
            sold.map(|cell| cell.price[index])
                .min()
                .map(|price| (price, index))
        };
        // A stable sort of types in name order.
        let mut order: Vec<(Price, usize)> = self.by_name(types).filter_map(price).collect();
        order.sort_by_key(|&(price, _)| price);
        order
    }

    /// The dearest price at which a type may be launched: of the first capacity type in the order
    /// reserved, spot, on-demand that can be had.
    pub(crate) fn worst_launch_price(
        &self,
        index: usize,
        reqs: &ReqSet,
        universe: &Universe,
    ) -> Option<Price> {
        let sold = || {
            self.cells
                .iter()
                .filter(|c| c.available.get(index) && c.agrees(reqs, universe))
        };
        let first = sold().map(|cell| cell.capacity_type).min()?;
        sold()
            .filter(|cell| cell.capacity_type == first)
            .map(|cell| cell.price[index])
            .max()
    }
}

impl Cell {
    pub(crate) fn agrees(&self, reqs: &ReqSet, universe: &Universe) -> bool {
        reqs.conflict(&self.reqs, universe).is_none()
    }
}

fn key_column(key: KeyId, reqs: &[ReqSet], universe: &Universe) -> KeyColumn {
    let len = reqs.len();
    let mut column = KeyColumn {
        allowing: vec![Bits::none(len); universe.value_count(key)],
        complement: Bits::none(len),
        absent: Bits::none(len),
        undefined: Bits::none(len),
        bounded: false,
    };
    for (index, own) in reqs.iter().enumerate() {
        let Some(req) = own.get(key) else {
            column.undefined.insert(index);
            continue;
        };
        for value in req.bits.iter() {
            column.allowing[value].insert(index);
        }
        if req.is_complement() {
            column.complement.insert(index);
        }
        if req.allows_absence() {
            column.absent.insert(index);
        }
        column.bounded |= req.has_bounds();
    }
    column
}

fn cells(types: &[InstanceType], universe: &Universe) -> Vec<Cell> {
    let mut cells: BTreeMap<(&Zone, CapacityType, &[RequirementSpec]), Cell> = BTreeMap::new();
    for (index, instance_type) in types.iter().enumerate() {
        for offering in &instance_type.offerings {
            let key = (
                &offering.zone,
                offering.capacity_type,
                &offering.requirements[..],
            );
            let cell = cells.entry(key).or_insert_with(|| {
                let (zone, capacity_type, specs) = key;
                let requirements = offering_requirements(zone, capacity_type, specs);
                Cell {
                    reqs: ReqSet::new(&requirements, universe),
                    capacity_type,
                    listed: Bits::none(types.len()),
                    available: Bits::none(types.len()),
                    price: vec![Price(i64::MAX); types.len()],
                }
            });
            cell.listed.insert(index);
            if offering.available {
                cell.available.insert(index);
            }
            cell.price[index] = offering.price;
        }
    }
    cells.into_values().collect()
}
