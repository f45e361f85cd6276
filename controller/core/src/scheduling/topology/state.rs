//! Topology while pods are placed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::group::{Counts, Group, Hosts, Kind};
use super::{Column, Engine, GroupId};
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
    Claim {
        index: usize,
        reqs: &'t ReqSet,
        /// Classes of its pods.
        members: &'t [ClassId],
    },
}

/// A constraint forbids the target.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// Nothing that this run can still place will change it.
    pub(crate) for_good: bool,
}

/// Requirements that put a claim into allowed domains.
pub(crate) type Narrowing = SmallVec<[(KeyId, Arc<Req>); 2]>;
/// Alternatives of them, best first.
pub(crate) type Narrowings = SmallVec<[Narrowing; 4]>;

/// Counts of one run.
#[derive(Debug)]
pub(crate) struct TopologyRun {
    /// By group; `None` for groups that do not matter to the run.
    counts: Vec<Option<Counts>>,
    /// By class.
    classes: Vec<Option<ClassTopology>>,
    /// Open claims by label value, for the keys of groups.
    claims: Vec<Column>,
}

/// Groups that matter to a class.
#[derive(Debug, Default)]
struct ClassTopology {
    /// Groups that restrict it.
    consult: Vec<Consult>,
    /// Groups that count it.
    record: Vec<GroupId>,
}

/// How a group restricts a class.
#[derive(Debug)]
struct Consult {
    group: GroupId,
    /// It counts pods of the class.
    own: bool,
    /// Domains that the class's own selectors allow.
    eligible: Bits,
    /// Position of the key's column of claims; unused for the host name.
    column: usize,
}

/// Which domains a group allows on a claim.
enum Allowed {
    Any,
    Values {
        values: Bits,
        /// The claim must be in one of them, by preference in the order of the group's counts.
        is_one: bool,
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
        let mut owned: BTreeMap<ClassId, (Vec<GroupId>, Vec<GroupId>)> = BTreeMap::new();
        let mut live: BTreeSet<GroupId> = engine.inverse_of_nodes().into_iter().collect();
        let mut all_inverse = live.clone();
        for &class in classes {
            let (own, others) = engine.owned_groups(class);
            live.extend(own.iter().chain(&others));
            all_inverse.extend(&others);
            owned.insert(class, (own, others));
        }
        if live.is_empty() {
            return None;
        }
        let mut run = Self {
            counts: Vec::new(),
            classes: Vec::new(),
            claims: Vec::new(),
        };
        run.counts
            .resize_with(engine.topology.groups.len(), || None);
        for &id in &live {
            run.add_group(engine, id, leaving);
        }
        run.classes.resize_with(engine.classes.len(), || None);
        for (class, (own, others)) in owned {
            let mut topology = ClassTopology {
                record: others,
                ..ClassTopology::default()
            };
            let mut consult = own;
            for &id in &live {
                if engine.topology.groups[id].matches(&engine.classes[class]) {
                    if all_inverse.contains(&id) {
                        consult.push(id);
                    } else {
                        topology.record.push(id);
                    }
                }
            }
            topology.consult = consult
                .into_iter()
                .map(|id| run.consult(engine, id, class))
                .collect();
            run.classes[class] = Some(topology);
        }
        Some(run)
    }

    fn add_group(&mut self, engine: &mut Engine<'_>, id: GroupId, leaving: &[(usize, &Pod)]) {
        let group = &engine.topology.groups[id];
        let mut counts = group.base.clone();
        engine.uncount(group, &mut counts, leaving);
        self.counts[id] = Some(counts);
        let key = group.def.key;
        if key != engine.universe.hostname {
            engine.index_nodes(key);
            if !self.claims.iter().any(|column| column.key == key) {
                self.claims.push(Column::new(key, &engine.universe));
            }
        }
    }

    fn consult(&self, engine: &mut Engine<'_>, id: GroupId, class: ClassId) -> Consult {
        let own = engine.topology.groups[id].matches(&engine.classes[class]);
        let group = &engine.topology.groups[id];
        let mut eligible = group.domains.clone();
        if let Some(strict) = engine.classes[class].strict.get(group.def.key) {
            eligible.and_assign(&strict.bits);
        }
        let is_column = |column: &Column| column.key == group.def.key;
        Consult {
            group: id,
            own,
            eligible,
            column: self.claims.iter().position(is_column).unwrap_or(usize::MAX),
        }
    }

