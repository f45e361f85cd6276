//! Pods of equal scheduling shape, and how their soft constraints are dropped.

use std::cmp::Reverse;
use std::sync::Arc;

use super::bits::Bits;
use super::claim::Options;
use super::compiled::ReqSet;
use super::universe::{Amounts, Universe};
use crate::model::{Effect, HostPort, PodShape, Toleration, TolerationOperator};
use crate::requirements::Requirements;

/// Index of a class.
pub(crate) type ClassId = usize;

/// Most combinations of volume alternatives of one pod; a pod has a handful of volumes with a few
/// zones each.
const VOLUME_ALTERNATIVES_MAX: usize = 64;

/// Index of a footprint.
pub(crate) type FootprintId = usize;

/// All pods of one shape, compiled.
#[derive(Debug)]
pub(crate) struct Class {
    /// The shape, soft constraints as far as they still hold.
    pub(crate) shape: Arc<PodShape>,
    /// What the class needs of a machine alone.
    pub(crate) footprint: FootprintId,
    /// Number of its namespace and labels, which is all that selectors see.
    pub(crate) label_set: usize,
    /// Node selector and first required term.
    pub(crate) strict: ReqSet,
    /// The class with one soft constraint less.
    pub(crate) relaxed: Relaxed,
}

/// What a pod needs of a machine, other pods aside. Many classes, told apart by labels and
/// topology, have the same one.
#[derive(Debug)]
pub(crate) struct Footprint {
    /// Requests by resource.
    pub(crate) requests: Amounts,
    /// Node selector, first required term and heaviest preferred term.
    pub(crate) full: ReqSet,
    /// Alternatives of the pod's volumes; one empty set without volumes.
    pub(crate) volumes: Vec<ReqSet>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) host_ports: Vec<HostPort>,
    /// Existing nodes that take one such pod when nothing else is placed; `None` until asked for.
    pub(crate) nodes: Option<Bits>,
    /// What a new claim of each template would look like; by template, `None` until asked for.
    pub(crate) fresh: Vec<Option<Fresh>>,
}

/// What is known about a class's relaxed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relaxed {
    /// Nobody has asked yet.
    Unknown,
    /// There is nothing to drop.
    Hard,
    /// It is this class.
    To(ClassId),
}

/// A new claim for one pod of a class, before limits and topology.
#[derive(Clone, Debug)]
pub(crate) enum Fresh {
    /// The template never takes the class.
    Never,
    /// It does: template ∩ pod, by every volume alternative that works.
    Fits(Options),
}

impl Footprint {
    pub(crate) fn new(shape: &PodShape, universe: &Universe) -> Self {
        Self {
            requests: universe.amounts(&shape.requests),
            full: ReqSet::new(&full_requirements(shape), universe),
            volumes: volume_alternatives(shape)
                .iter()
                .map(|alternative| ReqSet::new(alternative, universe))
                .collect(),
            tolerations: shape.tolerations.clone(),
            host_ports: shape.host_ports.clone(),
            nodes: None,
            fresh: Vec::new(),
        }
    }
}

impl Class {
    pub(crate) fn new(
        shape: Arc<PodShape>,
        footprint: FootprintId,
        label_set: usize,
        universe: &Universe,
    ) -> Self {
        Self {
            footprint,
            label_set,
            strict: ReqSet::new(&strict_requirements(&shape), universe),
            shape,
            relaxed: Relaxed::Unknown,
        }
    }

    /// Interns everything the shape and its relaxed forms mention.
    pub(crate) fn intern(shape: &PodShape, universe: &mut Universe) {
        universe.add_labels(&shape.node_selector);
        let preferred = shape
            .preferred_affinity
            .iter()
            .map(|term| &term.requirements);
        for specs in shape.required_affinity.iter().chain(preferred) {
            universe.add_specs(specs);
        }
        for specs in shape.volume_requirements.iter().flatten() {
            universe.add_specs(specs);
        }
        universe.add_resources(&shape.requests);
        super::topology::Topology::intern(shape, universe);
    }
}

/// The shape without its soft constraints.
pub(crate) fn without_preferences(shape: &PodShape) -> PodShape {
    let mut hard = shape.clone();
    hard.preferred_affinity.clear();
    hard.preferred_pod_affinity.clear();
    hard.preferred_anti_affinity.clear();
    hard.spread.retain(|constraint| constraint.hard);
    hard
}

