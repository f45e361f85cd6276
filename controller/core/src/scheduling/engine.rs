//! A snapshot compiled for decisions: interned, in columns, pods in classes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bits::Bits;
use super::catalog::Catalog;
use super::class::{self, Class, ClassId, Footprint, FootprintId, Relaxed};
use super::compiled::ReqSet;
use super::intern::{Interner, Labelled, Needs};
use super::placement::{PreferencePolicy, SchedulingOptions};
use super::reuse::CompiledCatalogs;
use super::template::Template;
use super::topology::Topology;
use super::universe::{Amounts, KeyId, NEW_HOST, Universe, ValueId};
use crate::labels;
use crate::model::{Effect, HostPort, Node, Pod, PodShape, Snapshot, Taint, Toleration};
use crate::quantity::Resources;
use crate::requirements::Requirement;
use crate::taints;

/// A compiled snapshot. Building it is linear in the snapshot; deciding on it is not repeated
/// work: what is learnt about a class is kept.
#[derive(Debug)]
pub(crate) struct Engine<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) options: SchedulingOptions,
    pub(crate) universe: Universe,
    pub(crate) catalogs: Vec<Arc<Catalog>>,
    /// Templates of the pools that are ready, in the order in which they are tried.
    pub(crate) templates: Vec<Template<'a>>,
    /// Nodes in the order in which they are tried.
    pub(crate) nodes: Vec<NodeBase<'a>>,
    /// Nodes that take pods.
    pub(crate) active: Bits,
    pub(crate) classes: Vec<Class>,
    pub(crate) footprints: Vec<Footprint>,
    needs: Interner<Needs>,
    label_sets: Interner<Labelled>,
    by_shape: Interner<Arc<PodShape>>,
    /// Finds the class of a shape that many pods share, without comparing shapes. The shapes are
    /// kept alive by `by_shape` and the snapshot, so an address means one shape.
    by_address: BTreeMap<usize, ClassId>,
    pub(crate) topology: Topology,
    tolerate_prefer_no_schedule: bool,
}

/// An existing node or in-flight claim before anything is placed.
#[derive(Debug)]
pub(crate) struct NodeBase<'a> {
    pub(crate) node: &'a Node,
    /// Value of every label that somebody asks about; `None` where nobody asks for the value.
    labels: Vec<(KeyId, Option<ValueId>)>,
    taints: Vec<Taint>,
    /// Allocatable − pods − `DaemonSet` pods that are still to come.
    pub(crate) remaining: Amounts,
    /// Some resource is overcommitted: nothing fits.
    overcommitted: bool,
    pub(crate) host_ports: Vec<&'a HostPort>,
    pub(crate) initialized: bool,
}

/// A label of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// It is not there.
    Absent,
    /// It has a value that nobody has named.
    Unnamed,
    /// It has this value.
    Known(ValueId),
}

impl NodeBase<'_> {
    /// The value of a label.
    pub(crate) fn label(&self, key: KeyId) -> Label {
        match self.labels.binary_search_by_key(&key, |(key, _)| *key) {
            Err(_) => Label::Absent,
            Ok(position) => self.labels[position].1.map_or(Label::Unnamed, Label::Known),
        }
    }

    /// Whether the node's labels satisfy the requirements.
    pub(crate) fn satisfies(&self, reqs: &ReqSet) -> bool {
        reqs.iter().all(|(key, req)| match self.label(key) {
            Label::Known(value) => req.has(Some(value)),
            Label::Unnamed => req.has(None),
            Label::Absent => req.allows_absence(),
        })
    }

    pub(crate) fn tolerated_by(&self, shape: &PodShape) -> bool {
        self.tolerated(&shape.tolerations)
    }

    pub(crate) fn tolerated(&self, tolerations: &[Toleration]) -> bool {
        taints::first_untolerated(&self.taints, tolerations).is_none()
    }
}

