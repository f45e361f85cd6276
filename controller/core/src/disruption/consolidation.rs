//! Fewer or cheaper nodes for the same pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::candidate::Candidate;
use super::plan::{Blocked, Command, DisruptionPolicy, DisruptionReason};
use super::simulate::{Settling, Simulated, Simulator};
use crate::model::{CapacityType, InstanceTypeName, Price};
use crate::scheduling::NewClaim;
use crate::scheduling::bits::Bits;
use crate::scheduling::claim::{Claim, filter_types, min_values_hold};
use crate::scheduling::compiled::{Req, ReqSet};
use crate::scheduling::engine::Engine;
use crate::scheduling::finish;

/// Cheaper types that a spot node needs before another spot node replaces it: with fewer, nodes
/// would chase each other down to the size that is evicted most.
pub(super) const SPOT_TO_SPOT_TYPES_MIN: usize = 15;

/// Candidates of one command at most (Karpenter `multinodeconsolidation.go`).
const MULTI_NODE_MAX: usize = 100;

/// What taking these candidates away would need: nothing, or one cheaper node.
pub(super) fn consolidate<'a>(
    simulator: &mut Simulator<'a>,
    candidates: &[&Candidate<'a>],
    policy: &DisruptionPolicy,
) -> Result<Command, Blocked> {
    let simulated = simulator.without(candidates, Settling::Closed)?;
    let price = Price(candidates.iter().map(|c| c.price_or_zero().0).sum());
    let replacement = match &simulated.claims[..] {
        [] => None,
        [claim] => Some(cheaper(
            &simulator.engine,
            candidates,
            claim,
            price,
            policy,
            &simulated,
        )?),
        _ => return Err(Blocked::PodsWouldNotFit),
    };
    let cost = replacement.as_ref().map_or(Price(0), |claim| claim.price);
    Ok(Command {
        reason: DisruptionReason::Underutilized,
        candidates: names(candidates),
        replacements: replacement.into_iter().collect(),
        savings: Price(price.0 - cost.0),
    })
}

