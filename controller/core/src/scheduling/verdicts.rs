//! One verdict for every pool, instance type and zone: why it serves a pod or does not.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::claim::Limits;
use super::class::ClassId;
use super::engine::Engine;
use super::placement::SchedulingInput;
use super::reasons;
use super::reuse::CompiledCatalogs;
use super::template::plus;
use super::universe::ValueId;
use crate::explain::Reason;
use crate::model::{InstanceTypeName, NodePoolName, Pod, Price, Zone};
use crate::quantity::Resources;

/// Why an instance type in a zone, bought through a pool, serves a pod or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The pool.
    pub pool: NodePoolName,
    /// The instance type.
    pub instance_type: InstanceTypeName,
    /// The zone; every type has a verdict for every zone of its catalogue.
    pub zone: Zone,
    /// The one primary reason: [`Reason::Chosen`] for the cheapest, [`Reason::Dominated`] for what
    /// would do and costs more.
    pub reason: Reason,
    /// What a node would have left beside the pod and the pods of `DaemonSets`; negative where it
    /// lacks.
    pub slack: Resources,
    /// The lowest price at which it can be had there now.
    pub price: Option<Price>,
}

/// The verdicts on a pod that is alone in needing a place: existing nodes, other pending pods and
/// topology are left out of account. Pools in name order, types in the order of their catalogue,
/// zones in name order; pools that do not serve pending pods are left out.
pub fn verdicts(
    input: &SchedulingInput<'_>,
    pod: &Pod,
    compiled: &CompiledCatalogs,
) -> Vec<Verdict> {
    let pods = std::iter::once(pod);
    let mut engine = Engine::new(input.snapshot, pods, input.options, compiled);
    let mut class = engine.class_of(&pod.shape);
    while let Some(next) = engine.relaxed(class) {
        class = next;
    }
    let mut excluded = Bits::none(engine.nodes.len());
    for (index, base) in engine.nodes.iter().enumerate() {
        if input.excluded.contains(&base.node.name) {
            excluded.insert(index);
        }
    }
    let limits = Limits::of(&engine, &excluded);
    let mut verdicts: Vec<(usize, Verdict)> = Vec::new();
    for (template, limits) in limits.iter().enumerate() {
        let catalog = engine.templates[template].catalog;
        for index in 0..engine.catalogs[catalog].len() {
            for (zone, value) in zones(&engine, catalog) {
                let at = (template, index, value);
                verdicts.push((template, verdict(&engine, class, limits, at, zone)));
            }
        }
    }
    mark_dominated(&mut verdicts);
    let mut verdicts: Vec<Verdict> = verdicts.into_iter().map(|(_, verdict)| verdict).collect();
    verdicts.sort_by(|a, b| a.pool.cmp(&b.pool));
    verdicts
}

/// The zones in which a catalogue sells anything, by name.
fn zones(engine: &Engine<'_>, catalog: usize) -> BTreeMap<Zone, ValueId> {
    let key = engine.universe.zone;
    let cells = engine.catalogs[catalog].cells.iter();
    let values = cells.filter_map(|cell| cell.reqs.get(key)?.bits.next(0));
    values
        .map(|value| {
            (
                Zone::new(engine.universe.value_name(key, value).clone()),
                value,
            )
        })
        .collect()
}

fn verdict(
    engine: &Engine<'_>,
    class: ClassId,
    limits: &Limits,
    (template, index, value): (usize, usize, ValueId),
    zone: Zone,
) -> Verdict {
    let from = &engine.templates[template];
    let catalog = &engine.catalogs[from.catalog];
    let requests = &engine.footprint(class).requests;
    let group = from.groups.iter().find(|group| group.types.get(index));
    let used = group.map_or_else(|| requests.clone(), |group| plus(requests, &group.overhead));
    let left = |(resource, used): (usize, &i64)| catalog.allocatable(index, resource) - used;
    let left: Vec<i64> = used.iter().enumerate().map(left).collect();
    let reason = match reasons::pool_excludes(engine, class, template) {
        Some(reason) => reason,
        None => reasons::type_reason(engine, class, template, limits, (index, Some(value))).1,
    };
    let there = |cell: &&super::catalog::Cell| {
        let zone = cell.reqs.get(engine.universe.zone);
        cell.available.get(index) && zone.is_some_and(|zone| zone.has(Some(value)))
    };
    let wanted = &engine.footprint(class).full;
    let prices = catalog
        .cells
        .iter()
        .filter(there)
        .filter(|cell| cell.agrees(&from.reqs, &engine.universe))
        .filter(|cell| wanted.disjoint(&cell.reqs, |_| true).is_none());
    Verdict {
        pool: from.pool.name.clone(),
        instance_type: catalog.types[index].name.clone(),
        zone,
        reason,
        slack: engine.universe.to_resources(&left),
        price: prices.map(|cell| cell.price[index]).min(),
    }
}

/// Of what would do, only the cheapest of the first template is chosen.
fn mark_dominated(verdicts: &mut [(usize, Verdict)]) {
    let fits = |verdict: &Verdict| verdict.reason == Reason::Chosen;
    let best = verdicts
        .iter()
        .enumerate()
        .filter(|(_, (_, verdict))| fits(verdict))
        .min_by(|(_, (a, x)), (_, (b, y))| {
            let key =
                |t: &usize, v: &Verdict| (*t, v.price, v.instance_type.clone(), v.zone.clone());
            key(a, x).cmp(&key(b, y))
        })
        .map(|(position, _)| position);
    for (position, (_, verdict)) in verdicts.iter_mut().enumerate() {
        if verdict.reason == Reason::Chosen && Some(position) != best {
            verdict.reason = Reason::Dominated;
        }
    }
}
