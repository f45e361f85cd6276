//! Commands under way: wait for the replacements, then delete the candidates; or roll back.
//!
//! Kept in memory only: after a crash, the marks on the candidates are taken off by the next
//! pass, and replacements that were created live on as ordinary nodes.
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/disruption/queue.go`.

use std::time::Duration;

use controller_api::conditions::Conditioned;
use controller_core::disruption::Command;
use controller_core::model::NodeClaimName;
use controller_core::mutants::{self, Mutant};

use crate::context::Context;
use crate::error::{Error, chain};
use crate::events::Note;
use crate::metrics::Disrupted;

/// How often running commands are looked at; upstream's.
const POLL: Duration = Duration::from_secs(1);
/// A command waits for its replacements at least this long, and longer the more run.
const WAIT_MIN: Duration = Duration::from_mins(10);
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_hours(1);
/// What each running candidate adds to the wait.
const WAIT_PER_CANDIDATE: Duration = Duration::from_millis(80);

/// Commands under way. Bounded by the nodes: each is in one command at most.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    running: Vec<Running>,
    next_id: u64,
}

/// One command under way.
#[derive(Clone, Debug)]
pub(super) struct Running {
    id: u64,
    command: Command,
    replacements: Vec<NodeClaimName>,
    started: Duration,
}

impl Running {
    pub(super) fn new(
        command: Command,
        replacements: Vec<NodeClaimName>,
        started: Duration,
    ) -> Self {
        Self {
            id: 0,
            command,
            replacements,
            started,
        }
    }
}

impl Commands {
    /// Whether a running command owns the claim.
    pub(crate) fn holds(&self, claim: &NodeClaimName) -> bool {
        self.running.iter().any(|running| {
            running
                .command
                .candidates
                .iter()
                .any(|(candidate, _)| candidate == claim)
        })
    }

    pub(super) fn push(&mut self, running: Running) {
        self.next_id += 1;
        self.running.push(Running {
            id: self.next_id,
            ..running
        });
    }

    fn remove(&mut self, id: u64) {
        self.running.retain(|running| running.id != id);
    }

    fn wait_max(&self) -> Duration {
        let candidates: usize = self
            .running
            .iter()
            .map(|r| r.command.candidates.len())
            .sum();
        let candidates = u32::try_from(candidates).unwrap_or(u32::MAX);
        WAIT_PER_CANDIDATE
            .saturating_mul(candidates)
            .clamp(WAIT_MIN, WAIT_MAX)
    }
}

/// Follows running commands for ever.
pub(crate) async fn follow_commands(ctx: &Context) -> ! {
    loop {
        let (running, wait_max) = {
            let commands = ctx.commands();
            (commands.running.clone(), commands.wait_max())
        };
        for command in &running {
            follow(ctx, command, wait_max).await;
        }
        if running.is_empty() {
            ctx.wakes.commands.notified().await;
        } else {
            ctx.clock.sleep(POLL).await;
        }
    }
}

/// What is known of a command's replacements.
enum State {
    Waiting,
    Ready,
    /// A replacement is gone: it could not be launched, or did not join in time.
    Lost,
}

async fn follow(ctx: &Context, running: &Running, wait_max: Duration) {
    let state = match replacements_state(ctx, running).await {
        Ok(state) => state,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "replacement could not be read");
            State::Waiting
        }
    };
    let is_late = ctx.clock.monotonic().saturating_sub(running.started) > wait_max;
    match state {
        State::Ready => match delete_candidates(ctx, running).await {
            Ok(()) => ctx.commands().remove(running.id),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "candidate could not be deleted");
            }
        },
        State::Lost => roll_back(ctx, running, "replacement was deleted"),
        State::Waiting if is_late => roll_back(ctx, running, "timed out"),
        State::Waiting => {}
    }
}

async fn replacements_state(ctx: &Context, running: &Running) -> Result<State, Error> {
    let reason = running.command.reason.as_str();
    let mut state = State::Ready;
    for name in &running.replacements {
        let claim = match ctx.claim(name.as_str()) {
            Some(claim) => Some(claim),
            None => ctx.refresh_claim(name.as_str()).await?,
        };
        let Some(claim) = claim else {
            return Ok(State::Lost);
        };
        if claim.metadata.deletion_timestamp.is_some() {
            return Ok(State::Lost);
        }
        if claim.is_condition_true("Initialized") {
            continue;
        }
        let note = Note::normal(
            "DisruptionLaunching",
            format!("Launching NodeClaim: {reason}"),
        );
        ctx.events
            .publish(&*claim, note.once_per(reason.to_owned()));
        let message = "Waiting on readiness to continue disruption".to_owned();
        ctx.events.publish(
            &*claim,
            Note::normal("DisruptionWaitingReadiness", message).once_per_object(),
        );
        if !mutants::is(Mutant::ReplacementNotAwaited) {
            state = State::Waiting;
        }
    }
    Ok(state)
}

async fn delete_candidates(ctx: &Context, running: &Running) -> Result<(), Error> {
    let reason = running.command.reason;
    for (name, node) in &running.command.candidates {
        let Some(claim) = ctx.claim(name.as_str()) else {
            continue;
        };
        if claim.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let disrupted = Disrupted::voluntary(ctx, &claim, reason);
        ctx.delete_claim(&claim).await?;
        tracing::info!(nodeclaim = %name, reason = reason.as_str(), "deleted nodeclaim");
        ctx.metrics.claim_disrupted(&disrupted);
        let text = reason.as_str();
        let note = |kind: &str| {
            Note::normal(
                "DisruptionTerminating",
                format!("Disrupting {kind}: {text}"),
            )
            .once_per(text.to_owned())
        };
        ctx.events.publish(&*claim, note("NodeClaim"));
        if let Some(node) = ctx.node(node.as_str()) {
            ctx.events.publish(&*node, note("Node"));
        }
    }
    Ok(())
}

/// Gives a command up. The marks in the API are taken off by the next pass; replacements that
/// exist live on.
fn roll_back(ctx: &Context, running: &Running, why: &str) {
    tracing::warn!(
        command = %super::start::describe(&running.command), why, "disruption was given up"
    );
    ctx.metrics.disruption_failed(&running.command);
    for (claim, _) in &running.command.candidates {
        ctx.cluster().mark_deleting(claim, false);
    }
    ctx.commands().remove(running.id);
    ctx.wake();
}

#[cfg(test)]
mod tests {
    use controller_core::disruption::DisruptionReason;
    use controller_core::model::Price;

    use super::*;

    #[test]
    fn the_wait_grows_with_the_work() {
        let commands = |n: usize| {
            let mut commands = Commands::default();
            let names = (0..n).map(|i| (i.to_string().as_str().into(), "n".into()));
            let command = Command {
                reason: DisruptionReason::Empty,
                candidates: names.collect(),
                replacements: Vec::new(),
                savings: Price(0),
            };
            commands.push(Running::new(command, Vec::new(), Duration::ZERO));
            commands
        };
        for (candidates, seconds) in [(100, 600), (4_000, 600), (10_000, 800), (80_000, 3_600)] {
            assert_eq!(
                commands(candidates).wait_max(),
                Duration::from_secs(seconds)
            );
        }
        let mut one = commands(1);
        assert!(one.holds(&"0".into()));
        one.remove(1);
        assert!(!one.holds(&"0".into()));
    }
}
