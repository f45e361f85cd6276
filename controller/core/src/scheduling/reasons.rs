//! Why a class found no place, pool by pool and type by type.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bits::Bits;
use super::catalog::Catalog;
use super::claim::{Limits, filter_types, fresh, unmet_min_values};
use super::class::{ClassId, Fresh};
use super::compiled::ReqSet;
use super::engine::Engine;
use super::solve::Outcome;
use super::template::plus;
use super::universe::{KeyId, ValueId};
use crate::explain::{Explanation, Reason};
use crate::quantity;
use crate::taints;

/// Explains why a class in its most relaxed form has no place.
pub(crate) fn explain(engine: &mut Engine<'_>, class: ClassId, outcome: &Outcome) -> Explanation {
    let mut explanation = Explanation::default();
    for (name, catalog) in &engine.snapshot.pools {
        // Static pools are not for pending pods: they are no candidates.
        if catalog.pool.replicas.is_some() {
            continue;
        }
        if !catalog.pool.ready || catalog.instance_types.is_empty() {
            explanation
                .pools
                .insert(name.clone(), Reason::NodeClassNotReady);
        }
    }
    for template in 0..engine.templates.len() {
        explain_template(engine, class, template, outcome, &mut explanation);
    }
    explanation
}

fn explain_template(
    engine: &mut Engine<'_>,
    class: ClassId,
    template: usize,
    outcome: &Outcome,
    explanation: &mut Explanation,
) {
    let limits = &outcome.limits[template];
    let footprint = engine.classes[class].footprint;
    let never = matches!(fresh(engine, footprint, template), Fresh::Never);
    let from = &engine.templates[template];
    let pool = from.pool.name.clone();
    if explanation.pools.contains_key(&pool) {
        return;
    }
    if let Some(reason) = pool_excludes(engine, class, template) {
        explanation.pools.insert(pool, reason);
        return;
    }
    let mut counts: BTreeMap<Reason, u32> = BTreeMap::new();
    let mut nearest: Option<(Nearness, usize, Reason)> = None;
    for index in 0..engine.catalogs[from.catalog].len() {
        let (nearness, reason) = type_reason(engine, class, template, limits, (index, None));
        *counts.entry(reason.clone()).or_default() += 1;
        let closer = nearest.as_ref().is_none_or(|(best, other, _)| {
            let names = &engine.catalogs[from.catalog].types;
            (nearness, &names[index].name) < (*best, &names[*other].name)
        });
        if closer {
            nearest = Some((nearness, index, reason));
        }
    }
    if let Some((_, index, reason)) = nearest {
        let name = engine.catalogs[from.catalog].types[index].name.clone();
        // A type that would do by itself was left out for a reason that concerns all of them.
        let reason = match reason {
            Reason::Chosen if never => pool_reason(engine, class, template),
            Reason::Chosen => outcome
                .refusals
                .get(&class)
                .cloned()
                .unwrap_or(Reason::RecentAllocationFailure),
            reason => reason,
        };
        explanation.pools.insert(pool.clone(), reason);
        explanation.nearest.insert(pool.clone(), name);
    }
    explanation.types.insert(pool, counts);
}

/// What keeps a pool from serving a class whatever the type.
pub(crate) fn pool_excludes(
    engine: &Engine<'_>,
    class: ClassId,
    template: usize,
) -> Option<Reason> {
    let compiled = engine.footprint(class);
    let from = &engine.templates[template];
    if let Some(taint) = taints::first_untolerated(&from.pool.taints, &compiled.tolerations) {
        return Some(Reason::PoolTaintNotTolerated {
            taint: taints::display(taint),
        });
    }
    let key = from.reqs.conflict(&compiled.full, &engine.universe)?;
    let key = Arc::clone(engine.universe.key_name(key));
    Some(Reason::PoolRequirementsIncompatible { key })
}

/// How far a type came, and how much was missing there: smaller is nearer.
pub(crate) type Nearness = (u8, i64);