/// Whether the shape has constraints that [`without_preferences`] drops.
pub(crate) fn has_preferences(shape: &PodShape) -> bool {
    !shape.preferred_affinity.is_empty()
        || !shape.preferred_pod_affinity.is_empty()
        || !shape.preferred_anti_affinity.is_empty()
        || shape.spread.iter().any(|constraint| !constraint.hard)
}

/// The shape with one constraint less (Karpenter `preferences.go`): alternatives of required node
/// affinity, then pod affinity, pod anti-affinity, node affinity, spread, and last the taints
/// that only prefer to keep pods away.
pub(crate) fn relax(shape: &PodShape, tolerate_prefer_no_schedule: bool) -> Option<PodShape> {
    // Most shapes are hard: no copy for those.
    if shape.required_affinity.len() < 2 && !has_preferences(shape) && !tolerate_prefer_no_schedule
    {
        return None;
    }
    let mut relaxed = shape.clone();
    if relaxed.required_affinity.len() > 1 {
        relaxed.required_affinity.remove(0);
        return Some(relaxed);
    }
    if remove_heaviest(&mut relaxed.preferred_pod_affinity, |term| term.weight)
        || remove_heaviest(&mut relaxed.preferred_anti_affinity, |term| term.weight)
        || remove_heaviest(&mut relaxed.preferred_affinity, |term| term.weight)
    {
        return Some(relaxed);
    }
    if let Some(index) = relaxed
        .spread
        .iter()
        .position(|constraint| !constraint.hard)
    {
        relaxed.spread.swap_remove(index);
        return Some(relaxed);
    }
    let toleration = Toleration {
        key: "".into(),
        operator: TolerationOperator::Exists,
        value: "".into(),
        effect: Some(Effect::PreferNoSchedule),
    };
    if tolerate_prefer_no_schedule && !relaxed.tolerations.contains(&toleration) {
        relaxed.tolerations.push(toleration);
        return Some(relaxed);
    }
    None
}

fn remove_heaviest<T>(terms: &mut Vec<T>, weight: impl Fn(&T) -> i32) -> bool {
    // The first of equal weights: a stable sort by weight would put it first.
    match (0..terms.len()).min_by_key(|&index| (Reverse(weight(&terms[index])), index)) {
        Some(index) => {
            terms.remove(index);
            true
        }
        None => false,
    }
}

/// Node selector ∩ first required term.
pub(crate) fn strict_requirements(shape: &PodShape) -> Requirements {
    let mut requirements = Requirements::from_labels(&shape.node_selector);
    if let Some(first) = shape.required_affinity.first() {
        requirements.intersect(&Requirements::from_specs(first));
    }
    requirements
}

fn full_requirements(shape: &PodShape) -> Requirements {
    let mut requirements = strict_requirements(shape);
    let heaviest = (0..shape.preferred_affinity.len())
        .min_by_key(|&index| (Reverse(shape.preferred_affinity[index].weight), index));
    if let Some(index) = heaviest {
        let term = &shape.preferred_affinity[index];
        requirements.intersect(&Requirements::from_specs(&term.requirements));
    }
    requirements
}

/// Cross product over volumes, impossible combinations left out; if all are impossible, one of
/// them, so that the pod finds no place.
fn volume_alternatives(shape: &PodShape) -> Vec<Requirements> {
    let mut product = vec![Requirements::new()];
    for volume in &shape.volume_requirements {
        let terms: Vec<Requirements> = volume.iter().map(Requirements::from_specs).collect();
        if terms.is_empty() {
            continue;
        }
        let mut next = Vec::new();
        let mut impossible = None;
        for (base, term) in product
            .iter()
            .flat_map(|b| terms.iter().map(move |t| (b, t)))
        {
            let mut merged = base.clone();
            merged.intersect(term);
            if base.intersects(term).is_ok() {
                next.push(merged);
            } else {
                impossible = Some(merged);
            }
        }
        next.truncate(VOLUME_ALTERNATIVES_MAX);
        if next.is_empty() {
            next.extend(impossible);
        }
        product = next;
    }
    product
}
