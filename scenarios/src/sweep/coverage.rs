//! What a campaign has exercised: crash points, kinds of faults, premises of invariants.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::faults::FaultKind;
use crate::invariants::REGISTRY;
use crate::world::ports::Moment;

/// What was exercised; of several shards it adds up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// By moment: `before`, `after`, `ambiguous`.
    pub crash_points: BTreeMap<String, PointCount>,
    /// By kind.
    pub faults: BTreeMap<String, Struck>,
    /// By invariant.
    pub invariants: BTreeMap<String, Premise>,
}

/// Crash points of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PointCount {
    /// That were to be reached.
    pub planned: u64,
    /// That were.
    pub reached: u64,
}

/// How often a kind of fault struck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Struck {
    /// Runs in which it did.
    pub runs: u64,
    /// How often altogether.
    pub times: u64,
}

/// How often the premise of an invariant held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Premise {
    /// Runs in which it did.
    pub runs: u64,
    /// How often altogether.
    pub times: u64,
}

impl Default for Coverage {
    fn default() -> Self {
        let moments = [Moment::Before, Moment::After, Moment::Ambiguous];
        let name = |moment| super::variation::moment(moment).to_owned();
        Self {
            crash_points: moments
                .map(|moment| (name(moment), PointCount::default()))
                .into(),
            faults: FaultKind::ALL
                .map(|kind| (kind.as_str().to_owned(), Struck::default()))
                .into(),
            invariants: REGISTRY
                .iter()
                .map(|invariant| (invariant.id.to_owned(), Premise::default()))
                .collect(),
        }
    }
}

impl Coverage {
    pub(super) fn planned(&mut self, moment: Moment, reached: bool) {
        let name = super::variation::moment(moment).to_owned();
        let count = self.crash_points.entry(name).or_default();
        count.planned += 1;
        count.reached += u64::from(reached);
    }

    pub(super) fn struck(&mut self, kind: FaultKind, times: u64) {
        let struck = self.faults.entry(kind.as_str().to_owned()).or_default();
        struck.runs += u64::from(times > 0);
        struck.times += times;
    }

    pub(super) fn premise(&mut self, id: &str, times: u64) {
        let premise = self.invariants.entry(id.to_owned()).or_default();
        premise.runs += u64::from(times > 0);
        premise.times = premise.times.saturating_add(times);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (name, count) in &other.crash_points {
            let sum = self.crash_points.entry(name.clone()).or_default();
            sum.planned += count.planned;
            sum.reached += count.reached;
        }
        for (name, count) in &other.faults {
            let sum = self.faults.entry(name.clone()).or_default();
            sum.runs += count.runs;
            sum.times += count.times;
        }
        for (name, count) in &other.invariants {
            let sum = self.invariants.entry(name.clone()).or_default();
            sum.runs += count.runs;
            sum.times = sum.times.saturating_add(count.times);
        }
    }

    /// `(reached, planned)` of all crash points.
    pub fn points(&self) -> (u64, u64) {
        let counts = self.crash_points.values();
        counts.fold((0, 0), |(reached, planned), count| {
            (reached + count.reached, planned + count.planned)
        })
    }

    /// Kinds of faults that never struck.
    pub fn silent_faults(&self) -> Vec<&str> {
        let silent = self.faults.iter().filter(|(_, struck)| struck.times == 0);
        silent.map(|(name, _)| name.as_str()).collect()
    }

    /// Invariants whose premise never held: nothing is known of what they watch.
    pub fn idle_invariants(&self) -> Vec<&str> {
        let idle = self.invariants.iter().filter(|(_, it)| it.times == 0);
        idle.map(|(name, _)| name.as_str()).collect()
    }
}