/// The one reason that keeps a type, in a zone or in any, from serving a pod of the class alone.
pub(crate) fn type_reason(
    engine: &Engine<'_>,
    class: ClassId,
    template: usize,
    limits: &Limits,
    (index, zone): (usize, Option<ValueId>),
) -> (Nearness, Reason) {
    let compiled = engine.footprint(class);
    let from = &engine.templates[template];
    let catalog = &engine.catalogs[from.catalog];
    let universe = &engine.universe;
    let mut reqs = ReqSet::clone(&from.reqs);
    for (key, req) in compiled.full.iter() {
        reqs.narrow(key, req);
    }
    // What offerings say is judged below, by offering: a sold-out type has no zones left.
    let by_type = |key: KeyId| !catalog.cell_keys.get(key);
    if let Some(key) = catalog.reqs[index].disjoint(&reqs, by_type) {
        // Types outside the pool's own list are the farthest.
        let pool_excludes = catalog.reqs[index].disjoint(&from.reqs, by_type).is_some();
        let key = Arc::clone(universe.key_name(key));
        let nearness = (if pool_excludes { 9 } else { 8 }, 0);
        return (nearness, Reason::SkuLabelMismatch { key });
    }
    let mut listed = catalog
        .cells
        .iter()
        .filter(|c| c.listed.get(index) && c.agrees(&reqs, universe))
        .filter(|c| {
            let of_cell = c.reqs.get(universe.zone);
            zone.is_none() || of_cell.is_none_or(|req| req.has(zone))
        });
    if listed.clone().next().is_none() {
        return ((7, 0), Reason::ZoneExcluded);
    }
    let group = from.groups.iter().find(|group| group.types.get(index));
    let with_daemons = group.map_or_else(
        || compiled.requests.clone(),
        |g| plus(&compiled.requests, &g.overhead),
    );
    if !catalog.fits(index, &compiled.requests) {
        return short(engine, &compiled.requests, catalog, index);
    }
    if !catalog.fits(index, &with_daemons) {
        return ((5, 0), Reason::DaemonOverhead);
    }
    if !listed.any(|cell| cell.available.get(index)) {
        return ((4, 0), Reason::RecentAllocationFailure);
    }
    if group.is_some_and(|group| group.has_port_conflict(&compiled.host_ports)) {
        return ((3, 0), Reason::HostPort);
    }
    if limits.nodes_exhausted() {
        return (
            (2, 0),
            Reason::PoolLimitExceeded {
                resource: quantity::NODES.into(),
            },
        );
    }
    if let Some(resource) = limits.exceeded(engine, template, index) {
        let resource = Arc::clone(universe.resource_name(resource));
        return ((1, 0), Reason::PoolLimitExceeded { resource });
    }
    ((0, 0), Reason::Chosen)
}

fn short(
    engine: &Engine<'_>,
    requests: &[i64],
    catalog: &Catalog,
    index: usize,
) -> (Nearness, Reason) {
    // The scarcest resource, in thousandths of the request: comparable across units.
    let missing = |resource: usize| requests[resource] - catalog.allocatable(index, resource);
    let share = |&resource: &usize| {
        let thousandths = i128::from(missing(resource)) * 1000 / i128::from(requests[resource]);
        i64::try_from(thousandths).unwrap_or(i64::MAX)
    };
    let scarce = (0..requests.len())
        .filter(|&resource| missing(resource) > 0)
        .max_by_key(share);
    let resource = scarce.expect("the caller found that something is missing");
    let name = engine.universe.resource_name(resource);
    let reason = if &**name == quantity::PODS {
        Reason::MaxPods
    } else {
        Reason::TooSmall {
            resource: Arc::clone(name),
            short_by: missing(resource),
        }
    };
    ((6, share(&resource)), reason)
}

/// Why a template refuses a class although some type would do: volumes in other zones, or too
/// little choice.
fn pool_reason(engine: &Engine<'_>, class: ClassId, template: usize) -> Reason {
    let from = &engine.templates[template];
    let compiled = engine.footprint(class);
    let catalog = &engine.catalogs[from.catalog];
    let mut reqs = ReqSet::clone(&from.reqs);
    let mut changed = Bits::default();
    for (key, req) in compiled.full.iter() {
        reqs.narrow(key, req);
        changed.insert(key);
    }
    let mut types = from.fitting(catalog, &compiled.requests, &compiled.host_ports);
    types.and_assign(&from.types);
    filter_types(engine, template, &reqs, &changed, &mut types);
    match unmet_min_values(engine, template, &reqs, &types) {
        Some((key, have, need)) => {
            let key = Arc::clone(engine.universe.key_name(key));
            Reason::MinValues { key, have, need }
        }
        None => Reason::VolumeZone,
    }
}
