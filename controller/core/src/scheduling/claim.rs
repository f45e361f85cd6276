//! New claims while they are filled: requirements and instance types that only narrow.

use std::sync::Arc;

use smallvec::SmallVec;

use super::bits::Bits;
use super::class::{ClassId, Footprint, FootprintId, Fresh};
use super::compiled::ReqSet;
use super::engine::{Engine, ports_conflict};
use super::placement::MinValuesPolicy;
use super::template::plus;
use super::universe::{Amounts, KeyId, Universe};
use crate::model::HostPort;
use crate::mutants::{self, Mutant};
use crate::quantity;

/// A claim that is not created yet.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) template: usize,
    /// Shared by claims of one template until something narrows them.
    pub(crate) reqs: Arc<ReqSet>,
    pub(crate) types: Bits,
    /// Requests of its pods, without `DaemonSet` pods.
    pub(crate) total: Amounts,
    pub(crate) pods: Vec<usize>,
    /// The pods' classes.
    pub(crate) classes: Vec<ClassId>,
    ports: Vec<HostPort>,
}

/// What a pod is tried against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base<'c> {
    template: usize,
    reqs: &'c Arc<ReqSet>,
    types: &'c Bits,
    total: &'c Amounts,
    ports: &'c [HostPort],
}

/// A claim's requirements and types after one more pod.
#[derive(Clone, Debug)]
pub(crate) struct Narrowed {
    pub(crate) reqs: Arc<ReqSet>,
    pub(crate) types: Bits,
}

impl Claim {
    pub(crate) fn new(
        template: usize,
        reqs: Arc<ReqSet>,
        types: Bits,
        universe: &Universe,
    ) -> Self {
        let total = Amounts::from_elem(0, universe.resource_count());
        Self {
            template,
            reqs,
            types,
            total,
            pods: Vec::new(),
            classes: Vec::new(),
            ports: Vec::new(),
        }
    }

    pub(crate) fn as_base(&self) -> Base<'_> {
        Base {
            template: self.template,
            reqs: &self.reqs,
            types: &self.types,
            total: &self.total,
            ports: &self.ports,
        }
    }

    /// Adds a pod for which the claim has been narrowed.
    pub(crate) fn take(&mut self, pod: usize, class: ClassId, footprint: &Footprint) {
        self.pods.push(pod);
        self.classes.push(class);
        self.total = plus(&self.total, &footprint.requests);
        self.ports.extend(footprint.host_ports.iter().cloned());
    }
}

/// What a claim can become; more than one only where volumes leave a choice.
pub(crate) type Options = SmallVec<[Narrowed; 1]>;

/// Narrows a claim for one more such pod, by every alternative of its volumes; none when it does
/// not fit, now or ever.
pub(crate) fn narrow(engine: &Engine<'_>, base: &Base<'_>, footprint: &Footprint) -> Options {
    let template = &engine.templates[base.template];
    let catalog = &engine.catalogs[template.catalog];
    let ports = &footprint.host_ports;
    if ports
        .iter()
        .any(|port| base.ports.iter().any(|taken| ports_conflict(port, taken)))
    {
        return Options::new();
    }
    let total = plus(base.total, &footprint.requests);
    let mut fitting = template.fitting(catalog, &total, ports);
    fitting.and_assign(base.types);
    let universe = &engine.universe;
    if !fitting.any() || base.reqs.conflict(&footprint.full, universe).is_some() {
        return Options::new();
    }
    let option = |alternative: &ReqSet| {
        let mut reqs = Arc::clone(base.reqs);
        let mut changed = Bits::default();
        for (key, req) in footprint.full.iter() {
            if ReqSet::narrow_shared(&mut reqs, key, req) {
                changed.insert(key);
            }
        }
        if reqs.conflict(alternative, universe).is_some() {
            return None;
        }
        for (key, req) in alternative.iter() {
            if ReqSet::narrow_shared(&mut reqs, key, req) {
                changed.insert(key);
            }
        }
        let mut types = fitting.clone();
        filter_types(engine, base.template, &reqs, &changed, &mut types);
        (types.any() && min_values_hold(engine, base.template, &reqs, &types))
            .then_some(Narrowed { reqs, types })
    };
    footprint.volumes.iter().filter_map(option).collect()
}

/// Drops types that no longer agree with requirements that have changed.
pub(crate) fn filter_types(
    engine: &Engine<'_>,
    template: usize,
    reqs: &ReqSet,
    changed: &Bits,
    types: &mut Bits,
) {
    let catalog = &engine.catalogs[engine.templates[template].catalog];
    for key in changed.iter() {
        if let Some(req) = reqs.get(key) {
            types.and_assign(&catalog.matching(key, req));
        }
    }
    if changed.intersects(&catalog.cell_keys) {
        types.and_assign(&catalog.offered(reqs, &engine.universe));
    }
}

/// Whether enough distinct values stay possible.
pub(crate) fn min_values_hold(
    engine: &Engine<'_>,
    template: usize,
    reqs: &ReqSet,
    types: &Bits,
) -> bool {
    unmet_min_values(engine, template, reqs, types).is_none()
}

/// The first key with too few distinct values: the key, how many there are, and how many are
/// needed.
pub(crate) fn unmet_min_values(
    engine: &Engine<'_>,
    template: usize,
    reqs: &ReqSet,
    types: &Bits,
) -> Option<(KeyId, u32, u32)> {
    let catalog = &engine.catalogs[engine.templates[template].catalog];
    reqs.iter().find_map(|(key, req)| {
        let need = req.min_values?;
        let have = catalog.distinct_values(key, types);
        (have < need).then_some((key, have, need))
    })
}

