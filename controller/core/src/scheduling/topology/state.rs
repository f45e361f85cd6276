//! Topology while pods are placed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::group::{Counts, Group, Kind};
use super::{Engine, GroupId};
use crate::explain::Reason;
use crate::model::Pod;
use crate::scheduling::bits::Bits;
use crate::scheduling::class::ClassId;
use crate::scheduling::compiled::{Req, ReqSet};
use crate::scheduling::engine::Label;
use crate::scheduling::universe::{KeyId, ValueId};

/// Most combinations of domains of several keys that are tried for one pod and claim: two keys
/// with a handful of domains each.
const COMBINATIONS_MAX: usize = 64;

/// Where a pod is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'t> {
    /// An existing node.
    Node(usize),
    /// An open or new claim.
    Claim { index: usize, reqs: &'t ReqSet },
}

/// A constraint forbids the target.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// Nothing that this run can still place will change it.
    pub(crate) for_good: bool,
}

/// Requirements that put a claim into allowed domains.
pub(crate) type Narrowing = Vec<(KeyId, Arc<Req>)>;

/// Counts of one run.
#[derive(Debug)]
pub(crate) struct TopologyRun {
    counts: BTreeMap<GroupId, Counts>,
    classes: BTreeMap<ClassId, ClassTopology>,
}

/// Groups that matter to a class.
#[derive(Debug, Default)]
struct ClassTopology {
    /// Groups that restrict it.
    consult: Vec<GroupId>,
    /// Groups that count it.
    record: Vec<GroupId>,
}

/// Which domains a group allows on a claim.
enum Allowed {
    Any,
    Values {
        values: Bits,
        /// The claim must be in one of them, by preference in this order of counts.
        one_by: Option<Vec<u32>>,
    },
}

impl TopologyRun {
    /// `None` when no constraint concerns any of the classes. `classes` are those of the run in
    /// all their relaxed forms.
    pub(crate) fn new(
        engine: &mut Engine<'_>,
        classes: &BTreeSet<ClassId>,
        leaving: &[(usize, &Pod)],
    ) -> Option<Self> {
        let mut restricting: BTreeMap<ClassId, Vec<GroupId>> = BTreeMap::new();
        let mut inverse: BTreeMap<ClassId, Vec<GroupId>> = BTreeMap::new();
        let mut live: BTreeSet<GroupId> = engine.inverse_of_nodes().into_iter().collect();
        let mut all_inverse = live.clone();
        for &class in classes {
            let (own, others) = engine.owned_groups(class);
            live.extend(own.iter().chain(&others));
            all_inverse.extend(&others);
            restricting.insert(class, own);
            inverse.insert(class, others);
        }
        if live.is_empty() {
            return None;
        }
        let mut run = Self {
            counts: BTreeMap::new(),
            classes: BTreeMap::new(),
        };
        for &id in &live {
            let group = &engine.topology.groups[id];
            let mut counts = group.base.clone();
            engine.uncount(group, &mut counts, leaving);
            run.counts.insert(id, counts);
        }
        for &class in classes {
            let shape = Arc::clone(&engine.classes[class].shape);
            let mut topology = ClassTopology {
                consult: restricting.remove(&class).unwrap_or_default(),
                record: inverse.remove(&class).unwrap_or_default(),
            };
            for &id in &live {
                if engine.topology.groups[id].matches(class, &shape) {
                    if all_inverse.contains(&id) {
                        topology.consult.push(id);
                    } else {
                        topology.record.push(id);
                    }
                }
            }
            run.classes.insert(class, topology);
        }
        Some(run)
    }

    /// Whether a constraint restricts the class.
    pub(crate) fn restricts(&self, class: ClassId) -> bool {
        self.classes
            .get(&class)
            .is_some_and(|topology| !topology.consult.is_empty())
    }

