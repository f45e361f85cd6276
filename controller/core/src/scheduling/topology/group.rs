//! Topology groups: pods that are counted together, domain by domain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{AffinityTerm, LabelSelector, PodShape, SpreadConstraint, Toleration};
use crate::requirements::RequirementSpec;

use super::super::bits::Bits;
use super::super::class::{Class, ClassId};
use super::super::compiled::ReqSet;
use super::super::engine::{Engine, NodeBase};
use super::super::universe::{KeyId, Universe};

/// What a group is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Keep domains within a skew of each other.
    Spread {
        max_skew: i32,
        min_domains: Option<i32>,
    },
    /// Go where the selected pods are.
    Affinity,
    /// Go where none of the selected pods is.
    AntiAffinity,
    /// Keep the selected pods away from the owners.
    Inverse,
}

/// Namespaces that a selector looks into.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Namespaces {
    All,
    Some(BTreeSet<Arc<str>>),
}

/// Which nodes count for a spread constraint.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Filter {
    /// Node selector and required terms, when `nodeAffinityPolicy` is `Honor`.
    affinity: Option<NodeAffinity>,
    /// Tolerations, when taints are honored.
    tolerations: Option<Vec<Toleration>>,
}

/// Node selector and required terms of a pod.
type NodeAffinity = (BTreeMap<Arc<str>, Arc<str>>, Vec<Vec<RequirementSpec>>);

/// What makes two constraints one group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupDef {
    pub(crate) kind: Kind,
    pub(crate) key: KeyId,
    namespaces: Namespaces,
    selector: Option<LabelSelector>,
    filter: Filter,
}

/// A group with its counts before anything is placed.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) def: GroupDef,
    /// Compiled terms of the filter; empty without one.
    terms: Vec<ReqSet>,
    /// Values of the key that are domains; unused for the host name.
    pub(crate) domains: Bits,
    /// Pods on nodes.
    pub(crate) base: Counts,
    /// Whether pods are counted, by label set.
    matches: Vec<Option<bool>>,
}

/// Pods by domain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// By value of the key.
    pub(crate) values: Vec<u32>,
    /// By node, for the host name.
    pub(crate) nodes: Hosts,
    /// By claim, for the host name.
    pub(crate) claims: Hosts,
}

/// Pods by host, and the hosts on which there are some, many, too many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    counts: Vec<u32>,
    /// Hosts with a pod.
    pub(crate) occupied: Bits,
    /// Hosts with as many pods as the group's skew.
    pub(crate) full: Bits,
    /// Hosts with more.
    pub(crate) over: Bits,
}

impl Counts {
    pub(crate) fn is_empty(&self) -> bool {
        let hosts = self.nodes.occupied.any() || self.claims.occupied.any();
        !hosts && self.values.iter().all(|&count| count == 0)
    }
}

impl Hosts {
    pub(crate) fn count(&self, host: usize) -> u32 {
        self.counts.get(host).copied().unwrap_or(0)
    }

    /// Sets a host's count; `skew` is the group's.
    pub(crate) fn set(&mut self, host: usize, count: u32, skew: u32) {
        if host >= self.counts.len() {
            self.counts.resize(host + 1, 0);
        }
        self.counts[host] = count;
        let mark = |bits: &mut Bits, on: bool| {
            if on {
                bits.insert(host);
            } else {
                bits.remove(host);
            }
        };
        mark(&mut self.occupied, count > 0);
        mark(&mut self.full, count >= skew);
        mark(&mut self.over, count > skew);
    }
}

impl Kind {
    /// Most pods that a host may have more than an empty one.
    pub(crate) fn host_skew(self) -> u32 {
        match self {
            Self::Spread { max_skew, .. } => u32::try_from(max_skew).unwrap_or(0),
            Self::Affinity | Self::AntiAffinity | Self::Inverse => 1,
        }
    }

    /// Whether a place outside all domains is fine.
    pub(crate) fn takes_unlabelled(self) -> bool {
        matches!(self, Self::AntiAffinity | Self::Inverse)
    }
}

impl GroupDef {
    pub(crate) fn spread(shape: &PodShape, own: &SpreadConstraint, universe: &Universe) -> Self {
        let affinity = own
            .honor_affinity
            .then(|| (shape.node_selector.clone(), shape.required_affinity.clone()));
        let tolerations = own.honor_taints.then(|| shape.tolerations.clone());
        Self {
            kind: Kind::Spread {
                max_skew: own.max_skew,
                min_domains: own.min_domains,
            },
            key: key(&own.topology_key, universe),
            namespaces: Namespaces::Some([Arc::clone(&shape.namespace)].into()),
            selector: own.selector.clone(),
            filter: Filter {
                affinity,
                tolerations,
            },
        }
    }

