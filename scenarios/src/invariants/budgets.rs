//! Voluntary disruption stays within the budgets of its NodePool.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::history::{age, disruption, newly_disrupted, pool_of};
use super::{Findings, History, Invariant, When, cron};
use crate::format::parse_duration;
use crate::observe::{Observation, resources};

pub(super) const INVARIANT: Invariant = Invariant {
    id: "INV-BUDGETS",
    doc: "no more nodes of a NodePool are disrupted at once than its budgets allow at that time",
    when: When::Fact,
    check,
};

/// Claims that were there when it was decided, although they are gone now.
const DECIDED_WITHIN: std::time::Duration = std::time::Duration::from_mins(2);

fn check(observation: &Observation<'_>, history: &History) -> Findings {
    let mut findings = Findings::default();
    for change in &history.facts.changes {
        if change.resource != resources::CLAIMS {
            continue;
        }
        let Some(reason) = newly_disrupted(change) else {
            continue;
        };
        let name = pool_of(&change.object);
        let Some(pool) = observation.objects.get(resources::POOLS, "", &name) else {
            continue;
        };
        let of_pool = || {
            let claims = observation.objects.all(resources::CLAIMS);
            claims.filter(|claim| pool_of(claim) == name)
        };
        let gone = history
            .claims_gone
            .values()
            .filter(|gone| age(**gone, observation.now) < DECIDED_WITHIN);
        let nodes = (of_pool().count() + gone.count()) as u64;
        let disrupted = of_pool().filter(|claim| disruption(claim).is_some());
        let disrupted = disrupted.count() as u64;
        let budgets = &pool.value()["spec"]["disruption"]["budgets"];
        let Some(allowed) = allowed(budgets, (reason, nodes), observation.now) else {
            continue;
        };
        findings.premises += 1;
        if disrupted > allowed {
            findings.violation(format!(
                "{disrupted} of {nodes} node(s) of NodePool {name} are disrupted, {allowed} may \
                 be for reason {reason}"
            ));
        }
    }
    findings
}

/// How many nodes may be disrupted for a reason; the strictest budget counts. `None`: nothing
/// limits it.
fn allowed(budgets: &Value, (reason, nodes): (&str, u64), now: Timestamp) -> Option<u64> {
    let budgets = budgets.as_array()?;
    let concerns = |budget: &&Value| {
        let reasons = budget["reasons"].as_array();
        let named = reasons.is_none_or(|reasons| {
            reasons.is_empty() || reasons.iter().any(|known| known == reason)
        });
        named && holds(budget, now)
    };
    let share = |budget: &Value| {
        let text = budget["nodes"].as_str().unwrap_or("10%");
        match text.strip_suffix('%') {
            // Rounded up, as upstream does for budgets.
            Some(percent) => percent
                .parse::<u64>()
                .ok()
                .map(|percent| (percent * nodes).div_ceil(100)),
            None => text.parse().ok(),
        }
    };
    budgets.iter().filter(concerns).filter_map(share).min()
}

/// Whether a budget holds, and held when it was decided. One whose schedule is not read here is
/// left out: it could only make the others stricter.
fn holds(budget: &Value, now: Timestamp) -> bool {
    let Some(schedule) = budget["schedule"].as_str() else {
        return true;
    };
    let duration = budget["duration"].as_str().unwrap_or_default();
    let Ok(duration) = parse_duration(duration) else {
        return false;
    };
    let earlier = SignedDuration::try_from(DECIDED_WITHIN).unwrap_or_default();
    let decided = now.checked_sub(earlier).unwrap_or(now);
    [now, decided]
        .into_iter()
        .all(|at| cron::is_open(schedule, duration, at) == Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_strictest_budget_that_concerns_a_reason_counts() {
        let budgets = json!([
            {"nodes": "50%"},
            {"nodes": "1", "reasons": ["Drifted"]},
            {"nodes": "0", "schedule": "@daily", "duration": "1h"},
        ]);
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let noon = at("2026-01-05T12:00:00Z");
        assert_eq!(allowed(&budgets, ("Underutilized", 5), noon), Some(3));
        assert_eq!(allowed(&budgets, ("Drifted", 5), noon), Some(1));
        let night = at("2026-01-05T00:30:00Z");
        assert_eq!(allowed(&budgets, ("Drifted", 5), night), Some(0));
        assert_eq!(allowed(&json!(null), ("Drifted", 5), noon), None);
        let tenth = json!([{"nodes": "10%"}]);
        assert_eq!(allowed(&tenth, ("Empty", 4), noon), Some(1));
    }
}
