//! Which nodes go, and making them go: empty, drifted, underutilized ones.
//!
//! ```text
//! heal ─▶ gather ─▶ plan ─▶ (wait 15 s ─▶ gather ─▶ validate) ─▶ start ─▶ commands ─▶ delete
//! ```
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/disruption`.

mod commands;
mod report;
mod start;

use std::time::Duration;

use controller_api::conditions::Conditioned;
use controller_core::disruption::{
    Blocked, Command, DisruptionPolicy, DisruptionReason, Plan, StepBudget, plan_disruption_with,
    validate_with,
};
use controller_core::model::{NodeClaimName, Snapshot};
use controller_core::mutants::{self, Mutant};
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
use crate::nodepool::hold_all;
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
const QUIET_MAX: Duration = Duration::from_hours(6);
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
        validated(ctx, others).await
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

async fn gather(ctx: &Context) -> Snapshot {
    let _decision = ctx.decision.lock().await;
    let catalogs = ctx.fetch_catalogs().await;
    let mut snapshot = ctx.cluster().snapshot(&catalogs);
    hold_all(ctx, &mut snapshot);
    snapshot
}

fn policy(ctx: &Context) -> DisruptionPolicy {
    DisruptionPolicy {
        scheduling: scheduling_options(&ctx.options),
        spot_to_spot: ctx.options.gates.spot_to_spot,
    }
}

async fn gather_and_plan(ctx: &Context) -> (Snapshot, Plan) {
    let snapshot = gather(ctx).await;
    let (policy, now) = (policy(ctx), ctx.now());
    let started = ctx.clock.monotonic();
    let compiled = ctx.compiled();
    let (snapshot, plan, compiled) = run_on(&*ctx.cpu, move || {
        let compiled = compiled.refreshed(&snapshot);
        let budget = StepBudget {
            simulations_max: SIMULATIONS_MAX,
        };
        let plan = plan_disruption_with(&snapshot, &policy, now, budget, &compiled);
        (snapshot, plan, compiled)
    })
    .await;
    ctx.keep_compiled(compiled);
    ctx.metrics
        .disruption_evaluated(ctx.clock.monotonic().saturating_sub(started));
    (snapshot, plan)
}

/// Waits, and keeps what still holds then.
async fn validated(ctx: &Context, planned: Vec<Command>) -> Vec<Command> {
    if mutants::is(Mutant::Unvalidated) {
        return planned;
    }
    ctx.clock.sleep(VALIDATION_WAIT).await;
    if !ctx.unlaunched().is_empty() {
        return Vec::new();
    }
    let snapshot = gather(ctx).await;
    let (policy, now) = (policy(ctx), ctx.now());
    let compiled = ctx.compiled();
    let checked = run_on(&*ctx.cpu, move || {
        let compiled = compiled.refreshed(&snapshot);
        let check = |command: Command| {
            let answer = validate_with(&snapshot, &policy, now, &command, &compiled);
            (command, answer)
        };
        planned.into_iter().map(check).collect::<Vec<_>>()
    })
    .await;
    let mut kept = Vec::new();
    for (command, answer) in checked {
        match answer {
            Ok(command) => kept.push(command),
            Err(why) => report::rejected(ctx, &command, &why),
        }
    }
    kept
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
    if mutants::is(Mutant::MarksAreKept) {
        return Ok(());
    }
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
        if claim.is_condition_true("DisruptionReason") {
            let mut draft = Draft::new(claim, ctx.now());
            draft.conditions().clear("DisruptionReason");
            draft.save(ctx).await?;
        }
    }
    Ok(())
}