    pub(crate) fn term(
        shape: &PodShape,
        kind: Kind,
        term: &AffinityTerm,
        universe: &Universe,
        namespaces: &BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<str>>>,
    ) -> Self {
        Self {
            kind,
            key: key(&term.topology_key, universe),
            namespaces: resolve(shape, term, namespaces),
            selector: term.selector.clone(),
            filter: Filter::default(),
        }
    }

    /// Whether pods of the shape are counted.
    pub(crate) fn counts(&self, shape: &PodShape) -> bool {
        let inside = match &self.namespaces {
            Namespaces::All => true,
            Namespaces::Some(names) => names.contains(&shape.namespace),
        };
        inside
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(&shape.labels))
    }
}

impl Group {
    pub(crate) fn new(def: GroupDef, universe: &Universe) -> Self {
        let terms = def
            .filter
            .affinity
            .as_ref()
            .map_or_else(Vec::new, |(selector, terms)| {
                let shape = |term: &[RequirementSpec]| PodShape {
                    node_selector: selector.clone(),
                    required_affinity: vec![term.to_vec()],
                    ..PodShape::default()
                };
                let all = if terms.is_empty() {
                    vec![Vec::new()]
                } else {
                    terms.clone()
                };
                all.iter()
                    .map(|term| super::super::class::strict_requirements(&shape(term)))
                    .map(|requirements| ReqSet::new(&requirements, universe))
                    .collect()
            });
        Self {
            def,
            terms,
            domains: Bits::default(),
            base: Counts::default(),
            matches: Vec::new(),
        }
    }

    /// Whether pods of the class are counted; remembered.
    pub(crate) fn matches(&mut self, class: &Class) -> bool {
        let set = class.label_set;
        if set >= self.matches.len() {
            self.matches.resize(set + 1, None);
        }
        *self.matches[set].get_or_insert_with(|| self.def.counts(&class.shape))
    }

    /// How many pods of these classes are counted. Only the remembered answers: every class of a
    /// run has been asked for.
    pub(crate) fn members(&self, engine: &Engine<'_>, classes: &[ClassId]) -> u32 {
        let counted = |class: &&ClassId| {
            let set = engine.classes[**class].label_set;
            self.matches.get(set).copied().flatten().unwrap_or(false)
        };
        u32::try_from(classes.iter().filter(counted).count()).unwrap_or(u32::MAX)
    }

    /// Whether a node counts.
    pub(crate) fn includes_node(&self, base: &NodeBase<'_>) -> bool {
        let affine = self.terms.is_empty() || self.terms.iter().any(|term| base.satisfies(term));
        affine
            && self
                .def
                .filter
                .tolerations
                .as_ref()
                .is_none_or(|t| base.tolerated(t))
    }

    /// Whether a claim can become a node that counts.
    pub(crate) fn includes_claim(&self, reqs: &ReqSet, universe: &Universe) -> bool {
        self.terms.is_empty()
            || self
                .terms
                .iter()
                .any(|term| reqs.conflict(term, universe).is_none())
    }

    /// What new nodes must satisfy to count; without a filter, nothing.
    pub(crate) fn alternatives(&self) -> Vec<ReqSet> {
        if self.terms.is_empty() {
            vec![ReqSet::default()]
        } else {
            self.terms.clone()
        }
    }

    /// Tolerations that a pool's taints must be matched by for its values to be domains; `None`
    /// when taints do not matter.
    pub(crate) fn tolerations(&self) -> Option<&[Toleration]> {
        self.def.filter.tolerations.as_deref()
    }
}

fn key(name: &Arc<str>, universe: &Universe) -> KeyId {
    let canonical = crate::labels::canonical_key(name);
    universe
        .key(&canonical)
        .expect("topology keys are interned with their shapes")
}

fn resolve(
    shape: &PodShape,
    term: &AffinityTerm,
    known: &BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<str>>>,
) -> Namespaces {
    let mut names: BTreeSet<Arc<str>> = term.namespaces.iter().cloned().collect();
    match &term.namespace_selector {
        Some(selector) if selector.requirements.is_empty() => return Namespaces::All,
        Some(selector) => {
            let selected = known.iter().filter(|(_, labels)| selector.matches(labels));
            names.extend(selected.map(|(name, _)| Arc::clone(name)));
        }
        None if names.is_empty() => {
            names.insert(Arc::clone(&shape.namespace));
        }
        None => {}
    }
    Namespaces::Some(names)
}
