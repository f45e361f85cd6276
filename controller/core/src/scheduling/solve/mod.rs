//! First-fit over existing nodes, open claims and templates, in upstream's order.
//!
//! A pod is not tried against every target: bit sets say which targets can still take it, by
//! footprint (resources only shrink, requirements only narrow), by host (pods that repel each
//! other) and by domain. Only what is left is looked at closely.

mod claims;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::explain::Reason;
use crate::model::{HostPort, Pod};
use crate::scheduling::bits::Bits;
use crate::scheduling::claim::{Claim, Limits};
use crate::scheduling::class::{ClassId, FootprintId};
use crate::scheduling::engine::{Engine, fits, ports_conflict};
use crate::scheduling::pricing::Pricing;
use crate::scheduling::template::plus;
use crate::scheduling::topology::{Target, TopologyRun};
use crate::scheduling::universe::Amounts;

/// A pod of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunPod<'p> {
    pub(crate) pod: &'p Pod,
    pub(crate) class: ClassId,
    /// May use nodes that are inside their `consolidateAfter`.
    pub(crate) exempt: bool,
}

/// What one run is asked.
#[derive(Debug)]
pub(crate) struct RunInput<'p> {
    pub(crate) pods: Vec<RunPod<'p>>,
    /// Nodes that take nothing and do not count against limits.
    pub(crate) excluded: Bits,
    /// Nodes that only take exempt pods.
    pub(crate) guarded: Bits,
    /// Nodes of pods that are bound and yet to be placed: there they do not count.
    pub(crate) leaving: Vec<(usize, &'p Pod)>,
}

/// What one run answers; pods by index into its input.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) existing: BTreeMap<usize, Vec<usize>>,
    pub(crate) claims: Vec<Claim>,
    /// Pods on claims, in the order in which they were placed.
    pub(crate) steps: Vec<Step>,
    /// Pods without a place, with the class in its most relaxed form.
    pub(crate) failed: Vec<(usize, ClassId)>,
    pub(crate) limits: Vec<Limits>,
    /// Why topology last refused a class.
    pub(crate) refusals: BTreeMap<ClassId, Reason>,
    pub(crate) out_of_steps: bool,
}

/// The next pod of a claim was placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) claim: usize,
    /// Its domain was certain, so that it counts for the pods after it.
    pub(crate) is_settled: bool,
}

/// What a run knows about a class.
#[derive(Debug)]
struct ClassRun {
    footprint: FootprintId,
    /// Topology has a say.
    restricted: bool,
    /// Nodes that topology forbids for good.
    barred_nodes: Bits,
    /// Claims that topology forbids for good.
    barred_claims: Bits,
    /// Progress when it last found no place: claims opened, or with topology, pods placed.
    failed_at: Option<usize>,
}

/// What a run knows about a footprint.
#[derive(Debug)]
struct FootprintRun {
    /// Nodes that may still take it: resources only shrink, so a refusal is for good.
    nodes: Bits,
    /// Claims that never will: they only narrow.
    dead: Bits,
}

#[derive(Debug)]
struct NodeState {
    remaining: Amounts,
    ports: Vec<HostPort>,
}

/// A claim does not take a pod.
enum Miss {
    /// It may later: topology counts change.
    NotNow,
    /// Topology never will let it.
    Barred,
    /// It only narrows, so it never will.
    Never,
}

struct Run<'e, 'a, 'p> {
    engine: &'e mut Engine<'a>,
    input: &'p RunInput<'p>,
    classes: Vec<Option<ClassRun>>,
    footprints: Vec<Option<FootprintRun>>,
    touched: BTreeMap<usize, NodeState>,
    /// Open claims by number of pods.
    by_count: BTreeMap<usize, Bits>,
    /// All open claims.
    open: Bits,
    topology: Option<TopologyRun>,
    /// Prices, when pods go where they cost least instead of where upstream puts them.
    pricing: Option<Pricing>,
    /// Targets of the pod at hand; kept for its memory.
    mask: Bits,
    placed: usize,
    steps_left: u64,
    outcome: Outcome,
}

/// Places pods on a compiled snapshot; the snapshot itself stays as it is.
pub(crate) fn run<'p>(engine: &mut Engine<'_>, input: &'p RunInput<'p>) -> Outcome {
    let steps = engine.options.steps_max;
    run_with(engine, input, None, steps)
}

