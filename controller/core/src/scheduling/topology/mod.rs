//! Topology spread and pod (anti-)affinity, in both directions.
//!
//! Groups are counted once per snapshot; a run copies the counts of the groups it touches and
//! keeps them up to date as it places pods.

mod group;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use group::{Counts, Group, GroupDef, Kind};

pub(crate) use state::{Target, TopologyRun};

use super::bits::Bits;
use super::class::ClassId;
use super::compiled::ReqSet;
use super::engine::{Engine, Label};
use super::intern::Interner;
use super::template::Template;
use super::universe::{KeyId, Universe};
use crate::model::{Pod, PodShape};
use crate::taints;

/// Index of a group.
pub(crate) type GroupId = usize;

/// All groups that a snapshot's pods have made necessary so far.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    groups: Vec<Group>,
    by_def: Interner<GroupDef>,
    /// Groups that keep pods away from pods on nodes, whoever asks.
    inverse_of_nodes: Option<Vec<GroupId>>,
    /// Groups that a class owns: (what restricts it, what it restricts others by).
    owned: BTreeMap<ClassId, (Vec<GroupId>, Vec<GroupId>)>,
    /// Nodes by label value, for the keys of groups.
    node_columns: BTreeMap<KeyId, Column>,
}

/// Nodes or claims by the values that a label can have there.
#[derive(Debug)]
struct Column {
    key: KeyId,
    values: Vec<Bits>,
    /// The label can have none of them.
    unlabelled: Bits,
}

impl Column {
    fn new(key: KeyId, universe: &Universe) -> Self {
        Self {
            key,
            values: vec![Bits::default(); universe.value_count(key)],
            unlabelled: Bits::default(),
        }
    }
}

impl Topology {
    /// Interns the keys that a shape's constraints mention.
    pub(crate) fn intern(shape: &PodShape, universe: &mut Universe) {
        let terms = shape.affinity.iter().chain(&shape.anti_affinity);
        let preferred = shape
            .preferred_pod_affinity
            .iter()
            .chain(&shape.preferred_anti_affinity);
        let keys = terms
            .map(|term| &term.topology_key)
            .chain(preferred.map(|weighted| &weighted.term.topology_key))
            .chain(
                shape
                    .spread
                    .iter()
                    .map(|constraint| &constraint.topology_key),
            );
        for key in keys {
            universe.add_key(&crate::labels::canonical_key(key));
        }
    }
}

/// Whether the pod holds a place in its node's domains.
fn counted(pod: &Pod) -> bool {
    !pod.terminal && pod.deletion.is_none()
}

