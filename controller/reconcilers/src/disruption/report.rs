//! Why nodes stay: events on nodes and claims.

use std::collections::BTreeMap;
use std::time::Duration;

use controller_core::disruption::{Blocked, Command, Plan};
use controller_core::model::NodeName;

use super::start::describe;
use crate::context::Context;
use crate::events::Note;

/// What was last said of each node; an answer is published when it changes. Bounded by nodes.
#[derive(Debug, Default)]
pub(super) struct Reported(BTreeMap<NodeName, Blocked>);

/// Publishes why nodes stay, where that is news.
pub(super) fn blocked(ctx: &Context, plan: &Plan, reported: &mut Reported) {
    for (name, blocked) in &plan.blocked {
        if reported
            .0
            .get(name)
            .is_some_and(|known| is_same(known, blocked))
        {
            continue;
        }
        let Some(note) = note(blocked) else { continue };
        let Some(node) = ctx.node(name.as_str()) else {
            continue;
        };
        let Some(claim) = ctx.claim_of_node(&node) else {
            continue;
        };
        ctx.events.publish(&*node, note.clone());
        ctx.events.publish(&*claim, note);
    }
    reported.0.clone_from(&plan.blocked);
}

/// Counts that move by themselves are no news.
fn is_same(a: &Blocked, b: &Blocked) -> bool {
    a == b || std::mem::discriminant(a) == std::mem::discriminant(b) && note(a).is_none()
}

fn note(blocked: &Blocked) -> Option<Note> {
    match blocked {
        Blocked::NotACandidate(_)
        | Blocked::Pdb(_)
        | Blocked::DoNotDisrupt(_)
        | Blocked::Nominated => {
            Some(Note::normal("DisruptionBlocked", capitalized(blocked)).once_per_object())
        }
        // They end by themselves.
        Blocked::Budget { .. } | Blocked::ConsolidateAfter { .. } | Blocked::OutOfSteps => None,
        // What consolidation looked at and left.
        _ => Some(
            Note::normal("Unconsolidatable", capitalized(blocked))
                .once_per_object()
                .every(Duration::from_mins(15)),
        ),
    }
}

fn capitalized(blocked: &Blocked) -> String {
    let text = blocked.to_string();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Publishes that a command no longer stood after its validation.
pub(super) fn rejected(ctx: &Context, command: &Command, why: &Blocked) {
    ctx.metrics.validation_failed(command);
    tracing::debug!(command = %describe(command), %why, "consolidation rejected");
    for (claim, node) in &command.candidates {
        let message = format!(
            "Consolidation rejected: {}, reason: {why} (savings: {})",
            describe(command),
            command.savings
        );
        let note = Note::normal("ConsolidationRejected", message).once_per_object();
        if let Some(node) = ctx.node(node.as_str()) {
            ctx.events.publish(&*node, note.clone());
        }
        if let Some(claim) = ctx.claim(claim.as_str()) {
            ctx.events.publish(&*claim, note);
        }
    }
}
