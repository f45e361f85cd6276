//! Where pods go: existing nodes, in-flight claims, new claims.
//!
//! A snapshot is compiled once (`engine`): label keys and values become small integers, instance
//! types become columns (`catalog`), pods become classes (`class`). A run (`solve`) places pods on
//! it and leaves it unchanged, so that many runs can share one compiled snapshot.

mod bound;
mod placement;
mod pricing;

pub(crate) mod bits;
pub(crate) mod catalog;
pub(crate) mod claim;
pub(crate) mod class;
pub(crate) mod compiled;
pub(crate) mod engine;
pub(crate) mod finish;
mod intern;
mod reasons;
mod reuse;
pub(crate) mod solve;
pub(crate) mod template;
#[cfg(test)]
mod tests;
mod topology;
pub(crate) mod universe;
mod verdicts;

use std::collections::BTreeMap;

use bits::Bits;
use claim::Claim;
use class::ClassId;
use engine::Engine;
use finish::Finisher;
use pricing::Pricing;
use solve::{Outcome, RunInput, RunPod};
use universe::Amounts;

pub use placement::{
    MinValuesPolicy, NewClaim, Placement, PreferencePolicy, SchedulingInput, SchedulingOptions,
};
pub use reuse::CompiledCatalogs;
pub use verdicts::{Verdict, verdicts};

use crate::explain::Explanation;
use crate::model::{NodeName, Pod, Price, Snapshot};

/// Decides where pods go. Never fails: a pod without a place is in
/// [`Placement::unschedulable`] with its reasons.
///
/// Compiles the catalogues of the snapshot; [`schedule_with`] reuses them.
pub fn schedule(input: &SchedulingInput<'_>) -> Placement {
    schedule_with(input, &CompiledCatalogs::default())
}

/// The same with catalogues from an earlier decision: the same answer, sooner. Those that are of
/// other lists than the snapshot's are compiled anew; keep what
/// [`CompiledCatalogs::refreshed`] returns.
pub fn schedule_with(input: &SchedulingInput<'_>, compiled: &CompiledCatalogs) -> Placement {
    let pods = input.pods.iter();
    let mut engine = Engine::new(input.snapshot, pods, input.options, compiled);
    let run_input = run_input(&mut engine, input);
    let outcome = cheaper(&mut engine, &run_input);
    let pods = &run_input.pods;
    let mut placement = Placement {
        out_of_steps: outcome.out_of_steps,
        ..Placement::default()
    };
    for (node, indexes) in &outcome.existing {
        let keys = indexes
            .iter()
            .map(|&index| pods[index].pod.key.clone())
            .collect();
        placement
            .existing
            .insert(engine.nodes[*node].node.name.clone(), keys);
    }
    let mut finisher = Finisher::default();
    let mut position: Vec<Option<usize>> = Vec::with_capacity(outcome.claims.len());
    for claim in &outcome.claims {
        match finisher.claim(&engine, claim, pods) {
            Ok(new) => {
                position.push(Some(placement.new_claims.len()));
                placement.new_claims.push(new);
            }
            Err(reason) => {
                position.push(None);
                let pool = engine.templates[claim.template].pool.name.clone();
                for &index in &claim.pods {
                    let mut explanation = Explanation::default();
                    explanation.pools.insert(pool.clone(), reason.clone());
                    placement
                        .unschedulable
                        .insert(pods[index].pod.key.clone(), explanation);
                }
            }
        }
    }
    placement.order = order(&outcome, &position);
    placement.cost = Price(placement.new_claims.iter().map(|claim| claim.price.0).sum());
    placement.bound = bound::lower_bound(&engine, &outcome);
    let mut by_class: BTreeMap<ClassId, Explanation> = BTreeMap::new();
    for &(index, class) in &outcome.failed {
        let explanation = by_class
            .entry(class)
            .or_insert_with(|| reasons::explain(&mut engine, class, &outcome));
        placement
            .unschedulable
            .insert(pods[index].pod.key.clone(), explanation.clone());
    }
    placement
}

/// Upstream's answer, or one that places as many pods for less.
fn cheaper(engine: &mut Engine<'_>, input: &RunInput<'_>) -> Outcome {
    let compatible = solve::run(engine, input);
    if engine.options.improvement_steps == 0 || compatible.claims.is_empty() {
        return compatible;
    }
    let improved = solve::run_cheapest(engine, input);
    let no_worse = !improved.out_of_steps
        && !compatible.out_of_steps
        && improved.failed.len() <= compatible.failed.len();
    if no_worse && cost(engine, &improved) < cost(engine, &compatible) {
        improved
    } else {
        compatible
    }
}

fn cost(engine: &Engine<'_>, outcome: &Outcome) -> i64 {
    let mut pricing = Pricing::new(Amounts::new());
    let price = |claim: &Claim| {
        let cheapest = pricing.cheapest(engine, claim.template, &claim.reqs, &claim.types);
        cheapest.map_or(0, |(price, _)| price.0)
    };
    outcome.claims.iter().map(price).sum()
}

/// The steps of a run as positions in its answer; claims that were dropped have none. Pods of a
/// claim whose domain became certain with a later pod come just before that one: only then did
/// they count.
fn order(outcome: &Outcome, position: &[Option<usize>]) -> Vec<(usize, usize)> {
    let mut taken = vec![0; outcome.claims.len()];
    let mut waiting = vec![0; outcome.claims.len()];
    let mut order = Vec::with_capacity(outcome.steps.len());
    let mut rest = Vec::new();
    for step in &outcome.steps {
        let among = taken[step.claim];
        taken[step.claim] += 1;
        if let Some(claim) = position[step.claim].filter(|_| step.is_settled) {
            order.extend((waiting[step.claim]..=among).map(|pod| (claim, pod)));
            waiting[step.claim] = taken[step.claim];
        } else {
            rest.push((step.claim, among));
        }
    }
    let unsettled = rest.into_iter().filter_map(|(claim, pod)| {
        let claim_after = position[claim].filter(|_| pod >= waiting[claim])?;
        Some((claim_after, pod))
    });
    order.extend(unsettled);
    order
}

/// The pods that need a place now: pending ones, and those that would be created anew when nodes
/// that are going are gone. What [`SchedulingInput::pods`] is in provisioning.
pub fn pods_to_place(snapshot: &Snapshot) -> Vec<Pod> {
    let going = snapshot
        .nodes
        .iter()
        .filter(|node| node.deleting || node.claim.as_ref().is_some_and(|claim| claim.deleting));
    let displaced = going
        .flat_map(|node| &node.pods)
        .filter(|pod| crate::disruption::is_reschedulable(pod) && !pod.do_not_disrupt);
    snapshot.pending.iter().chain(displaced).cloned().collect()
}

fn run_input<'p>(engine: &mut Engine<'_>, input: &SchedulingInput<'p>) -> RunInput<'p> {
    let mut excluded = Bits::none(engine.nodes.len());
    let mut by_name: BTreeMap<&NodeName, usize> = BTreeMap::new();
    for (index, base) in engine.nodes.iter().enumerate() {
        if input.excluded.contains(&base.node.name) {
            excluded.insert(index);
        }
        by_name.insert(&base.node.name, index);
    }
    let bound = |pod: &'p Pod| Some((*by_name.get(pod.node.as_ref()?)?, pod));
    let leaving = input.pods.iter().filter_map(bound).collect();
    let pods = input
        .pods
        .iter()
        .map(|pod| RunPod {
            pod,
            class: engine.class_of(&pod.shape),
            exempt: true,
        })
        .collect();
    RunInput {
        pods,
        excluded,
        guarded: Bits::default(),
        leaving,
    }
}