pub(super) fn names(
    candidates: &[&Candidate<'_>],
) -> Vec<(crate::model::NodeClaimName, crate::model::NodeName)> {
    candidates
        .iter()
        .map(|c| (c.claim.name.clone(), c.node.name.clone()))
        .collect()
}

/// Narrows a replacement to types that are sure to be cheaper.
fn cheaper(
    engine: &Engine<'_>,
    candidates: &[&Candidate<'_>],
    claim: &Claim,
    price: Price,
    policy: &DisruptionPolicy,
    simulated: &Simulated<'_>,
) -> Result<NewClaim, Blocked> {
    let mut claim = claim.clone();
    let all_spot = candidates.iter().all(|candidate| candidate.is_spot());
    let spot_to_spot = all_spot && allows(engine, &claim, CapacityType::Spot);
    if spot_to_spot {
        if !policy.spot_to_spot {
            return Err(Blocked::SpotToSpotDisabled);
        }
        restrict_to_spot(engine, &mut claim);
    }
    filter_by_price(engine, &mut claim, price);
    if candidates.len() > 1 {
        filter_same_types(engine, candidates, &mut claim);
    }
    let have = claim.types.count();
    if spot_to_spot && candidates.len() == 1 && have < SPOT_TO_SPOT_TYPES_MIN {
        let have = u32::try_from(have).unwrap_or(u32::MAX);
        return Err(Blocked::SpotFlexibility { have, need: 15 });
    }
    if !claim.types.any() || !min_values_hold(engine, claim.template, &claim.reqs, &claim.types) {
        return Err(Blocked::NoCheaperOffering);
    }
    if !spot_to_spot {
        // A spot shortage must not end in a dearer on-demand node.
        let mut spot = claim.clone();
        if allows(engine, &claim, CapacityType::OnDemand)
            && allows(engine, &claim, CapacityType::Spot)
            && restrict_to_spot(engine, &mut spot)
        {
            claim = spot;
        }
    }
    let mut order =
        finish::truncate(engine, &claim).map_err(|_unmet| Blocked::NoCheaperOffering)?;
    if spot_to_spot && candidates.len() == 1 {
        // So that what is launched is among the cheapest and is not replaced again at once.
        order.truncate(types_to_keep(engine, &claim, &order));
    }
    Ok(finish::new_claim(engine, &claim, &order, &simulated.pods))
}

/// The cheapest 15, or more when `minValues` needs more.
fn types_to_keep(engine: &Engine<'_>, claim: &Claim, order: &[(Price, usize)]) -> usize {
    let mut kept = Bits::default();
    for (count, &(_, index)) in order.iter().enumerate() {
        if count >= SPOT_TO_SPOT_TYPES_MIN
            && min_values_hold(engine, claim.template, &claim.reqs, &kept)
        {
            return count;
        }
        kept.insert(index);
    }
    order.len()
}

fn allows(engine: &Engine<'_>, claim: &Claim, capacity_type: CapacityType) -> bool {
    let key = engine.universe.capacity_type;
    let value = engine.universe.value(key, capacity_type.as_str());
    value.is_some() && claim.reqs.get(key).is_none_or(|req| req.has(value))
}

/// Narrows to spot; `false` when nothing is left.
fn restrict_to_spot(engine: &Engine<'_>, claim: &mut Claim) -> bool {
    let key = engine.universe.capacity_type;
    let Some(spot) = engine.universe.value(key, CapacityType::Spot.as_str()) else {
        return false;
    };
    let mut bits = Bits::none(engine.universe.value_count(key));
    bits.insert(spot);
    ReqSet::narrow_shared(&mut claim.reqs, key, &Arc::new(Req::one_of(bits)));
    let mut changed = Bits::default();
    changed.insert(key);
    filter_types(
        engine,
        claim.template,
        &claim.reqs,
        &changed,
        &mut claim.types,
    );
    claim.types.any()
}

/// Keeps types whose launch cannot cost as much as `price` or more.
fn filter_by_price(engine: &Engine<'_>, claim: &mut Claim, price: Price) {
    let catalog = &engine.catalogs[engine.templates[claim.template].catalog];
    for index in claim.types.clone().iter() {
        let worst = catalog.worst_launch_price(index, &claim.reqs, &engine.universe);
        if worst.is_none_or(|worst| worst >= price) {
            claim.types.remove(index);
        }
    }
}

/// When the replacement may be of a type that is being replaced, only cheaper types make sense:
/// otherwise deleting the other nodes alone would have done.
fn filter_same_types(engine: &Engine<'_>, candidates: &[&Candidate<'_>], claim: &mut Claim) {
    let catalog = &engine.catalogs[engine.templates[claim.template].catalog];
    let mut prices: BTreeMap<&InstanceTypeName, Price> = BTreeMap::new();
    for candidate in candidates {
        if let (Some(name), Some(price)) = (&candidate.node.instance_type, candidate.price) {
            let least = prices.entry(name).or_insert(price);
            *least = price.min(*least);
        }
    }
    let same = claim
        .types
        .iter()
        .filter_map(|index| prices.get(&catalog.types[index].name));
    if let Some(&max) = same.min() {
        filter_by_price(engine, claim, max);
    }
}

/// The longest prefix of the candidates that can go together, found by bisection.
pub(super) fn consolidate_many<'a>(
    simulator: &mut Simulator<'a>,
    candidates: &[&Candidate<'a>],
    policy: &DisruptionPolicy,
) -> Option<Command> {
    let mut low = 1;
    let mut high = candidates.len().checked_sub(1)?.min(MULTI_NODE_MAX);
    let mut best = None;
    while low <= high {
        let middle = low.midpoint(high);
        match consolidate(simulator, &candidates[..=middle], policy) {
            Ok(command) => {
                best = Some(command);
                low = middle + 1;
            }
            Err(Blocked::OutOfSteps) => break,
            Err(_) => high = middle - 1,
        }
    }
    best
}