    /// Whether a constraint restricts the class.
    pub(crate) fn restricts(&self, class: ClassId) -> bool {
        !self.consulted(class).is_empty()
    }

    fn consulted(&self, class: ClassId) -> &[Consult] {
        let topology = self.classes.get(class).and_then(Option::as_ref);
        topology.map_or(&[], |topology| &topology.consult)
    }

    fn counts(&self, id: GroupId) -> &Counts {
        self.counts[id]
            .as_ref()
            .expect("groups that restrict or count a class of the run are live")
    }

    /// Drops nodes that some group forbids.
    pub(crate) fn keep_nodes(&self, engine: &Engine<'_>, class: ClassId, mask: &mut Bits) {
        for consult in self.consulted(class) {
            let group = &engine.topology.groups[consult.group];
            let counts = self.counts(consult.group);
            if group.def.key == engine.universe.hostname {
                keep_hosts(group, consult, counts, &counts.nodes, mask);
            } else if let Some(column) = engine.topology.node_columns.get(&group.def.key) {
                // A node may be in a domain that no new machine can be in.
                let everywhere = Bits::all(column.values.len());
                keep_domains(group, consult, counts, (&everywhere, column), mask);
            }
        }
    }

    /// Drops claims that some group forbids.
    pub(crate) fn keep_claims(&self, engine: &Engine<'_>, class: ClassId, mask: &mut Bits) {
        for consult in self.consulted(class) {
            let group = &engine.topology.groups[consult.group];
            let counts = self.counts(consult.group);
            if group.def.key == engine.universe.hostname {
                keep_hosts(group, consult, counts, &counts.claims, mask);
            } else {
                let column = &self.claims[consult.column];
                keep_domains(group, consult, counts, (&consult.eligible, column), mask);
            }
        }
    }

    /// Takes note of where a claim can land, after it was opened or narrowed. Pods that it has
    /// got `before` its domain became certain count from now on.
    pub(crate) fn note_claim(
        &mut self,
        engine: &Engine<'_>,
        index: usize,
        reqs: &ReqSet,
        before: &[ClassId],
    ) {
        // Values before and after, by key.
        let mut narrowed: SmallVec<[(KeyId, Bits, Bits); 2]> = SmallVec::new();
        for column in &mut self.claims {
            let req = reqs.get(column.key);
            let is_open = req.is_none() && engine.universe.is_well_known(column.key);
            if req.is_none() && !is_open {
                column.unlabelled.insert(index);
            }
            let (mut was, mut is) = (Bits::default(), Bits::default());
            for (value, claims) in column.values.iter_mut().enumerate() {
                if claims.get(index) {
                    was.insert(value);
                }
                if req.map_or(is_open, |req| req.has(Some(value))) {
                    is.insert(value);
                    claims.insert(index);
                } else {
                    claims.remove(index);
                }
            }
            if !before.is_empty() && was != is {
                narrowed.push((column.key, was, is));
            }
        }
        for (key, was, is) in &narrowed {
            for (id, counts) in self.counts.iter_mut().enumerate() {
                let group = &engine.topology.groups[id];
                let (was, is) = (group.domains.and(was), group.domains.and(is));
                let Some(counts) = counts.as_mut().filter(|_| group.def.key == *key) else {
                    continue;
                };
                // Groups that repel have counted them wherever they could have landed.
                let settles = is.count() == 1 && was.count() != 1;
                if settles
                    && !group.def.kind.takes_unlabelled()
                    && group.includes_claim(reqs, &engine.universe)
                {
                    let value = is.next(0).expect("it has one element");
                    counts.values[value] += group.members(engine, before);
                }
            }
        }
    }

    /// Whether requirements name one domain of some key.
    pub(crate) fn is_settled(&self, reqs: &ReqSet) -> bool {
        self.claims.iter().any(|column| {
            let req = reqs.get(column.key);
            req.is_some_and(|req| !req.is_complement() && req.bits.count() == 1)
        })
    }