impl<'a> Engine<'a> {
    /// Compiles a snapshot for the given pods, and for all pods on its nodes when those may move.
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        pods: impl Iterator<Item = &'a Pod> + Clone,
        options: SchedulingOptions,
        compiled: &CompiledCatalogs,
    ) -> Self {
        let compiled = compiled.refreshed(snapshot);
        let mut universe = compiled.universe();
        let shapes = distinct_shapes(pods);
        for catalog in snapshot.pools.values() {
            Template::intern(&catalog.pool, &mut universe);
        }
        for shape in shapes.iter().chain(&snapshot.daemons) {
            Class::intern(shape, &mut universe);
        }
        intern_nodes(&snapshot.nodes, &mut universe);
        let catalogs = compiled.catalogs(&universe);
        let prefer = |taint: &Taint| taint.effect == Effect::PreferNoSchedule;
        let mut engine = Self {
            snapshot,
            options,
            templates: Vec::new(),
            nodes: Vec::new(),
            active: Bits::default(),
            classes: Vec::new(),
            footprints: Vec::new(),
            needs: Interner::default(),
            label_sets: Interner::default(),
            by_shape: Interner::default(),
            by_address: BTreeMap::new(),
            topology: Topology::default(),
            tolerate_prefer_no_schedule: snapshot
                .pools
                .values()
                .any(|catalog| catalog.pool.ready && catalog.pool.taints.iter().any(prefer)),
            universe,
            catalogs,
        };
        engine.compile_templates(&compiled);
        engine.compile_nodes();
        for shape in shapes {
            engine.class_of(&shape);
        }
        engine
    }

    fn compile_templates(&mut self, compiled: &CompiledCatalogs) {
        for catalog in self.snapshot.pools.values() {
            // Static pools are not for pending pods.
            if !catalog.pool.ready || catalog.pool.replicas.is_some() {
                continue;
            }
            let index = compiled.position(&catalog.instance_types);
            let columns = &self.catalogs[index];
            let daemons = &self.snapshot.daemons;
            let pool = &catalog.pool;
            let template = Template::new(pool, index, columns, daemons, &self.universe);
            self.templates.push(template);
        }
        // Weight descending, then name descending, as upstream orders pools.
        self.templates
            .sort_by(|a, b| (b.pool.weight, &b.pool.name).cmp(&(a.pool.weight, &a.pool.name)));
    }

    fn compile_nodes(&mut self) {
        let daemons: Vec<(&PodShape, ReqSet)> = self
            .snapshot
            .daemons
            .iter()
            .map(|shape| {
                let requirements = class::strict_requirements(shape);
                (&**shape, ReqSet::new(&requirements, &self.universe))
            })
            .collect();
        let universe = &self.universe;
        let mut nodes: Vec<NodeBase<'a>> = self
            .snapshot
            .nodes
            .iter()
            .map(|node| node_base(node, &daemons, universe))
            .collect();
        nodes.sort_by(|a, b| (!a.initialized, &a.node.name).cmp(&(!b.initialized, &b.node.name)));
        for (index, base) in nodes.iter().enumerate() {
            let deleting =
                base.node.deleting || base.node.claim.as_ref().is_some_and(|claim| claim.deleting);
            if !deleting {
                self.active.insert(index);
            }
        }
        self.nodes = nodes;
    }

    /// The class of a shape that was among the pods the engine was compiled for.
    pub(crate) fn class_of(&mut self, shape: &Arc<PodShape>) -> ClassId {
        let address = Arc::as_ptr(shape).addr();
        if let Some(&class) = self.by_address.get(&address) {
            return class;
        }
        let ignored = self.options.preferences == PreferencePolicy::Ignore;
        let class = if ignored && class::has_preferences(shape) {
            self.intern_class(Arc::new(class::without_preferences(shape)))
        } else {
            self.intern_class(Arc::clone(shape))
        };
        self.by_address.insert(address, class);
        class
    }

    fn intern_class(&mut self, shape: Arc<PodShape>) -> ClassId {
        let (class, is_new) = self.by_shape.insert_full(Arc::clone(&shape));
        if is_new {
            let footprint = self.intern_footprint(&shape);
            let (label_set, _) = self.label_sets.insert_full(Labelled(Arc::clone(&shape)));
            let compiled = Class::new(shape, footprint, label_set, &self.universe);
            self.classes.push(compiled);
        }
        class
    }

    fn intern_footprint(&mut self, shape: &Arc<PodShape>) -> FootprintId {
        let (footprint, is_new) = self.needs.insert_full(Needs(Arc::clone(shape)));
        if is_new {
            let mut compiled = Footprint::new(shape, &self.universe);
            compiled.fresh = vec![None; self.templates.len()];
            self.footprints.push(compiled);
        }
        footprint
    }

    /// What a class needs of a machine.
    pub(crate) fn footprint(&self, class: ClassId) -> &Footprint {
        &self.footprints[self.classes[class].footprint]
    }

    /// The class with one soft constraint less.
    pub(crate) fn relaxed(&mut self, class: ClassId) -> Option<ClassId> {
        match self.classes[class].relaxed {
            Relaxed::Unknown => {}
            Relaxed::Hard => return None,
            Relaxed::To(known) => return Some(known),
        }
        let shape = class::relax(&self.classes[class].shape, self.tolerate_prefer_no_schedule);
        let relaxed = shape.map(|shape| self.intern_class(Arc::new(shape)));
        self.classes[class].relaxed = relaxed.map_or(Relaxed::Hard, Relaxed::To);
        relaxed
    }

    /// Nodes that take one such pod when nothing else is placed, topology aside.
    pub(crate) fn candidate_nodes(&mut self, footprint: FootprintId) -> &Bits {
        let compiled = &mut self.footprints[footprint];
        compiled.nodes.get_or_insert_with(|| {
            let mut bits = Bits::none(self.nodes.len());
            for (index, base) in self.nodes.iter().enumerate() {
                let takes = self.active.get(index)
                    && !base.overcommitted
                    && fits(&compiled.requests, &base.remaining)
                    && base.satisfies(&compiled.full)
                    && compiled
                        .volumes
                        .iter()
                        .any(|alternative| base.satisfies(alternative))
                    && base.tolerated(&compiled.tolerations);
                if takes {
                    bits.insert(index);
                }
            }
            bits
        })
    }
}

