//! What a new claim of a pool starts from.

use std::sync::Arc;

use super::bits::Bits;
use super::catalog::Catalog;
use super::compiled::ReqSet;
use super::engine::{new_host, ports_conflict};
use super::universe::{Amounts, Universe};
use crate::labels;
use crate::model::{Effect, HostPort, NodePool, PodShape, Toleration, TolerationOperator};
use crate::requirements::{Requirement, Requirements, UndefinedKeys};
use crate::taints;

/// A pool as the start of new claims.
#[derive(Debug)]
pub(crate) struct Template<'a> {
    pub(crate) pool: &'a NodePool,
    /// Index of its catalogue.
    pub(crate) catalog: usize,
    pub(crate) reqs: Arc<ReqSet>,
    /// Instance types that the pool alone leaves, offered now.
    pub(crate) types: Bits,
    /// Instance types by the `DaemonSet` pods that will run on them.
    pub(crate) groups: Vec<DaemonGroup<'a>>,
}

/// Instance types that carry the same `DaemonSet` pods.
#[derive(Clone, Debug)]
pub(crate) struct DaemonGroup<'a> {
    pub(crate) types: Bits,
    pub(crate) overhead: Amounts,
    ports: Vec<&'a HostPort>,
}

impl DaemonGroup<'_> {
    pub(crate) fn has_port_conflict(&self, ports: &[HostPort]) -> bool {
        ports
            .iter()
            .any(|port| self.ports.iter().any(|taken| ports_conflict(port, taken)))
    }
}

impl<'a> Template<'a> {
    pub(crate) fn intern(pool: &NodePool, universe: &mut Universe) {
        universe.add_requirements(&requirements(pool));
        for name in pool
            .limits
            .keys()
            .filter(|name| &***name != crate::quantity::NODES)
        {
            universe.add_resource(name);
        }
    }

    pub(crate) fn new(
        pool: &'a NodePool,
        catalog_index: usize,
        catalog: &Catalog,
        daemons: &'a [Arc<PodShape>],
        universe: &Universe,
    ) -> Self {
        let public = requirements(pool);
        let mut reqs = ReqSet::new(&public, universe);
        let mut types = catalog.offered(&reqs, universe);
        for (key, req) in reqs.iter() {
            types.and_assign(&catalog.matching(key, req));
        }
        reqs.insert(universe.hostname, new_host(universe));
        let zero = Amounts::from_elem(0, universe.resource_count());
        let everything = Bits::all(catalog.len());
        let mut groups = vec![DaemonGroup {
            types: everything,
            overhead: zero,
            ports: Vec::new(),
        }];
        for daemon in daemons {
            if tolerates_with_help(daemon, pool) {
                let matching = daemon_types(daemon, &public, catalog, universe);
                groups = split(groups, &matching, daemon, universe);
            }
        }
        Self {
            pool,
            catalog: catalog_index,
            reqs: Arc::new(reqs),
            types,
            groups,
        }
    }

    /// Types that hold these requests beside the `DaemonSet` pods.
    pub(crate) fn fitting(&self, catalog: &Catalog, total: &[i64], ports: &[HostPort]) -> Bits {
        if let [only] = &self.groups[..]
            && ports.is_empty()
        {
            return catalog.fitting(&plus(total, &only.overhead));
        }
        let mut result = Bits::none(catalog.len());
        for group in &self.groups {
            if ports.is_empty() || !group.has_port_conflict(ports) {
                let fit = catalog.fitting(&plus(total, &group.overhead));
                result.or_assign(&fit.and(&group.types));
            }
        }
        result
    }

    /// The least that `DaemonSet` pods take on any of the types.
    pub(crate) fn least_overhead(&self, types: &Bits, universe: &Universe) -> Amounts {
        let mut present = self
            .groups
            .iter()
            .filter(|group| group.types.intersects(types));
        let Some(first) = present.next() else {
            return Amounts::from_elem(0, universe.resource_count());
        };
        present.fold(first.overhead.clone(), |mut least, group| {
            for (own, other) in least.iter_mut().zip(&group.overhead) {
                *own = (*own).min(*other);
            }
            least
        })
    }
}

pub(crate) fn plus(a: &[i64], b: &[i64]) -> Amounts {
    a.iter().zip(b).map(|(a, b)| a.saturating_add(*b)).collect()
}

/// Requirements of every node of the pool, those included that only `DaemonSets` look at.
fn requirements(pool: &NodePool) -> Requirements {
    let mut requirements = Requirements::from_specs(&pool.requirements);
    requirements.intersect(&Requirements::from_labels(&pool.labels));
    let mut fixed = |key: &str, value: Arc<str>| {
        requirements.add(key.into(), Requirement::one_of([value]));
    };
    fixed(labels::NODEPOOL, pool.name.shared());
    let class_key = format!(
        "{}/{}",
        pool.node_class_group,
        pool.node_class_kind.to_lowercase()
    );
    fixed(&class_key, pool.node_class.shared());
    for key in SIMULATION_KEYS {
        fixed(key, "true".into());
    }
    requirements
}

/// Labels that nodes get later; `DaemonSets` may select them, claims never ask for them.
pub(crate) const SIMULATION_KEYS: [&str; 2] = [labels::REGISTERED, labels::INITIALIZED];

fn tolerates_with_help(daemon: &PodShape, pool: &NodePool) -> bool {
    let mut tolerations = daemon.tolerations.clone();
    tolerations.push(Toleration {
        key: "".into(),
        operator: TolerationOperator::Exists,
        value: "".into(),
        effect: Some(Effect::PreferNoSchedule),
    });
    taints::first_untolerated(&pool.taints, &tolerations).is_none()
}

/// Types on which a `DaemonSet` would run a pod.
fn daemon_types(
    daemon: &PodShape,
    pool: &Requirements,
    catalog: &Catalog,
    universe: &Universe,
) -> Bits {
    let mut result = Bits::none(catalog.len());
    let selector = Requirements::from_labels(&daemon.node_selector);
    let no_term = [Vec::new()];
    let terms = if daemon.required_affinity.is_empty() {
        &no_term[..]
    } else {
        &daemon.required_affinity
    };
    for term in terms {
        let mut wanted = selector.clone();
        wanted.intersect(&Requirements::from_specs(term));
        if pool
            .compatible(&wanted, UndefinedKeys::WellKnownAllowed)
            .is_err()
        {
            continue;
        }
        let mut types = Bits::all(catalog.len());
        for (key, req) in ReqSet::new(&wanted, universe).iter() {
            types.and_assign(&catalog.matching(key, req));
        }
        result.or_assign(&types);
    }
    result
}

fn split<'a>(
    groups: Vec<DaemonGroup<'a>>,
    matching: &Bits,
    daemon: &'a PodShape,
    universe: &Universe,
) -> Vec<DaemonGroup<'a>> {
    let mut result = Vec::new();
    for group in groups {
        let with = group.types.and(matching);
        let mut without = group.types.clone();
        without.and_not_assign(matching);
        if with.any() {
            let mut ports = group.ports.clone();
            ports.extend(&daemon.host_ports);
            let overhead = plus(&group.overhead, &universe.amounts(&daemon.requests));
            result.push(DaemonGroup {
                types: with,
                overhead,
                ports,
            });
        }
        if without.any() {
            result.push(DaemonGroup {
                types: without,
                ..group
            });
        }
    }
    if result.is_empty() {
        let overhead = Amounts::from_elem(0, universe.resource_count());
        result.push(DaemonGroup {
            types: matching.clone(),
            overhead,
            ports: Vec::new(),
        });
    }
    result
}
