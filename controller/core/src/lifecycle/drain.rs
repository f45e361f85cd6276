//! Which pods leave a node now, and how (Karpenter `pkg/controllers/node/termination/terminator`).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::{Pod, PodKey};
use crate::taints;

/// Grace after which a terminating pod no longer holds up the drain: its kubelet is gone.
const STUCK_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// Priority from which a pod is critical: `system-cluster-critical`; user-defined classes end at
/// one billion, so the value tells as much as the class name.
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// One step of a drain. Repeat it until nothing is waiting.
#[must_use = "a drain step that nobody carries out leaves the node undrained"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainStep {
    /// Pods to evict through the eviction API now, in name order.
    pub evict: Vec<PodKey>,
    /// Pods to delete because the node's time is up.
    pub force_delete: Vec<ForcedDelete>,
    /// Pods that hold up the drain, those above included. Zero: drained.
    pub waiting: u32,
}

/// A pod to delete with a shortened grace period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForcedDelete {
    /// The pod.
    pub pod: PodKey,
    /// Grace period: whole seconds until the deadline, at least one.
    pub grace: Duration,
}

/// Whether the drain waits for the pod: not finished, does not tolerate the disruption taint, not
/// a mirror pod, not stuck in deletion.
pub fn is_drainable(pod: &Pod, now: Timestamp) -> bool {
    !pod.terminal && !pod.mirror && !tolerates_disruption(pod) && !is_stuck(pod, now)
}

/// Whether the eviction API may be called for the pod: it is active, and nothing forbids it.
pub fn is_evictable(pod: &Pod) -> bool {
    !pod.terminal
        && pod.deletion.is_none()
        && !pod.mirror
        && !pod.do_not_disrupt
        && !tolerates_disruption(pod)
}

/// The next step of draining a node with these pods. `deadline` is when the node's termination
/// grace period ends.
///
/// Pods leave in tiers: ordinary pods, then `DaemonSet` pods, then critical pods, then critical
/// `DaemonSet` pods. A pod that cannot be evicted (`do-not-disrupt`) stays in its tier and holds up
/// the later ones until the deadline forces it.
pub fn drain(pods: &[Pod], deadline: Option<Timestamp>, now: Timestamp) -> DrainStep {
    let mut step = DrainStep::default();
    let mut tiers: [Vec<&Pod>; 4] = Default::default();
    for pod in pods.iter().filter(|pod| is_drainable(pod, now)) {
        step.waiting += 1;
        match deadline {
            Some(deadline) if must_force(pod, deadline, now) => {
                let seconds = deadline.duration_since(now).as_secs().max(1);
                let grace = Duration::from_secs(seconds.unsigned_abs());
                step.force_delete.push(ForcedDelete {
                    pod: pod.key.clone(),
                    grace,
                });
            }
            _ => tiers[tier(pod)].push(pod),
        }
    }
    if let Some(first) = tiers.iter().find(|pods| !pods.is_empty()) {
        step.evict = first
            .iter()
            .filter(|p| is_evictable(p))
            .map(|p| p.key.clone())
            .collect();
    }
    step.evict.sort();
    step.force_delete.sort_by(|a, b| a.pod.cmp(&b.pod));
    step
}

fn tier(pod: &Pod) -> usize {
    let critical = pod.shape.priority >= CRITICAL_PRIORITY;
    usize::from(critical) * 2 + usize::from(pod.shape.daemon)
}

/// Whether the pod has to go now for its grace period to end before the deadline.
fn must_force(pod: &Pod, deadline: Timestamp, now: Timestamp) -> bool {
    if let Some(deletion) = pod.deletion {
        return deletion > deadline;
    }
    let Some(grace) = pod.grace_period else {
        return false;
    };
    SignedDuration::try_from(grace)
        .ok()
        .and_then(|grace| deadline.checked_sub(grace).ok())
        .is_none_or(|latest| now > latest)
}

fn is_stuck(pod: &Pod, now: Timestamp) -> bool {
    pod.deletion
        .is_some_and(|deletion| now.duration_since(deletion) > STUCK_AFTER)
}

fn tolerates_disruption(pod: &Pod) -> bool {
    taints::first_untolerated(&[taints::disrupted()], &pod.shape.tolerations).is_none()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{PodShape, Toleration, TolerationOperator};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number of seconds is a time")
    }

    fn pod(name: &str, shape: PodShape) -> Pod {
        Pod {
            key: PodKey {
                namespace: "default".into(),
                name: name.into(),
            },
            uid: name.into(),
            shape: Arc::new(shape),
            node: None,
            created: at(0),
            do_not_disrupt: false,
            deletion: None,
            terminal: false,
            mirror: false,
            ready: true,
            stateful: false,
            grace_period: Some(Duration::from_secs(30)),
            deletion_cost: 0,
        }
    }

    fn names(step: &DrainStep) -> Vec<&str> {
        step.evict.iter().map(|key| &*key.name).collect()
    }

    #[test]
    fn pods_leave_in_tiers() {
        let daemon = PodShape {
            daemon: true,
            ..PodShape::default()
        };
        let critical = PodShape {
            priority: CRITICAL_PRIORITY,
            ..PodShape::default()
        };
        let tolerant = PodShape {
            tolerations: vec![Toleration {
                key: "".into(),
                operator: TolerationOperator::Exists,
                value: "".into(),
                effect: None,
            }],
            ..PodShape::default()
        };
        let mut pods = vec![
            pod("critical", critical),
            pod("daemon", daemon),
            pod("web", PodShape::default()),
            pod("tolerant", tolerant),
        ];
        let step = drain(&pods, None, at(0));
        assert_eq!((names(&step), step.waiting), (vec!["web"], 3));
        pods.retain(|pod| &*pod.key.name != "web");
        assert_eq!(names(&drain(&pods, None, at(0))), ["daemon"]);
        pods.retain(|pod| &*pod.key.name != "daemon");
        assert_eq!(names(&drain(&pods, None, at(0))), ["critical"]);
        pods.retain(|pod| &*pod.key.name != "critical");
        assert_eq!(drain(&pods, None, at(0)), DrainStep::default());
    }

    #[test]
    fn a_protected_pod_holds_up_the_drain_until_the_deadline_forces_it() {
        let mut protected = pod("protected", PodShape::default());
        protected.do_not_disrupt = true;
        let pods = [protected];
        let step = drain(&pods, None, at(1000));
        assert_eq!((step.evict.len(), step.waiting), (0, 1));
        let early = drain(&pods, Some(at(100)), at(70));
        assert!(early.force_delete.is_empty());
        let late = drain(&pods, Some(at(100)), at(71));
        assert_eq!(late.force_delete[0].grace, Duration::from_secs(29));
        let past = drain(&pods, Some(at(100)), at(500));
        assert_eq!(past.force_delete[0].grace, Duration::from_secs(1));
    }

    #[test]
    fn a_pod_stuck_in_deletion_is_not_waited_for() {
        let mut stuck = pod("stuck", PodShape::default());
        stuck.deletion = Some(at(0));
        assert_eq!(drain(std::slice::from_ref(&stuck), None, at(60)).waiting, 1);
        assert_eq!(drain(std::slice::from_ref(&stuck), None, at(61)).waiting, 0);
    }
}