/// Whether every request is at most what remains.
pub(crate) fn fits(requests: &[i64], remaining: &[i64]) -> bool {
    requests
        .iter()
        .zip(remaining)
        .all(|(want, have)| want <= have)
}

/// Whether two host ports exclude each other (Karpenter `pkg/scheduling/hostportusage.go`).
pub(crate) fn ports_conflict(a: &HostPort, b: &HostPort) -> bool {
    let unspecified = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
    a.protocol == b.protocol
        && a.port == b.port
        && (a.ip == b.ip || unspecified(&a.ip) || unspecified(&b.ip))
}

fn distinct_shapes<'p>(pods: impl Iterator<Item = &'p Pod>) -> Vec<Arc<PodShape>> {
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    let mut shapes = Vec::new();
    for pod in pods {
        if seen.insert(Arc::as_ptr(&pod.shape).addr()) {
            shapes.push(Arc::clone(&pod.shape));
        }
    }
    shapes
}

/// Label values of nodes, for keys that somebody asks about. Host names only where a pod names
/// one: every node has its own.
fn intern_nodes(nodes: &[Node], universe: &mut Universe) {
    for node in nodes {
        universe.add_resources(&node.allocatable);
        for (key, value) in &node.labels {
            let key = labels::canonical_key(key);
            if let Some(id) = universe.key(&key)
                && id != universe.hostname
            {
                let value = labels::canonical_value(&key, value);
                universe.add_value(id, &value);
            }
        }
    }
}

fn node_base<'a>(
    node: &'a Node,
    daemons: &[(&PodShape, ReqSet)],
    universe: &Universe,
) -> NodeBase<'a> {
    let mut labels: Vec<(KeyId, Option<ValueId>)> = Vec::new();
    for (key, value) in &node.labels {
        let key = labels::canonical_key(key);
        if let Some(id) = universe.key(&key) {
            labels.push((
                id,
                universe.value(id, &labels::canonical_value(&key, value)),
            ));
        }
    }
    if !node.labels.contains_key(labels::HOSTNAME) {
        let name = universe.value(universe.hostname, node.name.as_str());
        labels.push((universe.hostname, name));
    }
    labels.sort_unstable();
    labels.dedup_by_key(|(key, _)| *key);
    let mut taints = node.taints.clone();
    if node.cordoned {
        taints.push(Taint {
            key: "node.kubernetes.io/unschedulable".into(),
            value: "".into(),
            effect: Effect::NoSchedule,
        });
    }
    let initialized = node.has_node
        && node
            .claim
            .as_ref()
            .is_none_or(|claim| claim.conditions.initialized);
    let mut base = NodeBase {
        node,
        labels,
        taints,
        remaining: Amounts::new(),
        overcommitted: false,
        host_ports: node
            .pods
            .iter()
            .flat_map(|pod| &pod.shape.host_ports)
            .collect(),
        initialized,
    };
    let mut expected = Resources::default();
    for (shape, reqs) in daemons {
        if base.tolerated_by(shape) && base.satisfies(reqs) {
            expected.add_assign(&shape.requests);
        }
    }
    let mut remaining = node.allocatable.clone();
    for pod in &node.pods {
        remaining.sub_assign(&pod.shape.requests);
        if pod.shape.daemon {
            expected.sub_assign(&pod.shape.requests);
        }
    }
    expected.clamp_negative();
    remaining.sub_assign(&expected);
    base.overcommitted = remaining.is_negative();
    base.remaining = universe.amounts(&remaining);
    base
}

/// The host name requirement of a claim that has no node yet.
pub(crate) fn new_host(universe: &Universe) -> Arc<super::compiled::Req> {
    let requirement = Requirement::one_of([NEW_HOST.into()]);
    Arc::new(super::compiled::Req::new(
        universe.hostname,
        &requirement,
        universe,
    ))
}
