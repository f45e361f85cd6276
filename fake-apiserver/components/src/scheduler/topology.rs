//! Topology spread and required pod (anti-)affinity.

use std::collections::{BTreeMap, BTreeSet};

use super::cache::{Cache, NodeInfo, PlacedPod};
use super::filter::Rejection;
use super::shape::{PodTerm, Shape, Spread};
use crate::toleration::tolerates_all;

/// What the pods already placed mean for one pod that is not.
#[derive(Debug)]
pub(super) struct Topology {
    /// Per hard spread constraint: matching pods by domain.
    spread: Vec<BTreeMap<String, i64>>,
    /// Domains with a pod that matches all affinity terms, per term.
    with: Vec<BTreeSet<String>>,
    /// No pod anywhere matches the affinity terms, but the pod itself does.
    first_of_its_kind: bool,
    /// Domains the pod avoids, per anti-affinity term.
    without: Vec<BTreeSet<String>>,
    /// Domains whose pods avoid this one: key and value.
    repelled: BTreeSet<(String, String)>,
}

impl Topology {
    /// Counts; `None` when no pod matters.
    pub(super) fn count(shape: &Shape, cache: &Cache) -> Option<Self> {
        let repelled = repelled(shape, cache);
        if !shape.is_topological() && repelled.is_empty() {
            return None;
        }
        let matches_all = |pod: &PlacedPod| {
            let other = &pod.shape;
            shape
                .with
                .iter()
                .all(|term| term.matches(&other.namespace, &other.labels))
        };
        let attracting: Vec<&PlacedPod> = if shape.with.is_empty() {
            Vec::new()
        } else {
            cache.pods().filter(|pod| matches_all(pod)).collect()
        };
        let with: Vec<BTreeSet<String>> = shape
            .with
            .iter()
            .map(|term| domains(&term.key, attracting.iter().copied(), cache))
            .collect();
        let nobody = with.iter().all(BTreeSet::is_empty);
        let own = |term: &PodTerm| term.matches(&shape.namespace, &shape.labels);
        let without = shape
            .without
            .iter()
            .map(|term| {
                let matching = cache
                    .pods()
                    .filter(|pod| term.matches(&pod.shape.namespace, &pod.shape.labels));
                domains(&term.key, matching, cache)
            })
            .collect();
        Some(Self {
            spread: hard(shape)
                .map(|constraint| count_spread(shape, constraint, cache))
                .collect(),
            with,
            first_of_its_kind: nobody && shape.with.iter().all(own),
            without,
            repelled,
        })
    }

    pub(super) fn check(&self, shape: &Shape, node: &NodeInfo) -> Result<(), Rejection> {
        for (constraint, counts) in hard(shape).zip(&self.spread) {
            check_spread(shape, constraint, counts, node)?;
        }
        let inside = |key: &String, domains: &BTreeSet<String>| {
            node.labels
                .get(key)
                .is_some_and(|value| domains.contains(value))
        };
        for (term, domains) in shape.with.iter().zip(&self.with) {
            let alone = self.first_of_its_kind && node.labels.contains_key(&term.key);
            if !(alone || inside(&term.key, domains)) {
                return Err(Rejection::hopeless(
                    "node(s) didn't match pod affinity rules",
                ));
            }
        }
        for (term, domains) in shape.without.iter().zip(&self.without) {
            if inside(&term.key, domains) {
                let reason = "node(s) didn't match pod anti-affinity rules";
                return Err(Rejection::resolvable(reason));
            }
        }
        if self
            .repelled
            .iter()
            .any(|(key, value)| node.labels.get(key) == Some(value))
        {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            return Err(Rejection::resolvable(reason));
        }
        Ok(())
    }
}

fn hard(shape: &Shape) -> impl Iterator<Item = &Spread> {
    shape.spread.iter().filter(|constraint| constraint.hard)
}

/// Values of a label of the nodes some pods are on.
fn domains<'a>(
    key: &str,
    pods: impl Iterator<Item = &'a PlacedPod>,
    cache: &Cache,
) -> BTreeSet<String> {
    pods.filter_map(|pod| cache.node(&pod.node)?.labels.get(key).cloned())
        .collect()
}

/// Domains whose pods refuse a pod of this shape.
fn repelled(shape: &Shape, cache: &Cache) -> BTreeSet<(String, String)> {
    let mut repelled = BTreeSet::new();
    for pod in cache.repelling() {
        let Some(node) = cache.node(&pod.node) else {
            continue;
        };
        for term in &pod.shape.without {
            if let Some(value) = node.labels.get(&term.key)
                && term.matches(&shape.namespace, &shape.labels)
            {
                repelled.insert((term.key.clone(), value.clone()));
            }
        }
    }
    repelled
}

/// Matching pods by domain, over the nodes the pod could use.
fn count_spread(shape: &Shape, constraint: &Spread, cache: &Cache) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for node in cache.nodes() {
        let Some(domain) = node.labels.get(&constraint.key) else {
            continue;
        };
        let all_keys = hard(shape).all(|other| node.labels.contains_key(&other.key));
        let usable = (!constraint.honours_affinity
            || shape.affinity.matches(&node.name, &node.labels))
            && (!constraint.honours_taints || tolerates_all(&shape.tolerations, &node.taints));
        if !all_keys || !usable {
            continue;
        }
        let matching = node.pods.iter().filter(|uid| {
            cache.pod(uid).is_some_and(|pod| {
                !pod.deleting
                    && pod.shape.namespace == shape.namespace
                    && constraint
                        .selector
                        .as_ref()
                        .is_some_and(|selector| selector.matches(&pod.shape.labels))
            })
        });
        let number = i64::try_from(matching.count()).unwrap_or(i64::MAX);
        *counts.entry(domain.clone()).or_insert(0) += number;
    }
    counts
}

fn check_spread(
    shape: &Shape,
    constraint: &Spread,
    counts: &BTreeMap<String, i64>,
    node: &NodeInfo,
) -> Result<(), Rejection> {
    let Some(domain) = node.labels.get(&constraint.key) else {
        return Err(Rejection::hopeless(
            "node(s) didn't match pod topology spread constraints (missing required label)",
        ));
    };
    let fewer = constraint
        .min_domains
        .is_some_and(|least| counts.len() < least);
    let least = if fewer {
        0
    } else {
        counts.values().copied().min().unwrap_or_default()
    };
    let own = constraint
        .selector
        .as_ref()
        .is_some_and(|selector| selector.matches(&shape.labels));
    let there = counts.get(domain).copied().unwrap_or_default();
    if there + i64::from(own) - least > constraint.max_skew {
        return Err(Rejection::resolvable(
            "node(s) didn't match pod topology spread constraints",
        ));
    }
    Ok(())
}
