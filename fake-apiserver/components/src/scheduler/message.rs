//! Why a pod fits nowhere, in the scheduler's words (`framework.FitError`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::filter::Rejection;

/// The message when there is no node at all.
pub(super) const NO_NODES: &str = "no nodes available to schedule pods";

/// Counts rejections of one attempt.
#[derive(Debug, Default)]
pub(super) struct Tally {
    nodes: usize,
    reasons: BTreeMap<Cow<'static, str>, usize>,
    /// Nodes where taking pods away might help.
    resolvable: usize,
}

impl Tally {
    pub(super) fn add(&mut self, rejection: Rejection) {
        self.nodes += 1;
        self.resolvable += usize::from(rejection.resolvable);
        for reason in rejection.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// Counts nodes that were not looked at.
    pub(super) fn add_unseen(&mut self, nodes: usize, reason: &'static str) {
        if nodes > 0 {
            self.nodes += nodes;
            *self.reasons.entry(Cow::Borrowed(reason)).or_default() += nodes;
        }
    }

    /// The whole message. No pod is ever preempted: see the limits of the scheduler.
    pub(super) fn message(&self, never_preempts: bool) -> String {
        let nodes = self.nodes;
        let mut reasons: Vec<String> = self
            .reasons
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        reasons.sort_unstable();
        let mut message = format!("0/{nodes} nodes are available: {}.", reasons.join(", "));
        message.push_str(" no new claims to deallocate, preemption: ");
        if never_preempts {
            message.push_str("not eligible due to preemptionPolicy=Never.");
            return message;
        }
        let mut outcomes = Vec::new();
        let hopeless = nodes - self.resolvable;
        if self.resolvable > 0 {
            let count = self.resolvable;
            outcomes.push(format!(
                "{count} No preemption victims found for incoming pod"
            ));
        }
        if hopeless > 0 {
            outcomes.push(format!(
                "{hopeless} Preemption is not helpful for scheduling"
            ));
        }
        outcomes.sort_unstable();
        message + &format!("0/{nodes} nodes are available: {}.", outcomes.join(", "))
    }
}
