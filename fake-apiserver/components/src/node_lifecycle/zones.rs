//! Health per zone, and how fast nodes of a zone may be given up
//! (`pkg/controller/nodelifecycle.ComputeZoneState`).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::object::{condition_status, text};

/// `--node-eviction-rate` 0.1 per second.
const NORMAL_PAUSE: Duration = Duration::from_secs(10);
/// `--secondary-node-eviction-rate` 0.01 per second.
const SECONDARY_PAUSE: Duration = Duration::from_secs(100);
/// `--large-cluster-size-threshold`: smaller zones evict nothing under partial disruption.
const LARGE_ZONE: usize = 50;

/// What `Ready` says about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Ready,
    NotReady,
    Unknown,
    /// No condition at all.
    NeverSeen,
}

impl Health {
    pub(super) fn read(node: &Value) -> Self {
        match condition_status(node, "Ready") {
            "True" => Self::Ready,
            "False" => Self::NotReady,
            "" => Self::NeverSeen,
            _ => Self::Unknown,
        }
    }
}

/// Region and zone of a node.
pub(super) fn zone_of(node: &Value) -> String {
    let labels = &node["metadata"]["labels"];
    format!(
        "{}/{}",
        text(&labels["topology.kubernetes.io/region"]),
        text(&labels["topology.kubernetes.io/zone"])
    )
}

#[derive(Clone, Copy, Debug, Default)]
struct Zone {
    ready: usize,
    not_ready: usize,
    next_token: Option<Timestamp>,
}

impl Zone {
    fn is_down(&self) -> bool {
        self.ready == 0 && self.not_ready > 0
    }

    /// More than two nodes and at least 55 % are not ready (`--unhealthy-zone-threshold`).
    fn is_partial(&self) -> bool {
        let all = self.ready + self.not_ready;
        !self.is_down() && self.not_ready > 2 && self.not_ready * 100 >= all * 55
    }

    /// Pause between two nodes; `None`: none at all.
    fn pause(&self) -> Option<Duration> {
        if !self.is_partial() {
            Some(NORMAL_PAUSE)
        } else if self.ready + self.not_ready > LARGE_ZONE {
            Some(SECONDARY_PAUSE)
        } else {
            None
        }
    }
}

/// All zones as of the last look.
#[derive(Debug, Default)]
pub(super) struct Zones(BTreeMap<String, Zone>);

impl Zones {
    pub(super) fn assess<'a>(&mut self, nodes: impl Iterator<Item = (&'a str, Health)>) {
        for zone in self.0.values_mut() {
            zone.ready = 0;
            zone.not_ready = 0;
        }
        for (name, health) in nodes {
            let zone = self.0.entry(name.to_owned()).or_default();
            match health {
                Health::Ready => zone.ready += 1,
                _ => zone.not_ready += 1,
            }
        }
        self.0.retain(|_, zone| zone.ready + zone.not_ready > 0);
    }

    /// Every zone is down: the controller doubts itself rather than the nodes.
    pub(super) fn all_down(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(Zone::is_down)
    }

    /// Takes the right to give up one node of a zone.
    pub(super) fn take(&mut self, name: &str, now: Timestamp) -> bool {
        let Some(zone) = self.0.get_mut(name) else {
            return false;
        };
        let Some(pause) = zone.pause() else {
            return false;
        };
        if zone.next_token.is_some_and(|at| at > now) {
            return false;
        }
        zone.next_token = Some(now + pause);
        true
    }

    /// When a node of the zone may next be given up.
    pub(super) fn next_token(&self, name: &str) -> Option<Timestamp> {
        let zone = self.0.get(name)?;
        zone.pause().and(zone.next_token)
    }
}