/// A new claim of a template for one such pod, before limits; remembered.
pub(crate) fn fresh<'e>(
    engine: &'e mut Engine<'_>,
    footprint: FootprintId,
    template: usize,
) -> &'e Fresh {
    if engine.footprints[footprint].fresh[template].is_none() {
        let computed = compute_fresh(engine, &engine.footprints[footprint], template);
        engine.footprints[footprint].fresh[template] = Some(computed);
    }
    engine.footprints[footprint].fresh[template]
        .as_ref()
        .expect("computed above")
}

fn compute_fresh(engine: &Engine<'_>, footprint: &Footprint, template: usize) -> Fresh {
    let from = &engine.templates[template];
    if crate::taints::first_untolerated(&from.pool.taints, &footprint.tolerations).is_some() {
        return Fresh::Never;
    }
    let mut reqs = Arc::clone(&from.reqs);
    if engine.options.min_values == MinValuesPolicy::BestEffort {
        // Lowered to what the pod leaves possible, once, when the claim is opened.
        for (key, req) in from.reqs.iter().filter(|(_, req)| req.min_values.is_some()) {
            Arc::make_mut(&mut reqs).insert(key, Arc::new(req.with_min_values(None)));
        }
    }
    let total = Amounts::from_elem(0, engine.universe.resource_count());
    let base = Base {
        template,
        reqs: &reqs,
        types: &from.types,
        total: &total,
        ports: &[],
    };
    let mut options = narrow(engine, &base, footprint);
    if options.is_empty() {
        return Fresh::Never;
    }
    if engine.options.min_values == MinValuesPolicy::BestEffort {
        for narrowed in &mut options {
            lower_min_values(engine, template, narrowed);
        }
    }
    Fresh::Fits(options)
}

fn lower_min_values(engine: &Engine<'_>, template: usize, narrowed: &mut Narrowed) {
    let from = &engine.templates[template];
    let catalog = &engine.catalogs[from.catalog];
    for (key, original) in from.reqs.iter() {
        let Some(need) = original.min_values else {
            continue;
        };
        let have = catalog.distinct_values(key, &narrowed.types);
        if let Some(req) = narrowed.reqs.get(key) {
            let lowered = Arc::new(req.with_min_values(Some(need.min(have))));
            Arc::make_mut(&mut narrowed.reqs).insert(key, lowered);
        }
    }
}

/// What a pool's limits leave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// Remaining amount by resource.
    resources: Vec<(usize, i64)>,
    /// Remaining nodes.
    nodes: Option<i64>,
}

impl Limits {
    /// By template: limits − capacity of the pool's active nodes.
    pub(crate) fn of(engine: &Engine<'_>, excluded: &Bits) -> Vec<Self> {
        let limited = |template: &super::template::Template<'_>| {
            let pool = template.pool;
            let resources = pool.limits.iter().filter_map(|(name, &limit)| {
                engine
                    .universe
                    .resource(name)
                    .map(|resource| (resource, limit))
            });
            let nodes = pool.limits.get(quantity::NODES).copied();
            let mut limits = Self {
                resources: resources.collect(),
                nodes,
            };
            if limits.resources.is_empty() && limits.nodes.is_none() {
                return limits;
            }
            for (index, base) in engine.nodes.iter().enumerate() {
                let ours = base
                    .node
                    .claim
                    .as_ref()
                    .is_some_and(|claim| claim.pool == pool.name);
                let ours = ours && (base.node.has_node || !mutants::is(Mutant::FlightUncounted));
                if ours && engine.active.get(index) && !excluded.get(index) {
                    limits.subtract(|resource| {
                        base.node
                            .capacity
                            .get(engine.universe.resource_name(resource))
                    });
                }
            }
            limits
        };
        engine.templates.iter().map(limited).collect()
    }

    fn subtract(&mut self, used: impl Fn(usize) -> i64) {
        for (resource, left) in &mut self.resources {
            *left = left.saturating_sub(used(*resource));
        }
        if let Some(nodes) = &mut self.nodes {
            *nodes = nodes.saturating_sub(1);
        }
    }

    /// Drops types that would exceed a limit; `false` when nothing is left.
    pub(crate) fn restrict(&self, engine: &Engine<'_>, template: usize, types: &mut Bits) -> bool {
        if self.nodes.is_some_and(|left| left <= 0) {
            return false;
        }
        let catalog = &engine.catalogs[engine.templates[template].catalog];
        for &(resource, left) in &self.resources {
            catalog.drop_larger(resource, left, types);
        }
        types.any()
    }

    /// The limited resource of which the type has more than is left.
    pub(crate) fn exceeded(
        &self,
        engine: &Engine<'_>,
        template: usize,
        index: usize,
    ) -> Option<usize> {
        let catalog = &engine.catalogs[engine.templates[template].catalog];
        let over = |&&(resource, left): &&(usize, i64)| catalog.capacity(index, resource) > left;
        self.resources
            .iter()
            .find(over)
            .map(|&(resource, _)| resource)
    }

    /// Whether the limit on nodes is used up.
    pub(crate) fn nodes_exhausted(&self) -> bool {
        self.nodes.is_some_and(|left| left <= 0)
    }

    /// Takes off the largest capacity among the types: the claim may become any of them.
    pub(crate) fn take(&mut self, engine: &Engine<'_>, template: usize, types: &Bits) {
        let catalog = &engine.catalogs[engine.templates[template].catalog];
        self.subtract(|resource| catalog.largest(resource, types));
    }
}