/// The same, with every pod where it costs least.
pub(crate) fn run_cheapest<'p>(engine: &mut Engine<'_>, input: &'p RunInput<'p>) -> Outcome {
    let none = Amounts::from_elem(0, engine.universe.resource_count());
    let demand = input.pods.iter().fold(none, |sum, pod| {
        plus(&sum, &engine.footprint(pod.class).requests)
    });
    let steps = engine.options.improvement_steps;
    run_with(engine, input, Some(Pricing::new(demand)), steps)
}

fn run_with<'p>(
    engine: &mut Engine<'_>,
    input: &'p RunInput<'p>,
    pricing: Option<Pricing>,
    steps_left: u64,
) -> Outcome {
    let limits = Limits::of(engine, &input.excluded);
    let topology = topology(engine, input);
    let mut run = Run {
        engine,
        input,
        classes: Vec::new(),
        footprints: Vec::new(),
        touched: BTreeMap::new(),
        by_count: BTreeMap::new(),
        open: Bits::default(),
        topology,
        pricing,
        mask: Bits::default(),
        placed: 0,
        steps_left,
        outcome: Outcome {
            limits,
            ..Outcome::default()
        },
    };
    run.place_all();
    run.outcome
}

fn topology(engine: &mut Engine<'_>, input: &RunInput<'_>) -> Option<TopologyRun> {
    let mut classes: BTreeSet<ClassId> = BTreeSet::new();
    for pod in &input.pods {
        let mut class = Some(pod.class);
        while let Some(next) = class.filter(|&class| classes.insert(class)) {
            class = engine.relaxed(next);
        }
    }
    TopologyRun::new(engine, &classes, &input.leaving)
}

/// Queue length noted for a pod that has not been pushed back yet.
const UNTRIED: usize = usize::MAX;

/// CPU descending, memory descending, creation (whole seconds), UID.
fn queue(engine: &Engine<'_>, pods: &[RunPod<'_>]) -> VecDeque<(usize, usize)> {
    let key = |&RunPod { pod, class, .. }: &RunPod<'_>| {
        let requests = &engine.footprint(class).requests;
        (-requests[0], -requests[1], pod.created.as_second())
    };
    let mut order: Vec<_> = pods.iter().enumerate().map(|(i, p)| (key(p), i)).collect();
    let uid = |index: usize| &*pods[index].pod.uid;
    order.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| uid(a.1).cmp(uid(b.1))));
    order.into_iter().map(|(_, i)| (i, UNTRIED)).collect()
}

fn slot<T>(slots: &mut Vec<Option<T>>, index: usize) -> &mut Option<T> {
    if index >= slots.len() {
        slots.resize_with(index + 1, || None);
    }
    &mut slots[index]
}

