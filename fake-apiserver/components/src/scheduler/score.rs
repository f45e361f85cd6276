//! Scores of the default profile: least allocated, balanced allocation, preferred node affinity,
//! `PreferNoSchedule` taints, soft topology spread.

use super::cache::{Cache, NodeInfo};
use super::shape::Shape;
use crate::toleration::tolerates;

/// Weights of the default profile.
const TAINT_WEIGHT: i64 = 3;
const AFFINITY_WEIGHT: i64 = 2;
const SPREAD_WEIGHT: i64 = 2;

/// The best of some feasible nodes. Of equal nodes the first by name wins: the real scheduler
/// draws among them, and any of its draws is legal.
pub(super) fn best<'a>(
    shape: &Shape,
    nodes: &[&'a NodeInfo],
    cache: &Cache,
) -> Option<&'a NodeInfo> {
    if let [only] = nodes {
        return Some(only);
    }
    let affinity = normalised(
        nodes.iter().map(|node| preferred(shape, node)).collect(),
        false,
    );
    let taints = normalised(
        nodes.iter().map(|node| disliked(shape, node)).collect(),
        true,
    );
    let spread = normalised(
        nodes
            .iter()
            .map(|node| crowded(shape, node, cache))
            .collect(),
        true,
    );
    let total = |index: usize, node: &NodeInfo| {
        allocation(shape, node)
            + AFFINITY_WEIGHT * affinity[index]
            + TAINT_WEIGHT * taints[index]
            + SPREAD_WEIGHT * spread[index]
    };
    nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (total(index, node), *node))
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, node)| node)
}

/// Least allocated plus balanced, each 0 to 100.
fn allocation(shape: &Shape, node: &NodeInfo) -> i64 {
    let parts = [
        (node.allocatable.cpu_milli, node.scored.0, shape.scored.0),
        (node.allocatable.memory, node.scored.1, shape.scored.1),
    ];
    let free = |(total, used, asked): (i64, i64, i64)| {
        let left = total - used - asked;
        if total == 0 || left < 0 {
            0
        } else {
            permyriad(left, total) / 100
        }
    };
    let least = parts.into_iter().map(free).sum::<i64>() / 2;
    // The spread of two fractions is half their distance (`balanced_allocation.go`).
    let distance = |with: bool| {
        let fraction = |(total, used, asked): (i64, i64, i64)| {
            permyriad(used + if with { asked } else { 0 }, total.max(1)).min(10_000)
        };
        (fraction(parts[0]) - fraction(parts[1])).abs() / 2
    };
    let evenness = |with: bool| 100 - distance(with) / 100;
    let balanced = 50 + (50 + evenness(true) - evenness(false)) / 2;
    least + balanced
}

/// `part / whole` in ten-thousandths, without overflow.
fn permyriad(part: i64, whole: i64) -> i64 {
    let scaled = i128::from(part) * 10_000 / i128::from(whole);
    i64::try_from(scaled).unwrap_or(i64::MAX)
}

fn preferred(shape: &Shape, node: &NodeInfo) -> i64 {
    shape
        .affinity
        .preferred
        .iter()
        .filter(|(_, term)| term.matches(&node.name, &node.labels))
        .map(|(weight, _)| weight)
        .sum()
}

fn disliked(shape: &Shape, node: &NodeInfo) -> i64 {
    let disliked = node.taints.iter().filter(|taint| {
        taint.effect == "PreferNoSchedule" && !tolerates(&shape.tolerations, taint)
    });
    i64::try_from(disliked.count()).unwrap_or(i64::MAX)
}

/// Matching pods in the domains of a node, for soft constraints.
fn crowded(shape: &Shape, node: &NodeInfo, cache: &Cache) -> i64 {
    let mut crowd = 0;
    for constraint in shape.spread.iter().filter(|constraint| !constraint.hard) {
        let domain = node.labels.get(&constraint.key);
        let matching = cache.pods().filter(|pod| {
            !pod.deleting
                && pod.shape.namespace == shape.namespace
                && constraint
                    .selector
                    .as_ref()
                    .is_some_and(|s| s.matches(&pod.shape.labels))
                && cache
                    .node(&pod.node)
                    .and_then(|n| n.labels.get(&constraint.key))
                    == domain
        });
        crowd += i64::try_from(matching.count()).unwrap_or(i64::MAX);
    }
    crowd
}

/// Scales to 0–100 by the largest; `reverse`: the largest becomes the worst.
fn normalised(scores: Vec<i64>, reverse: bool) -> Vec<i64> {
    let most = scores.iter().copied().max().unwrap_or_default();
    let scale = |score: i64| match (most, reverse) {
        (0, true) => 100,
        (0, false) => 0,
        (_, true) => 100 - score * 100 / most,
        (_, false) => score * 100 / most,
    };
    scores.into_iter().map(scale).collect()
}
