//! What claims cost while they are filled, and where one more pod costs least.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::bits::Bits;
use super::claim::Claim;
use super::class::{Footprint, FootprintId};
use super::compiled::ReqSet;
use super::engine::{Engine, fits};
use super::template::plus;
use super::universe::Amounts;
use crate::model::Price;

/// Claims that a pod is tried on, of those that it costs nothing: the tightest few differ little.
const FREE_MAX: usize = 8;

/// Claims whose price with one more pod is computed, from either end of those that may take it.
const DEARER_MAX: usize = 48;

/// Prices of one template's types under some requirements.
#[derive(Debug)]
struct PriceList {
    reqs: Arc<ReqSet>,
    /// Cheapest first: price and type.
    order: Vec<(Price, usize)>,
}

impl PriceList {
    fn cheapest(&self, types: &Bits) -> Option<(Price, usize)> {
        let listed = |&&(_, index): &&(Price, usize)| types.get(index);
        self.order.iter().find(listed).copied()
    }
}

/// What a claim costs as it is, and what its cheapest type has left.
#[derive(Debug)]
struct ClaimPrice {
    list: usize,
    price: Price,
    slack: Amounts,
    /// The slack's share of the run's demand, in billionths.
    share: i64,
}

/// Prices of all claims of a run.
#[derive(Debug)]
pub(crate) struct Pricing {
    lists: Vec<PriceList>,
    known: BTreeMap<(usize, Arc<ReqSet>), usize>,
    claims: Vec<ClaimPrice>,
    /// By footprint: claims that take one more such pod at no cost.
    free: Vec<Option<Bits>>,
    /// What all pods of the run ask for: makes resources comparable.
    demand: Amounts,
}

impl Pricing {
    pub(crate) fn new(demand: Amounts) -> Self {
        Self {
            lists: Vec::new(),
            known: BTreeMap::new(),
            claims: Vec::new(),
            free: Vec::new(),
            demand,
        }
    }

    /// The cheapest type of what a claim may become.
    pub(crate) fn cheapest(
        &mut self,
        engine: &Engine<'_>,
        template: usize,
        reqs: &Arc<ReqSet>,
        types: &Bits,
    ) -> Option<(Price, usize)> {
        let list = self.list(engine, template, reqs);
        self.lists[list].cheapest(types)
    }

    fn list(&mut self, engine: &Engine<'_>, template: usize, reqs: &Arc<ReqSet>) -> usize {
        let lists = &mut self.lists;
        *self
            .known
            .entry((template, Arc::clone(reqs)))
            .or_insert_with(|| {
                let catalog = &engine.catalogs[engine.templates[template].catalog];
                let all = Bits::all(catalog.len());
                lists.push(PriceList {
                    reqs: Arc::clone(reqs),
                    order: catalog.by_price(&all, reqs, &engine.universe),
                });
                lists.len() - 1
            })
    }

    /// Takes note of a claim that was opened or has got a pod.
    pub(crate) fn note(&mut self, engine: &Engine<'_>, index: usize, claim: &Claim) {
        let known = self.claims.get(index).map(|priced| priced.list);
        let list = match known {
            Some(list) if Arc::ptr_eq(&self.lists[list].reqs, &claim.reqs) => list,
            _ => self.list(engine, claim.template, &claim.reqs),
        };
        let template = &engine.templates[claim.template];
        let catalog = &engine.catalogs[template.catalog];
        // A claim whose types are all unpriced cannot be compared; it counts as full.
        let (price, slack): (Price, Amounts) = match self.lists[list].cheapest(&claim.types) {
            None => (Price(0), claim.total.iter().map(|_| -1).collect()),
            Some((price, kind)) => {
                let group = template.groups.iter().find(|group| group.types.get(kind));
                let used = group.map_or_else(
                    || claim.total.clone(),
                    |group| plus(&claim.total, &group.overhead),
                );
                let left = |(resource, used): (usize, &i64)| {
                    catalog.allocatable(kind, resource).saturating_sub(*used)
                };
                (price, used.iter().enumerate().map(left).collect())
            }
        };
        for (footprint, free) in self.free.iter_mut().enumerate() {
            let Some(free) = free else { continue };
            if fits(&engine.footprints[footprint].requests, &slack) {
                free.insert(index);
            } else {
                free.remove(index);
            }
        }
        let share = self.share(&slack);
        let priced = ClaimPrice {
            list,
            price,
            slack,
            share,
        };
        match self.claims.get_mut(index) {
            Some(known) => *known = priced,
            None => self.claims.push(priced),
        }
    }

