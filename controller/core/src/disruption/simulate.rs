//! What would happen if some nodes went: runs on one compiled snapshot.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::candidate::{Candidate, is_reschedulable};
use super::plan::{Blocked, StepBudget};
use crate::lifecycle::{Consolidatable, consolidatable};
use crate::model::{Node, NodeName, Pod, Snapshot};
use crate::scheduling::bits::Bits;
use crate::scheduling::claim::Claim;
use crate::scheduling::engine::Engine;
use crate::scheduling::solve::{self, RunInput, RunPod};
use crate::scheduling::{CompiledCatalogs, SchedulingOptions};

/// A compiled snapshot on which nodes can be taken away, at most so many times.
#[derive(Debug)]
pub(super) struct Simulator<'a> {
    pub(super) engine: Engine<'a>,
    by_name: BTreeMap<&'a NodeName, usize>,
    /// Pods that need a place in any case: pending ones and those of nodes that are going.
    displaced: Vec<&'a Pod>,
    /// Where those of them that are bound are.
    leaving: Vec<(usize, &'a Pod)>,
    /// Nodes inside their `consolidateAfter`: pods of candidates must not keep them from ending.
    settling: Bits,
    left: u32,
}

/// Where the pods of the nodes that go would be.
#[derive(Debug)]
pub(super) struct Simulated<'a> {
    /// Claims that would be needed.
    pub(super) claims: Vec<Claim>,
    /// The pods that claims refer to.
    pub(super) pods: Vec<RunPod<'a>>,
}

/// Whether nodes that are still settling may take pods of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settling {
    /// They may.
    Open,
    /// They may not: consolidation would never come to an end.
    Closed,
}

impl<'a> Simulator<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        options: SchedulingOptions,
        now: Timestamp,
        budget: StepBudget,
        compiled: &CompiledCatalogs,
    ) -> Self {
        let on_nodes = snapshot.nodes.iter().flat_map(|node| &node.pods);
        let pods = snapshot.pending.iter().chain(on_nodes);
        let engine = Engine::new(snapshot, pods, options, compiled);
        let mut settling = Bits::none(engine.nodes.len());
        let mut by_name = BTreeMap::new();
        for (index, base) in engine.nodes.iter().enumerate() {
            by_name.insert(&base.node.name, index);
            if is_settling(base.node, snapshot, now) {
                settling.insert(index);
            }
        }
        let going = snapshot.nodes.iter().filter(|node| {
            node.deleting || node.claim.as_ref().is_some_and(|claim| claim.deleting)
        });
        let displaced = going
            .flat_map(|node| &node.pods)
            .filter(|pod| moves(pod))
            .chain(&snapshot.pending);
        let displaced: Vec<&'a Pod> = displaced.collect();
        let bound = |pod: &&'a Pod| Some((by_name[pod.node.as_ref()?], *pod));
        let leaving = displaced.iter().filter_map(bound).collect();
        Self {
            engine,
            by_name,
            displaced,
            leaving,
            settling,
            left: budget.simulations_max,
        }
    }

    /// Takes the candidates away and places their pods.
    pub(super) fn without(
        &mut self,
        candidates: &[&Candidate<'a>],
        rule: Settling,
    ) -> Result<Simulated<'a>, Blocked> {
        self.left = self.left.checked_sub(1).ok_or(Blocked::OutOfSteps)?;
        let mut excluded = Bits::none(self.engine.nodes.len());
        let mut pods: Vec<RunPod<'a>> = Vec::new();
        for pod in &self.displaced {
            pods.push(RunPod {
                pod,
                class: self.engine.class_of(&pod.shape),
                exempt: true,
            });
        }
        let first_own = pods.len();
        let mut leaving = self.leaving.clone();
        for candidate in candidates {
            let node = self.by_name[&candidate.node.name];
            excluded.insert(node);
            for pod in candidate.node.pods.iter().filter(|pod| moves(pod)) {
                pods.push(RunPod {
                    pod,
                    class: self.engine.class_of(&pod.shape),
                    exempt: false,
                });
                leaving.push((node, pod));
            }
        }
        let guarded = if rule == Settling::Closed {
            self.settling.clone()
        } else {
            Bits::default()
        };
        let input = RunInput {
            pods,
            excluded,
            guarded,
            leaving,
        };
        let outcome = solve::run(&mut self.engine, &input);
        if outcome.out_of_steps {
            return Err(Blocked::OutOfSteps);
        }
        let own = |index: usize| index >= first_own;
        let failed = outcome.failed.iter().any(|&(index, _)| own(index));
        // A node that is not initialized may never be: it cannot be counted on.
        let uncertain = outcome.existing.iter().any(|(&node, placed)| {
            !self.engine.nodes[node].initialized && placed.iter().any(|&index| own(index))
        });
        if failed || uncertain {
            return Err(Blocked::PodsWouldNotFit);
        }
        Ok(Simulated {
            claims: outcome.claims,
            pods: input.pods,
        })
    }
}

/// Reschedulable, and nothing protects it.
fn moves(pod: &Pod) -> bool {
    is_reschedulable(pod) && !pod.do_not_disrupt
}

fn is_settling(node: &Node, snapshot: &Snapshot, now: Timestamp) -> bool {
    let Some(claim) = &node.claim else {
        return false;
    };
    let Some(catalog) = snapshot.pools.get(&claim.pool) else {
        return false;
    };
    if !claim.conditions.initialized || catalog.pool.replicas.is_some() {
        return false;
    }
    let since = claim.initialized_at.or(Some(claim.created));
    let wait = catalog.pool.disruption.consolidate_after;
    matches!(
        consolidatable(wait, since, claim.last_pod_event, now),
        Consolidatable::At(_)
    )
}