    /// The ways to put a pod of the class on the target, best first. On a node there is only one,
    /// without requirements.
    pub(crate) fn narrowings(
        &self,
        engine: &Engine<'_>,
        class: ClassId,
        target: Target<'_>,
    ) -> Result<Vec<Narrowing>, Refusal> {
        let mut by_key: BTreeMap<KeyId, (Bits, Option<Vec<u32>>)> = BTreeMap::new();
        for &id in &self.classes[&class].consult {
            let group = &engine.topology.groups[id];
            let allowed = self.allowed(engine, id, class, target)?;
            let Allowed::Values { values, one_by } = allowed else {
                continue;
            };
            let entry = by_key
                .entry(group.def.key)
                .or_insert_with(|| (values.clone(), None));
            entry.0.and_assign(&values);
            entry.1 = entry.1.take().or(one_by);
            if !entry.0.any() {
                return Err(refusal(engine, group, false));
            }
        }
        let mut narrowings = vec![Narrowing::new()];
        for (key, (values, one_by)) in by_key {
            let options: Vec<Arc<Req>> = match one_by {
                None => vec![Arc::new(Req::one_of(values))],
                Some(counts) => one_each(engine, key, &values, &counts),
            };
            narrowings = narrowings
                .iter()
                .flat_map(|base| {
                    options.iter().map(|option| {
                        let mut longer = base.clone();
                        longer.push((key, Arc::clone(option)));
                        longer
                    })
                })
                .take(COMBINATIONS_MAX)
                .collect();
        }
        Ok(narrowings)
    }

    fn allowed(
        &self,
        engine: &Engine<'_>,
        id: GroupId,
        class: ClassId,
        target: Target<'_>,
    ) -> Result<Allowed, Refusal> {
        let group = &engine.topology.groups[id];
        let counts = &self.counts[&id];
        if group.def.key == engine.universe.hostname {
            return on_host(engine, group, counts, class, target);
        }
        let key = group.def.key;
        let strict = engine.classes[class].strict.get(key);
        let asked = |value: ValueId| strict.is_none_or(|req| req.has(Some(value)));
        let eligible: Vec<ValueId> = group.domains.iter().filter(|&value| asked(value)).collect();
        let empty_is_fine = matches!(group.def.kind, Kind::AntiAffinity | Kind::Inverse);
        let here: Vec<ValueId> = match target {
            Target::Node(node) => match engine.nodes[node].label(key) {
                Label::Known(value) => vec![value],
                _ if empty_is_fine => return Ok(Allowed::Any),
                _ => return Err(refusal(engine, group, true)),
            },
            Target::Claim { reqs, .. } => match reqs.get(key) {
                Some(req) => eligible
                    .iter()
                    .copied()
                    .filter(|&v| req.has(Some(v)))
                    .collect(),
                None if engine.universe.is_well_known(key) => eligible.clone(),
                None if empty_is_fine => return Ok(Allowed::Any),
                None => return Err(refusal(engine, group, true)),
            },
        };
        let (values, one) = choose(engine, group, counts, class, &eligible, &here);
        if !values.any() {
            return Err(refusal(engine, group, empty_is_fine));
        }
        let one_by = one.then(|| counts.values.clone());
        Ok(match target {
            Target::Node(_) => Allowed::Any,
            Target::Claim { .. } => Allowed::Values { values, one_by },
        })
    }

    /// Counts a pod that was placed; `reqs` are the claim's after narrowing.
    pub(crate) fn record(&mut self, engine: &Engine<'_>, class: ClassId, target: Target<'_>) {
        let Some(topology) = self.classes.get(&class) else {
            return;
        };
        for id in &topology.record {
            let group = &engine.topology.groups[*id];
            let Some(counts) = self.counts.get_mut(id) else {
                continue;
            };
            match target {
                Target::Node(node) => {
                    if group.includes_node(&engine.nodes[node]) {
                        engine.add(group, counts, node, |count| *count += 1);
                    }
                }
                Target::Claim { index, reqs } => record_claim(engine, group, counts, index, reqs),
            }
        }
    }
}

fn record_claim(
    engine: &Engine<'_>,
    group: &Group,
    counts: &mut Counts,
    index: usize,
    reqs: &ReqSet,
) {
    if !group.includes_claim(reqs, &engine.universe) {
        return;
    }
    if group.def.key == engine.universe.hostname {
        counts.add_claim(index);
        return;
    }
    let req = reqs.get(group.def.key);
    let possible: Vec<ValueId> = group
        .domains
        .iter()
        .filter(|&v| req.is_none_or(|req| req.has(Some(v))))
        .collect();
    // Repulsion holds wherever the claim may still land; attraction and spread only count where
    // it is sure to land.
    let everywhere = matches!(group.def.kind, Kind::AntiAffinity | Kind::Inverse);
    if everywhere || possible.len() == 1 {
        for value in possible {
            counts.values[value] += 1;
        }
    }
}