impl Run<'_, '_, '_> {
    /// Tries every pod; those that fail are tried again until a whole lap brings no progress.
    fn place_all(&mut self) {
        let mut queue = queue(self.engine, &self.input.pods);
        while let Some((index, length_when_pushed)) = queue.pop_front() {
            let length = queue.len() + 1;
            if length == length_when_pushed || self.outcome.out_of_steps {
                queue.push_front((index, length_when_pushed));
                break;
            }
            if !self.try_pod(index) {
                // A pod whose steps ran out has no verdict: it is as if it had not been tried.
                let pushed = if self.outcome.out_of_steps {
                    UNTRIED
                } else {
                    length
                };
                queue.push_back((index, pushed));
            }
        }
        for (index, length_when_pushed) in queue {
            // Never tried: the steps ran out, so there is nothing to say about it.
            if length_when_pushed == UNTRIED {
                continue;
            }
            let class = self.most_relaxed(self.input.pods[index].class);
            self.outcome.failed.push((index, class));
        }
        self.outcome.failed.sort_unstable();
    }

    fn most_relaxed(&mut self, mut class: ClassId) -> ClassId {
        while let Some(next) = self.engine.relaxed(class) {
            class = next;
        }
        class
    }

    fn try_pod(&mut self, index: usize) -> bool {
        let mut class = self.input.pods[index].class;
        loop {
            let Some(left) = self.steps_left.checked_sub(1) else {
                self.outcome.out_of_steps = true;
                return false;
            };
            self.steps_left = left;
            if self.add(index, class) {
                return true;
            }
            match self.engine.relaxed(class) {
                Some(next) => class = next,
                None => return false,
            }
        }
    }

    fn add(&mut self, pod: usize, class: ClassId) -> bool {
        let (open, placed) = (self.outcome.claims.len(), self.placed);
        let state = self.class_run(class);
        let progress = if state.restricted { placed } else { open };
        if state.failed_at == Some(progress) {
            return false;
        }
        let placed_now = self.add_to_node(pod, class)
            || if self.pricing.is_some() {
                self.add_cheapest(pod, class)
            } else {
                self.add_to_claim(pod, class) || self.open_claim(pod, class)
            };
        if placed_now {
            self.placed += 1;
            return true;
        }
        // A guarded node may refuse this pod and take another of its class.
        if !self.input.guarded.any() {
            self.class_run(class).failed_at = Some(progress);
        }
        false
    }

    /// What the run knows about a class and its footprint; made when the class is first tried.
    fn class_run(&mut self, class: ClassId) -> &mut ClassRun {
        let footprint = self.engine.classes[class].footprint;
        if slot(&mut self.footprints, footprint).is_none() {
            let mut nodes = self.engine.candidate_nodes(footprint).clone();
            nodes.and_not_assign(&self.input.excluded);
            self.footprints[footprint] = Some(FootprintRun {
                nodes,
                dead: Bits::default(),
            });
        }
        let restricted = || self.topology.as_ref().is_some_and(|t| t.restricts(class));
        slot(&mut self.classes, class).get_or_insert_with(|| ClassRun {
            footprint,
            restricted: restricted(),
            barred_nodes: Bits::default(),
            barred_claims: Bits::default(),
            failed_at: None,
        })
    }

    fn known(&self, class: ClassId) -> &ClassRun {
        self.classes[class]
            .as_ref()
            .expect("made when it was tried")
    }

    fn known_footprint(&mut self, footprint: FootprintId) -> &mut FootprintRun {
        self.footprints[footprint]
            .as_mut()
            .expect("made together with the class")
    }

    fn add_to_node(&mut self, pod: usize, class: ClassId) -> bool {
        if self.engine.nodes.is_empty() {
            return false;
        }
        let footprint = self.known(class).footprint;
        let mut mask = std::mem::take(&mut self.mask);
        mask.copy_from(&self.known_footprint(footprint).nodes);
        mask.and_not_assign(&self.known(class).barred_nodes);
        if !self.input.pods[pod].exempt {
            mask.and_not_assign(&self.input.guarded);
        }
        if let Some(topology) = self.restricting(class) {
            topology.keep_nodes(self.engine, class, &mut mask);
        }
        let mut from = 0;
        let mut found = false;
        while let Some(node) = mask.next(from) {
            from = node + 1;
            if self.join_node(pod, class, node) {
                found = true;
                break;
            }
        }
        self.mask = mask;
        found
    }

    fn restricting(&self, class: ClassId) -> Option<&TopologyRun> {
        self.topology
            .as_ref()
            .filter(|_| self.known(class).restricted)
    }

    fn join_node(&mut self, pod: usize, class: ClassId, node: usize) -> bool {
        let footprint = self.known(class).footprint;
        let needs = &self.engine.footprints[footprint];
        let base = &self.engine.nodes[node];
        let touched = self.touched.get(&node);
        let remaining = touched.map_or(&base.remaining, |touched| &touched.remaining);
        let own_ports = touched.map_or(&[][..], |touched| &touched.ports);
        let port_taken = needs.host_ports.iter().any(|port| {
            let clash = |taken: &HostPort| ports_conflict(port, taken);
            base.host_ports.iter().any(|taken| clash(taken)) || own_ports.iter().any(clash)
        });
        if port_taken || !fits(&needs.requests, remaining) {
            self.known_footprint(footprint).nodes.remove(node);
            return false;
        }
        if let Some(topology) = self.restricting(class)
            && let Err(refusal) = topology.narrowings(self.engine, class, Target::Node(node))
        {
            if refusal.for_good {
                let state = self.classes[class]
                    .as_mut()
                    .expect("made when it was tried");
                state.barred_nodes.insert(node);
            }
            self.outcome.refusals.insert(class, refusal.reason);
            return false;
        }
        let touched = self.touched.entry(node).or_insert_with(|| NodeState {
            remaining: base.remaining.clone(),
            ports: Vec::new(),
        });
        for (have, want) in touched.remaining.iter_mut().zip(&needs.requests) {
            *have -= want;
        }
        touched.ports.extend(needs.host_ports.iter().cloned());
        self.outcome.existing.entry(node).or_default().push(pod);
        if let Some(topology) = &mut self.topology {
            topology.record(self.engine, class, Target::Node(node));
        }
        true
    }
}