    /// Claims of the mask that take the pod at no cost, the tightest first.
    pub(crate) fn free(
        &mut self,
        engine: &Engine<'_>,
        footprint: FootprintId,
        mask: &Bits,
    ) -> Vec<usize> {
        if footprint >= self.free.len() {
            self.free.resize(footprint + 1, None);
        }
        let requests = &engine.footprints[footprint].requests;
        let claims = &self.claims;
        self.free[footprint].get_or_insert_with(|| {
            let mut bits = Bits::default();
            for (index, claim) in claims.iter().enumerate() {
                if fits(requests, &claim.slack) {
                    bits.insert(index);
                }
            }
            bits
        });
        let free = self.free[footprint].as_ref().expect("made above");
        let mut found = SmallVec::<[_; FREE_MAX]>::new();
        for index in free.both(mask) {
            keep_least(&mut found, FREE_MAX, (claims[index].share, index));
        }
        found.into_iter().map(|(_, index)| index).collect()
    }

    /// Some claims of the mask with what one more such pod adds to their price, the least first.
    pub(crate) fn dearer(
        &self,
        engine: &Engine<'_>,
        footprint: &Footprint,
        open: &[Claim],
        mask: &Bits,
    ) -> Vec<(Price, usize)> {
        // The first of them have grown large, where a step up in size is small; the last ones
        // resemble the pod.
        let mut candidates: SmallVec<[usize; 2 * DEARER_MAX]> =
            mask.iter().take(DEARER_MAX).collect();
        let from = candidates.last().map_or(0, |last| last + 1);
        let mut until = open.len();
        while candidates.len() < 2 * DEARER_MAX
            && let Some(index) = mask.last_before(until).filter(|&index| index >= from)
        {
            until = index;
            candidates.push(index);
        }
        let added = |index: usize| {
            let (claim, priced) = (&open[index], &self.claims[index]);
            let template = &engine.templates[claim.template];
            let catalog = &engine.catalogs[template.catalog];
            let total = plus(&claim.total, &footprint.requests);
            let mut types = template.fitting(catalog, &total, &footprint.host_ports);
            types.and_assign(&claim.types);
            let (price, kind) = self.lists[priced.list].cheapest(&types)?;
            let left = |(resource, used): (usize, &i64)| {
                catalog.allocatable(kind, resource).saturating_sub(*used)
            };
            let left: Amounts = total.iter().enumerate().map(left).collect();
            Some((Price(price.0 - priced.price.0), self.share(&left), index))
        };
        let mut added: Vec<(Price, i64, usize)> =
            candidates.into_iter().filter_map(added).collect();
        added.sort_unstable();
        added
            .into_iter()
            .map(|(price, _, index)| (price, index))
            .collect()
    }

    /// How much of the run's demand an amount is, in billionths, over CPU and memory.
    fn share(&self, amounts: &[i64]) -> i64 {
        let of = |resource: usize| {
            let demand = i128::from(self.demand[resource].max(1));
            i128::from(amounts[resource]) * 1_000_000_000 / demand
        };
        i64::try_from(of(0) + of(1)).unwrap_or(i64::MAX)
    }
}

/// Adds to a sorted list that keeps its `most` least elements.
fn keep_least<const N: usize>(
    list: &mut SmallVec<[(i64, usize); N]>,
    most: usize,
    element: (i64, usize),
) {
    if list.len() == most {
        if list.last().is_some_and(|last| *last <= element) {
            return;
        }
        list.pop();
    }
    let position = list.partition_point(|other| *other < element);
    list.insert(position, element);
}
