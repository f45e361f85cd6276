//! Liveness: a claim that does not become a node in time is given up.
//!
//! Source: `sigs.k8s.io/karpenter` `pkg/controllers/nodeclaim/lifecycle/liveness.go`.

use controller_api::conditions::Conditioned;
use controller_core::lifecycle::{Liveness, LivenessInput, liveness};

use super::{Draft, Outcome};
use crate::context::Context;

/// Reason towards the pool when a node did not appear and nothing says why.
const SILENT: &str = "RegistrationTimeout";

pub(super) fn check_liveness(ctx: &Context, draft: &Draft, outcome: &mut Outcome) {
    let input = LivenessInput {
        launched: draft.is_true("Launched"),
        registered: draft.is_true("Registered"),
        launched_changed: draft.changed_at("Launched"),
        registered_changed: draft.changed_at("Registered"),
    };
    let reason = match liveness(&input, ctx.now()) {
        Liveness::Registered => return,
        Liveness::WaitUntil(time) => {
            outcome.again(ctx.at(time));
            return;
        }
        Liveness::LaunchTimeout => {
            // The condition says what the last try stumbled over.
            let launched = draft.claim.condition("Launched");
            let (cause, detail) = launched.map_or((SILENT, ""), |c| (&c.reason, &c.message));
            outcome.registration_failed(cause, detail);
            "launch_timeout"
        }
        Liveness::RegistrationTimeout => {
            outcome.registration_failed(SILENT, "no Node joined within 15 minutes");
            "registration_timeout"
        }
    };
    tracing::info!(
        nodeclaim = draft.name(),
        reason,
        "terminating due to timeout"
    );
    outcome.delete(reason);
}