impl Engine<'_> {
    /// The groups that a class owns; made and counted when first asked for.
    fn owned_groups(&mut self, class: ClassId) -> (Vec<GroupId>, Vec<GroupId>) {
        if let Some(owned) = self.topology.owned.get(&class) {
            return owned.clone();
        }
        let shape = Arc::clone(&self.classes[class].shape);
        let (universe, namespaces) = (&self.universe, &self.snapshot.namespaces);
        let term = |kind, term| GroupDef::term(&shape, kind, term, universe, namespaces);
        let mut defs: Vec<GroupDef> = shape
            .spread
            .iter()
            .map(|own| GroupDef::spread(&shape, own, universe))
            .collect();
        let preferred = shape
            .preferred_pod_affinity
            .iter()
            .map(|weighted| &weighted.term);
        defs.extend(
            shape
                .affinity
                .iter()
                .chain(preferred)
                .map(|t| term(Kind::Affinity, t)),
        );
        let preferred = shape
            .preferred_anti_affinity
            .iter()
            .map(|weighted| &weighted.term);
        let anti = shape.anti_affinity.iter().chain(preferred);
        defs.extend(anti.map(|t| term(Kind::AntiAffinity, t)));
        let inverse: Vec<GroupDef> = shape
            .anti_affinity
            .iter()
            .map(|t| term(Kind::Inverse, t))
            .collect();
        let restricting = defs.into_iter().map(|def| self.group(def)).collect();
        let inverse = inverse.into_iter().map(|def| self.group(def)).collect();
        let owned = (restricting, inverse);
        self.topology.owned.insert(class, owned.clone());
        owned
    }

    /// Groups of pods on nodes that keep others away.
    fn inverse_of_nodes(&mut self) -> Vec<GroupId> {
        if let Some(groups) = &self.topology.inverse_of_nodes {
            return groups.clone();
        }
        let mut defs: BTreeSet<GroupDef> = BTreeSet::new();
        for pod in self.nodes.iter().flat_map(|base| &base.node.pods) {
            for term in pod.shape.anti_affinity.iter().filter(|_| counted(pod)) {
                let (universe, namespaces) = (&self.universe, &self.snapshot.namespaces);
                let def = GroupDef::term(&pod.shape, Kind::Inverse, term, universe, namespaces);
                defs.insert(def);
            }
        }
        let groups: Vec<GroupId> = defs.into_iter().map(|def| self.group(def)).collect();
        self.topology.inverse_of_nodes = Some(groups.clone());
        groups
    }

    /// Fills the column of a key with the nodes.
    fn index_nodes(&mut self, key: KeyId) {
        if self.nodes.is_empty() || self.topology.node_columns.contains_key(&key) {
            return;
        }
        let mut column = Column::new(key, &self.universe);
        for (index, base) in self.nodes.iter().enumerate() {
            match base.label(key) {
                Label::Known(value) => column.values[value].insert(index),
                Label::Absent | Label::Unnamed => column.unlabelled.insert(index),
            }
        }
        self.topology.node_columns.insert(key, column);
    }

    fn group(&mut self, def: GroupDef) -> GroupId {
        if let Some(group) = self.topology.by_def.get_index_of(&def) {
            return group;
        }
        let mut group = Group::new(def.clone(), &self.universe);
        self.find_domains(&mut group);
        self.count_nodes(&mut group);
        self.topology.groups.push(group);
        self.topology.by_def.insert_full(def).0
    }

    /// Values that a pool can give to a new node now, and those of nodes.
    fn find_domains(&self, group: &mut Group) {
        let key = group.def.key;
        for template in &self.templates {
            let tolerated = |tolerations: &[_]| {
                taints::first_untolerated(&template.pool.taints, tolerations).is_none()
            };
            if group
                .tolerations()
                .is_some_and(|tolerations| !tolerated(tolerations))
            {
                continue;
            }
            for term in group.alternatives() {
                if template.reqs.conflict(&term, &self.universe).is_none() {
                    self.find_template_domains(template, &term, key, &mut group.domains);
                }
            }
        }
        for base in self.nodes.iter().filter(|base| base.node.has_node) {
            if let Label::Known(value) = base.label(key)
                && group.includes_node(base)
            {
                group.domains.insert(value);
            }
        }
    }

    /// Values that a template can give to a new node that satisfies a term.
    fn find_template_domains(
        &self,
        template: &Template<'_>,
        term: &ReqSet,
        key: KeyId,
        domains: &mut Bits,
    ) {
        let catalog = &self.catalogs[template.catalog];
        let mut reqs = ReqSet::clone(&template.reqs);
        for (key, req) in term.iter() {
            reqs.narrow(key, req);
        }
        let allowed = reqs.get(key);
        // A zone that the pool names but nobody sells now is no domain: it would hold up all
        // others.
        let by_offering = catalog.cell_keys.get(key);
        let named = !by_offering && allowed.is_some_and(|req| !req.is_complement());
        for value in 0..self.universe.value_count(key) {
            let in_pool = allowed.is_none_or(|req| req.has(Some(value)));
            let reachable = || {
                named
                    || (by_offering
                        && catalog.is_offered(key, value, &template.types, &reqs, &self.universe))
                    || (!by_offering && catalog.is_labelled(key, value, &template.types))
            };
            if in_pool && reachable() {
                domains.insert(value);
            }
        }
    }

    fn count_nodes(&self, group: &mut Group) {
        let key = group.def.key;
        let mut counts = Counts {
            values: vec![0; self.universe.value_count(key)],
            ..Counts::default()
        };
        // Many pods share a shape, so what is learnt about one is kept by its address.
        let mut known: BTreeMap<usize, bool> = BTreeMap::new();
        for (index, base) in self.nodes.iter().enumerate() {
            if base.node.pods.is_empty() || !group.includes_node(base) {
                continue;
            }
            let number = base.node.pods.iter().filter(|pod| {
                let address = Arc::as_ptr(&pod.shape).addr();
                counted(pod)
                    && *known
                        .entry(address)
                        .or_insert_with(|| self.counts_pod(group, pod))
            });
            let number = u32::try_from(number.count()).unwrap_or(u32::MAX);
            self.add(group, &mut counts, index, i64::from(number));
        }
        group.base = counts;
    }

    /// Whether a pod on a node counts for a group: it is selected, or for inverse groups, it is
    /// an owner.
    fn counts_pod(&self, group: &Group, pod: &Pod) -> bool {
        if group.def.kind != Kind::Inverse {
            return group.def.counts(&pod.shape);
        }
        pod.shape.anti_affinity.iter().any(|term| {
            let (universe, namespaces) = (&self.universe, &self.snapshot.namespaces);
            GroupDef::term(&pod.shape, Kind::Inverse, term, universe, namespaces) == group.def
        })
    }

    /// Changes the count of a node's domain.
    fn add(&self, group: &Group, counts: &mut Counts, node: usize, change: i64) {
        let changed = |count: u32| {
            let sum = i64::from(count).saturating_add(change).max(0);
            u32::try_from(sum).unwrap_or(u32::MAX)
        };
        if group.def.key == self.universe.hostname {
            let count = changed(counts.nodes.count(node));
            counts.nodes.set(node, count, group.def.kind.host_skew());
        } else if let Label::Known(value) = self.nodes[node].label(group.def.key) {
            counts.values[value] = changed(counts.values[value]);
        }
    }

    /// Pods that take part in a run although they are bound are not counted where they are.
    fn uncount(&self, group: &Group, counts: &mut Counts, leaving: &[(usize, &Pod)]) {
        for &(node, pod) in leaving {
            let here = group.includes_node(&self.nodes[node]);
            if here && counted(pod) && self.counts_pod(group, pod) {
                self.add(group, counts, node, -1);
            }
        }
    }
}
