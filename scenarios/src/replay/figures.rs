//! The figures of a run, computed from its trace alone.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::replay::state::State;
use crate::replay::{Line, TraceFile};

/// What a report says in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Hash of the trace.
    pub trace_hash: String,
    /// Records.
    pub trace_records: u64,
    /// Requests of the controller.
    pub requests: u64,
    /// Its writes that count as crash points.
    pub writes: u64,
    /// Machines that were asked for.
    pub machines: u64,
    /// At most this many cost something at once.
    pub peak_machines: u64,
    /// Millionths of a dollar.
    pub cost_micro_dollars: u64,
    /// Pods that were bound to a machine of a NodePool.
    pub pods_placed: u64,
    /// Faults that were recorded.
    pub faults: u64,
    /// Expectations and invariants that failed.
    pub failed: u64,
    /// The end of the run in virtual milliseconds.
    pub virtual_millis: u64,
}

impl TraceFile {
    /// All figures.
    pub fn figures(&self) -> Figures {
        let end = self.end();
        let count = |wanted: &dyn Fn(&Line) -> bool| {
            let lines = self.lines.iter().filter(|line| wanted(line)).count();
            u64::try_from(lines).unwrap_or(u64::MAX)
        };
        let kind = |kind: &'static str| move |line: &Line| line.record && line.kind == kind;
        let writes = self
            .lines
            .iter()
            .filter_map(|line| line.value["write"].as_u64());
        let (cost, peak, state) = self.costs(end);
        Figures {
            trace_hash: self.hash().to_owned(),
            trace_records: self.records(),
            requests: count(&kind("req")),
            writes: writes.max().unwrap_or(0),
            machines: u64::try_from(state.machines.len()).unwrap_or(u64::MAX),
            peak_machines: peak,
            cost_micro_dollars: cost,
            pods_placed: self.placed(),
            faults: count(&kind("fault")),
            failed: count(&|line| line.kind == "assert" && line.value["ok"] == false),
            virtual_millis: end,
        }
    }

    /// Cost until the end, the most machines at once, and the last state.
    fn costs(&self, end: u64) -> (u64, u64, State) {
        let mut state = State::default();
        let (mut sum, mut peak, mut since) = (0_u128, 0, 0);
        for line in self.lines.iter().filter(|line| line.kind == "vm") {
            sum += u128::from(state.per_hour()) * u128::from(line.at.saturating_sub(since));
            since = line.at;
            state.take(line);
            let costly = state
                .machines
                .values()
                .filter(|machine| machine.per_hour > 0);
            peak = peak.max(u64::try_from(costly.count()).unwrap_or(u64::MAX));
        }
        sum += u128::from(state.per_hour()) * u128::from(end.saturating_sub(since));
        (
            u64::try_from(sum / 3_600_000).unwrap_or(u64::MAX),
            peak,
            state,
        )
    }

    /// Pods by uid that were seen on a machine that the cloud had told of by then.
    fn placed(&self) -> u64 {
        let (mut state, mut placed) = (State::default(), BTreeSet::new());
        for line in &self.lines {
            state.take(line);
            if line.kind != "write" || line.value["kind"] != "pods" {
                continue;
            }
            let Some(pod) = state.objects.get(&super::state::key_of(&line.value)) else {
                continue;
            };
            let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
            if state.machines.contains_key(node)
                && let Some(uid) = pod["metadata"]["uid"].as_str()
            {
                placed.insert(uid.to_owned());
            }
        }
        u64::try_from(placed.len()).unwrap_or(u64::MAX)
    }
}