    /// The ways to put a pod of the class on the target, best first. On a node there is only one,
    /// without requirements.
    pub(crate) fn narrowings(
        &self,
        engine: &Engine<'_>,
        class: ClassId,
        target: Target<'_>,
    ) -> Result<Narrowings, Refusal> {
        // By key: allowed values, and the group whose counts order them.
        let mut by_key: SmallVec<[(KeyId, Bits, Option<GroupId>); 2]> = SmallVec::new();
        for consult in self.consulted(class) {
            let group = &engine.topology.groups[consult.group];
            let allowed = self.allowed(engine, consult, target)?;
            let Allowed::Values { values, is_one } = allowed else {
                continue;
            };
            let key = group.def.key;
            let position = match by_key.binary_search_by_key(&key, |(key, ..)| *key) {
                Ok(position) => position,
                Err(position) => {
                    by_key.insert(position, (key, values.clone(), None));
                    position
                }
            };
            let (_, kept, ordering) = &mut by_key[position];
            kept.and_assign(&values);
            *ordering = ordering.or(is_one.then_some(consult.group));
            if !kept.any() {
                return Err(refusal(engine, group, false));
            }
        }
        let mut narrowings: Narrowings = smallvec![Narrowing::new()];
        for (key, values, ordering) in by_key {
            let options: SmallVec<[Arc<Req>; 4]> = match ordering {
                None => smallvec![Arc::new(Req::one_of(values))],
                Some(group) => one_each(engine, key, &values, &self.counts(group).values),
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
        consult: &Consult,
        target: Target<'_>,
    ) -> Result<Allowed, Refusal> {
        let group = &engine.topology.groups[consult.group];
        let counts = self.counts(consult.group);
        if group.def.key == engine.universe.hostname {
            return on_host(engine, group, counts, consult.own, target);
        }
        let key = group.def.key;
        let empty_is_fine = group.def.kind.takes_unlabelled();
        let mut pending = 0;
        let here: Bits = match target {
            Target::Node(node) => match engine.nodes[node].label(key) {
                Label::Known(value) => {
                    let mut bits = Bits::default();
                    bits.insert(value);
                    bits
                }
                _ if empty_is_fine => return Ok(Allowed::Any),
                _ => return Err(refusal(engine, group, true)),
            },
            Target::Claim { reqs, members, .. } => match reqs.get(key) {
                Some(req) => {
                    // Its pods will count where it lands; where that is certain they do already.
                    if !members.is_empty() && group.domains.and(&req.bits).count() != 1 {
                        pending = group.members(engine, members);
                    }
                    consult.eligible.and(&req.bits)
                }
                None if engine.universe.is_well_known(key) => {
                    pending = group.members(engine, members);
                    consult.eligible.clone()
                }
                None if empty_is_fine => return Ok(Allowed::Any),
                None => return Err(refusal(engine, group, true)),
            },
        };
        let (values, is_one) = choose(group, consult, counts, &here, pending);
        if !values.any() {
            return Err(refusal(engine, group, empty_is_fine));
        }
        Ok(match target {
            Target::Node(_) => Allowed::Any,
            Target::Claim { .. } => Allowed::Values { values, is_one },
        })
    }

    /// Counts a pod that was placed; `reqs` are the claim's after narrowing.
    pub(crate) fn record(&mut self, engine: &Engine<'_>, class: ClassId, target: Target<'_>) {
        let Some(topology) = self.classes.get(class).and_then(Option::as_ref) else {
            return;
        };
        for id in &topology.record {
            let group = &engine.topology.groups[*id];
            let Some(counts) = &mut self.counts[*id] else {
                continue;
            };
            match target {
                Target::Node(node) => {
                    if group.includes_node(&engine.nodes[node]) {
                        engine.add(group, counts, node, 1);
                    }
                }
                Target::Claim { index, reqs, .. } => {
                    record_claim(engine, group, counts, index, reqs);
                }
            }
        }
    }
}

/// Drops hosts that a group forbids.
fn keep_hosts(group: &Group, consult: &Consult, counts: &Counts, hosts: &Hosts, mask: &mut Bits) {
    match group.def.kind {
        Kind::AntiAffinity | Kind::Inverse => mask.and_not_assign(&hosts.occupied),
        Kind::Spread { .. } if consult.own => mask.and_not_assign(&hosts.full),
        Kind::Spread { .. } => mask.and_not_assign(&hosts.over),
        Kind::Affinity if consult.own && counts.is_empty() => {}
        Kind::Affinity => mask.and_assign(&hosts.occupied),
    }
}

/// Drops targets that are in no domain that a group allows.
fn keep_domains(
    group: &Group,
    consult: &Consult,
    counts: &Counts,
    (here, column): (&Bits, &Column),
    mask: &mut Bits,
) {
    let eligible = || consult.eligible.iter();
    let is_first = group.def.kind == Kind::Affinity
        && consult.own
        && eligible().all(|value| counts.values[value] == 0);
    let values = if is_first {
        here.clone()
    } else {
        choose(group, consult, counts, here, 0).0
    };
    let targets = values.iter().map(|value| &column.values[value]);
    let unlabelled = group
        .def
        .kind
        .takes_unlabelled()
        .then_some(&column.unlabelled);
    let all: SmallVec<[&Bits; 8]> = targets.chain(unlabelled).collect();
    mask.and_any(&all);
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
        let count = counts.claims.count(index) + 1;
        counts.claims.set(index, count, group.def.kind.host_skew());
        return;
    }
    let possible = match reqs.get(group.def.key) {
        Some(req) => group.domains.and(&req.bits),
        None => group.domains.clone(),
    };
    // Repulsion holds wherever the claim may still land; attraction and spread only count where
    // it is sure to land.
    let everywhere = matches!(group.def.kind, Kind::AntiAffinity | Kind::Inverse);
    if everywhere || possible.count() == 1 {
        for value in possible.iter() {
            counts.values[value] += 1;
        }
    }
}

/// Allowed values of those that are possible `here`, for a key other than the host name, and
/// whether exactly one must be chosen.
/// `pending` pods count there together with the one that is to be placed.
fn choose(
    group: &Group,
    consult: &Consult,
    counts: &Counts,
    here: &Bits,
    pending: u32,
) -> (Bits, bool) {
    let count = |value: ValueId| counts.values[value];
    let pick = |allowed: &dyn Fn(ValueId) -> bool| {
        let mut bits = here.clone();
        for value in here.iter().filter(|&value| !allowed(value)) {
            bits.remove(value);
        }
        bits
    };
    let eligible = &consult.eligible;
    match group.def.kind {
        Kind::AntiAffinity | Kind::Inverse => (pick(&|value| count(value) == 0), false),
        Kind::Spread {
            max_skew,
            min_domains,
        } => {
            let least = eligible.iter().map(count).min().unwrap_or(0);
            let wanted = usize::try_from(min_domains.unwrap_or(0)).unwrap_or(0);
            let least = if eligible.count() < wanted { 0 } else { least };
            let added = i64::from(pending) + i64::from(consult.own);
            let most = i64::from(max_skew) + i64::from(least);
            let fits = |value| eligible.get(value) && i64::from(count(value)) + added <= most;
            (pick(&fits), true)
        }
        Kind::Affinity => {
            let populated = pick(&|value| count(value) > 0);
            if populated.any() {
                return (populated, false);
            }
            let reachable = eligible.iter().any(|value| count(value) > 0);
            if consult.own && !reachable {
                return (here.clone(), true);
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
    own: bool,
    target: Target<'_>,
) -> Result<Allowed, Refusal> {
    let count = match target {
        Target::Node(node) => counts.nodes.count(node),
        Target::Claim { index, .. } => counts.claims.count(index),
    };
    let (allowed, for_good) = match group.def.kind {
        Kind::AntiAffinity | Kind::Inverse => (count == 0, true),
        // The smallest host is always a new one, with no pods.
        Kind::Spread { max_skew, .. } => {
            let after = i64::from(count) + i64::from(own);
            (after <= i64::from(max_skew), true)
        }
        Kind::Affinity => (count > 0 || (own && counts.is_empty()), false),
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
fn one_each(
    engine: &Engine<'_>,
    key: KeyId,
    values: &Bits,
    counts: &[u32],
) -> SmallVec<[Arc<Req>; 4]> {
    let mut order: SmallVec<[ValueId; 4]> = values.iter().collect();
    order.sort_by_key(|&value| (counts[value], engine.universe.value_name(key, value)));
    let single = |value| {
        let mut bits = Bits::none(engine.universe.value_count(key));
        bits.insert(value);
        Arc::new(Req::one_of(bits))
    };
    order.into_iter().map(single).collect()
}
