//! Which nodes go, and making them go: empty, drifted, underutilized ones.
//!
//! ```text
//! heal ─▶ gather ─▶ plan ─▶ (wait 15 s ─▶ plan again: still so?) ─▶ start ─▶ commands ─▶ delete
//! ```
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/disruption`.

mod commands;
mod report;
mod start;

use std::collections::BTreeSet;
use std::time::Duration;

use controller_core::disruption::{
    Blocked, Command, DisruptionPolicy, DisruptionReason, Plan, StepBudget, plan_disruption,
};
use controller_core::model::{NodeClaimName, Snapshot};
use controller_ports::run_on;
use futures::FutureExt;
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

pub(crate) use self::commands::{Commands, follow_commands};
use self::report::Reported;
use crate::context::Context;
use crate::error::{Error, chain};
use crate::node::{has_disrupted_taint, without_disrupted};
use crate::nodeclaim::{Draft, claim_name};
use crate::objects::is_deleting;
use crate::provisioning::scheduling_options;
use crate::writes::Guard;

/// Time between two passes; upstream's poll.
const POLL: Duration = Duration::from_secs(10);
/// What consolidation found must still be so after this long: pods that were about to come have
/// come by then (`consolidationTTL`).
const VALIDATION_WAIT: Duration = Duration::from_secs(15);
/// Longest time between two passes while nothing changes: everything a decision reads arrives as
/// a change or has a deadline of its own, this is the net below.
const QUIET_MAX: Duration = Duration::from_hours(1);
/// Longest time between two passes while a budget's schedule may open or close.
const SCHEDULED_BUDGET_POLL: Duration = Duration::from_mins(1);
/// Simulated schedules of one pass: a pass over some hundred nodes completes, and a larger
/// cluster continues in the next pass.
const SIMULATIONS_MAX: u32 = 500;

/// Disrupts for ever.
pub(crate) async fn disrupt(ctx: &Context) -> ! {
    let mut reported = Reported::default();
    loop {
        let seen = ctx.cluster().changes();
        let rest = match pass(ctx, &mut reported).await {
            Ok(Rest::None) => continue,
            Ok(rest) => rest,
            // The caches are up to date again.
            Err(Error::Conflict) => Rest::For(POLL),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "disruption pass failed");
                Rest::For(POLL)
            }
        };
        ctx.clock.sleep(POLL).await;
        let Rest::For(longest) = rest else { continue };
        let end = ctx.clock.monotonic() + longest.saturating_sub(POLL);
        while ctx.cluster().changes() == seen && ctx.clock.monotonic() < end {
            let wait = end.saturating_sub(ctx.clock.monotonic());
            let mut due = std::pin::pin!(ctx.clock.sleep(wait).fuse());
            let mut changed = std::pin::pin!(ctx.wakes.disruption.notified().fuse());
            futures::select_biased! {
                () = changed => {}
                () = due => {}
            }
        }
    }
}

/// How long a pass lets the loop rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It acted: look at once for more.
    None,
    /// Until something changes, at most this long.
    For(Duration),
}

async fn pass(ctx: &Context, reported: &mut Reported) -> Result<Rest, Error> {
    heal(ctx).await?;
    if !ctx.unlaunched().is_empty() {
        return Ok(Rest::For(POLL));
    }
    let (snapshot, plan) = gather_and_plan(ctx).await;
    report::blocked(ctx, &plan, reported);
    let rest = Rest::For(quiet_time(&snapshot, &plan, ctx.now()));
    if plan.commands.is_empty() {
        return Ok(rest);
    }
    let (drift, others): (Vec<Command>, Vec<Command>) = plan
        .commands
        .into_iter()
        .partition(|command| command.reason == DisruptionReason::Drifted);
    let commands = if drift.is_empty() {
        validated(ctx, others).await?
    } else {
        drift
    };
    let mut started = false;
    for command in commands {
        started |= start::start(ctx, command).await?;
    }
    // What was refused after all is looked at again with the next change, or soon.
    Ok(if started { Rest::None } else { Rest::For(POLL) })
}

async fn gather_and_plan(ctx: &Context) -> (Snapshot, Plan) {
    let _decision = ctx.decision.lock().await;
    let catalogs = ctx.fetch_catalogs().await;
    let snapshot = ctx.cluster().snapshot(&catalogs);
    let policy = DisruptionPolicy {
        scheduling: scheduling_options(&ctx.options),
        spot_to_spot: ctx.options.gates.spot_to_spot,
    };
    let now = ctx.now();
    let started = ctx.clock.monotonic();
    let answer = run_on(&*ctx.cpu, move || {
        let budget = StepBudget {
            simulations_max: SIMULATIONS_MAX,
        };
        let plan = plan_disruption(&snapshot, &policy, now, budget);
        (snapshot, plan)
    })
    .await;
    ctx.metrics
        .disruption_evaluated(ctx.clock.monotonic().saturating_sub(started));
    answer
}

/// Waits, plans again, and keeps what is still planned.
async fn validated(ctx: &Context, before: Vec<Command>) -> Result<Vec<Command>, Error> {
    ctx.clock.sleep(VALIDATION_WAIT).await;
    if !ctx.unlaunched().is_empty() {
        return Ok(Vec::new());
    }
    let (_, after) = gather_and_plan(ctx).await;
    let (kept, rejected) = still_planned(before, &after.commands);
    for command in rejected {
        report::rejected(ctx, &command);
    }
    Ok(kept)
}

/// The commands of `after` that `before` planned as well, and those of `before` that are gone.
/// Of the empty nodes, those that are still empty; of others, commands over the same nodes that
/// still need, or still do not need, a replacement.
fn still_planned(before: Vec<Command>, after: &[Command]) -> (Vec<Command>, Vec<Command>) {
    let mut kept = Vec::new();
    let mut rejected = Vec::new();
    for old in before {
        let names = candidates(&old);
        let found = after.iter().find_map(|new| {
            if new.reason != old.reason
                || new.replacements.is_empty() != old.replacements.is_empty()
            {
                return None;
            }
            if new.reason != DisruptionReason::Empty {
                return (candidates(new) == names).then(|| new.clone());
            }
            let mut rest = new.clone();
            rest.candidates.retain(|(claim, _)| names.contains(claim));
            (!rest.candidates.is_empty()).then_some(rest)
        });
        match found {
            Some(command) => kept.push(command),
            None => rejected.push(old),
        }
    }
    (kept, rejected)
}

fn candidates(command: &Command) -> BTreeSet<NodeClaimName> {
    command
        .candidates
        .iter()
        .map(|(claim, _)| claim.clone())
        .collect()
}

/// How long nothing but a change can make another answer.
fn quiet_time(snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> Duration {
    let until = |time: Timestamp| Duration::try_from(time.duration_since(now)).ok();
    let nominations = snapshot
        .nodes
        .iter()
        .filter_map(|node| until(node.nominated_until?));
    let waits = plan.blocked.values().filter_map(|blocked| match blocked {
        Blocked::ConsolidateAfter { remaining } => Some(*remaining),
        Blocked::OutOfSteps => Some(POLL),
        _ => None,
    });
    let schedules = snapshot
        .pools
        .values()
        .flat_map(|catalog| &catalog.pool.disruption.budgets)
        .filter(|budget| budget.schedule.is_some())
        .map(|_| SCHEDULED_BUDGET_POLL);
    let soonest = nominations
        .chain(waits)
        .chain(schedules)
        .min()
        .unwrap_or(QUIET_MAX);
    soonest.clamp(POLL, QUIET_MAX)
}

/// Takes marks off nodes that no running command owns: what a crash, or a command that failed,
/// has left.
async fn heal(ctx: &Context) -> Result<(), Error> {
    for claim in ctx.managed_claims() {
        let name = NodeClaimName::new(claim_name(&claim));
        if is_deleting(&*claim) || ctx.commands().holds(&name) {
            continue;
        }
        let id = claim
            .status
            .as_ref()
            .and_then(|status| status.provider_id.clone());
        for node in ctx.nodes_of(&id.unwrap_or_default()) {
            if is_deleting(&*node) || !has_disrupted_taint(&node) {
                continue;
            }
            let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone());
            let rest = without_disrupted(taints.unwrap_or_default());
            ctx.patch_node(&node, json!({ "spec": { "taints": rest } }), Guard::Version)
                .await?;
            tracing::info!(node = node.name_any(), "node is no longer disrupted");
        }
        let mut draft = Draft::new(claim, ctx.now());
        if draft.is_true("DisruptionReason") {
            draft.conditions().clear("DisruptionReason");
            draft.save(ctx).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use controller_core::model::Price;

    use super::*;

    fn command(reason: DisruptionReason, names: &[&str]) -> Command {
        Command {
            reason,
            candidates: names
                .iter()
                .map(|name| ((*name).into(), (*name).into()))
                .collect(),
            replacements: Vec::new(),
            savings: Price(0),
        }
    }

    #[test]
    fn empty_nodes_are_confirmed_one_by_one_and_other_commands_whole() {
        let empty = |names: &[&str]| command(DisruptionReason::Empty, names);
        let other = |names: &[&str]| command(DisruptionReason::Underutilized, names);
        let (kept, rejected) = still_planned(vec![empty(&["a", "b"])], &[empty(&["b", "c"])]);
        assert_eq!((kept, rejected.len()), (vec![empty(&["b"])], 0));
        let (kept, rejected) = still_planned(vec![other(&["a", "b"])], &[other(&["a"])]);
        assert_eq!((kept.len(), rejected.len()), (0, 1));
        let (kept, _) = still_planned(vec![other(&["a", "b"])], &[other(&["b", "a"])]);
        assert_eq!(kept.len(), 1);
        let (kept, _) = still_planned(vec![empty(&["a"])], &[other(&["a"])]);
        assert_eq!(kept.len(), 0);
    }
}
