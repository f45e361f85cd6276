//! From filled claims to claims to create.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bits::Bits;
use super::claim::{Claim, unmet_min_values};
use super::compiled::{Req, ReqSet};
use super::engine::Engine;
use super::placement::{MinValuesPolicy, NewClaim};
use super::solve::RunPod;
use super::template::{SIMULATION_KEYS, plus};
use super::universe::Amounts;
use crate::explain::Reason;
use crate::labels;
use crate::model::{CapacityType, InstanceTypeName, Price};
use crate::requirements::{Operator, RequirementSpec};

/// Most instance types of one claim (Karpenter `MaxInstanceTypes`): more do not help a launch and
/// make the object large.
pub(crate) const INSTANCE_TYPES_MAX: usize = 600;

/// Cuts a claim to its cheapest types.
///
/// # Errors
///
/// When `minValues` no longer holds then.
pub(crate) fn truncate(engine: &Engine<'_>, claim: &Claim) -> Result<Vec<(Price, usize)>, Reason> {
    let catalog = &engine.catalogs[engine.templates[claim.template].catalog];
    let mut order = catalog.by_price(&claim.types, &claim.reqs, &engine.universe);
    if order.len() > INSTANCE_TYPES_MAX {
        order.truncate(INSTANCE_TYPES_MAX);
        let mut kept = Bits::none(catalog.len());
        for &(_, index) in &order {
            kept.insert(index);
        }
        let strict = engine.options.min_values == MinValuesPolicy::Strict;
        let unmet = unmet_min_values(engine, claim.template, &claim.reqs, &kept);
        if let (true, Some((key, have, need))) = (strict, unmet) {
            let key = Arc::clone(engine.universe.key_name(key));
            return Err(Reason::MinValues { key, have, need });
        }
    }
    Ok(order)
}

/// What claims of equal types and requirements have in common.
#[derive(Debug)]
pub(crate) struct Terms {
    requirements: Arc<[RequirementSpec]>,
    instance_types: Arc<[InstanceTypeName]>,
    price: Price,
    overhead: Amounts,
}

/// Turns claims into their public form; thousands of new claims differ in little.
#[derive(Debug, Default)]
pub(crate) struct Finisher {
    known: BTreeMap<(Bits, usize, Arc<ReqSet>), Result<Terms, Reason>>,
}

impl Finisher {
    /// The claim to create, with its cheapest types.
    ///
    /// # Errors
    ///
    /// When `minValues` does not hold for those.
    pub(crate) fn claim(
        &mut self,
        engine: &Engine<'_>,
        claim: &Claim,
        pods: &[RunPod<'_>],
    ) -> Result<NewClaim, Reason> {
        let key = (claim.types.clone(), claim.template, Arc::clone(&claim.reqs));
        let terms = self
            .known
            .entry(key)
            .or_insert_with(|| truncate(engine, claim).map(|order| terms(engine, claim, &order)));
        match terms {
            Ok(terms) => Ok(with_terms(engine, claim, terms, pods)),
            Err(reason) => Err(reason.clone()),
        }
    }
}

/// The claim to create, with these instance types, cheapest first.
pub(crate) fn new_claim(
    engine: &Engine<'_>,
    claim: &Claim,
    order: &[(Price, usize)],
    pods: &[RunPod<'_>],
) -> NewClaim {
    with_terms(engine, claim, &terms(engine, claim, order), pods)
}

fn terms(engine: &Engine<'_>, claim: &Claim, order: &[(Price, usize)]) -> Terms {
    let template = &engine.templates[claim.template];
    let catalog = &engine.catalogs[template.catalog];
    let mut kept = Bits::none(catalog.len());
    for &(_, index) in order {
        kept.insert(index);
    }
    let names = order
        .iter()
        .map(|&(_, index)| catalog.types[index].name.clone());
    Terms {
        requirements: requirements(engine, claim, &kept).into(),
        instance_types: names.collect(),
        price: order.first().map_or(Price(0), |&(price, _)| price),
        overhead: template.least_overhead(&kept, &engine.universe),
    }
}

fn with_terms(engine: &Engine<'_>, claim: &Claim, terms: &Terms, pods: &[RunPod<'_>]) -> NewClaim {
    let requests = plus(&claim.total, &terms.overhead);
    NewClaim {
        pool: engine.templates[claim.template].pool.name.clone(),
        requirements: Arc::clone(&terms.requirements),
        instance_types: Arc::clone(&terms.instance_types),
        price: terms.price,
        requests: engine.universe.to_resources(&requests),
        pods: claim
            .pods
            .iter()
            .map(|&index| pods[index].pod.key.clone())
            .collect(),
    }
}

/// Everything the claim asks for, but the host name and labels that nodes get later; instance
/// types and capacity types as what is left of them.
fn requirements(engine: &Engine<'_>, claim: &Claim, kept: &Bits) -> Vec<RequirementSpec> {
    let universe = &engine.universe;
    let catalog = &engine.catalogs[engine.templates[claim.template].catalog];
    let mut reqs = ReqSet::clone(&claim.reqs);
    let mut capacity_types: BTreeSet<CapacityType> = BTreeSet::new();
    for cell in &catalog.cells {
        if cell.available.intersects(kept) && cell.agrees(&claim.reqs, universe) {
            capacity_types.insert(cell.capacity_type);
        }
    }
    let mut bits = Bits::default();
    for capacity_type in &capacity_types {
        bits.insert(
            universe
                .value(universe.capacity_type, capacity_type.as_str())
                .expect("capacity types of offerings are interned"),
        );
    }
    let min_values = |key| claim.reqs.get(key).and_then(|req| req.min_values);
    let narrowed = Req::one_of(bits).with_min_values(min_values(universe.capacity_type));
    reqs.insert(universe.capacity_type, Arc::new(narrowed));
    let mut public = reqs.to_requirements(universe);
    public.remove(labels::HOSTNAME);
    public.remove(labels::INSTANCE_TYPE);
    for key in SIMULATION_KEYS {
        public.remove(key);
    }
    let mut specs = public.to_specs();
    let names = catalog
        .by_name(kept)
        .map(|index| catalog.types[index].name.shared())
        .collect();
    specs.push(RequirementSpec {
        key: labels::INSTANCE_TYPE.into(),
        operator: Operator::In,
        values: names,
        min_values: min_values(universe.instance_type),
    });
    specs.sort();
    specs
}