/// Allowed values of a key other than the host name, and whether exactly one must be chosen.
fn choose(
    engine: &Engine<'_>,
    group: &Group,
    counts: &Counts,
    class: ClassId,
    eligible: &[ValueId],
    here: &[ValueId],
) -> (Bits, bool) {
    let count = |value: ValueId| counts.values[value];
    let pick = |allowed: &dyn Fn(ValueId) -> bool| {
        let mut bits = Bits::none(engine.universe.value_count(group.def.key));
        for &value in here.iter().filter(|&&value| allowed(value)) {
            bits.insert(value);
        }
        bits
    };
    let shape = &engine.classes[class].shape;
    match group.def.kind {
        Kind::AntiAffinity | Kind::Inverse => (pick(&|value| count(value) == 0), false),
        Kind::Spread {
            max_skew,
            min_domains,
        } => {
            let least = eligible
                .iter()
                .map(|&value| count(value))
                .min()
                .unwrap_or(0);
            let wanted = usize::try_from(min_domains.unwrap_or(0)).unwrap_or(0);
            let least = if eligible.len() < wanted { 0 } else { least };
            let own = u32::from(group.def.counts(shape));
            let most = i64::from(max_skew) + i64::from(least);
            let fits = |value| {
                eligible.contains(&value) && i64::from(count(value)) + i64::from(own) <= most
            };
            (pick(&fits), true)
        }
        Kind::Affinity => {
            let populated = pick(&|value| count(value) > 0);
            if populated.any() {
                return (populated, false);
            }
            let reachable = eligible.iter().any(|&value| count(value) > 0);
            if group.def.counts(shape) && !reachable {
                return (pick(&|_| true), true);
            }
            (populated, false)
        }
    }
}

/// Whether the target itself, as a host, is allowed.
fn on_host(
    engine: &Engine<'_>,
    group: &Group,
    counts: &Counts,
    class: ClassId,
    target: Target<'_>,
) -> Result<Allowed, Refusal> {
    let count = match target {
        Target::Node(node) => counts.nodes[node],
        Target::Claim { index, .. } => counts.claim(index),
    };
    let shape = &engine.classes[class].shape;
    let (allowed, for_good) = match group.def.kind {
        Kind::AntiAffinity | Kind::Inverse => (count == 0, true),
        // The smallest host is always a new one, with no pods.
        Kind::Spread { max_skew, .. } => {
            let own = u32::from(group.def.counts(shape));
            (
                i64::from(count) + i64::from(own) <= i64::from(max_skew),
                true,
            )
        }
        Kind::Affinity => (
            count > 0 || (group.def.counts(shape) && counts.is_empty()),
            false,
        ),
    };
    if allowed {
        Ok(Allowed::Any)
    } else {
        Err(refusal(engine, group, for_good))
    }
}

fn refusal(engine: &Engine<'_>, group: &Group, for_good: bool) -> Refusal {
    let topology_key = Arc::clone(engine.universe.key_name(group.def.key));
    let reason = match group.def.kind {
        Kind::Spread { .. } => Reason::Spread { topology_key },
        Kind::Affinity | Kind::AntiAffinity | Kind::Inverse => Reason::Affinity { topology_key },
    };
    Refusal { reason, for_good }
}

/// Every value by itself, emptiest first, then by name.
fn one_each(engine: &Engine<'_>, key: KeyId, values: &Bits, counts: &[u32]) -> Vec<Arc<Req>> {
    let mut order: Vec<ValueId> = values.iter().collect();
    order.sort_by_key(|&value| (counts[value], engine.universe.value_name(key, value)));
    let single = |value| {
        let mut bits = Bits::none(engine.universe.value_count(key));
        bits.insert(value);
        Arc::new(Req::one_of(bits))
    };
    order.into_iter().map(single).collect()
}
