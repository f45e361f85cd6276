//! Which pods go first when a set shrinks (`controller.ActivePodsWithRanks`).

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::pod_index::PodView;

/// Sorts pods, the first to be deleted first.
pub(super) fn first_to_go<'a>(
    now: Timestamp,
    mut pods: Vec<(&'a String, &'a PodView)>,
    crowd: &BTreeMap<String, usize>,
) -> Vec<(&'a String, &'a PodView)> {
    let on_node = |pod: &PodView| crowd.get(&pod.node).copied().unwrap_or_default();
    let rank = |pod: &PodView| {
        (
            !pod.node.is_empty(),
            phase_rank(&pod.phase),
            pod.ready,
            pod.deletion_cost,
            Reverse(on_node(pod)),
        )
    };
    pods.sort_by(|(a_uid, a), (b_uid, b)| {
        rank(a)
            .cmp(&rank(b))
            .then_with(|| age(now, a.ready_since, b.ready_since, (a_uid, b_uid)))
            .then_with(|| b.restarts.cmp(&a.restarts))
            .then_with(|| age(now, a.created, b.created, (a_uid, b_uid)))
            .then_with(|| a_uid.cmp(b_uid))
    });
    pods
}

fn phase_rank(phase: &str) -> u8 {
    match phase {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    }
}

/// The younger first, in buckets of powers of two; within a bucket uids decide, which is as good
/// as chance but the same every time.
fn age(
    now: Timestamp,
    a: Option<Timestamp>,
    b: Option<Timestamp>,
    uids: (&String, &String),
) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let bucket = |at: Option<Timestamp>| {
        at.map_or(-1, |at| {
            let age = now.as_nanosecond() - at.as_nanosecond();
            if age > 0 { i64::from(age.ilog2()) } else { -1 }
        })
    };
    bucket(a).cmp(&bucket(b)).then_with(|| uids.0.cmp(uids.1))
}
