//! One step of a rollout, as a value (`deployment/rolling.go`, `recreate.go`, `sync.go`).

use serde_json::Value;

use super::sets::{MAX, SetView, inherited};
use crate::object::{number, text};

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Create the set of the current template.
    Create {
        replicas: i64,
    },
    Scale(Vec<Scaling>),
    /// Bring annotations of the current set up to date.
    Touch(usize),
    Nothing,
}

/// A set and the size it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scaling {
    /// Index into the sets.
    pub(super) set: usize,
    pub(super) replicas: i64,
    /// The annotations about the wished size stay as they are.
    pub(super) keep_size: bool,
}

impl Plan {
    fn scale_one(set: usize, replicas: i64) -> Self {
        Self::Scale(vec![Scaling {
            set,
            replicas,
            keep_size: false,
        }])
    }
}

/// The next step of a rollout. `newest` is the set of the current template.
pub(super) fn step(deployment: &Value, sets: &[SetView], newest: Option<usize>) -> Plan {
    let wished = number(&deployment["spec"]["replicas"]);
    let recreate = is_recreate(deployment);
    let old: Vec<usize> = (0..sets.len())
        .filter(|index| Some(*index) != newest)
        .collect();
    if recreate {
        let running: Vec<Scaling> = old
            .iter()
            .filter(|index| sets[**index].replicas > 0)
            .map(|index| Scaling {
                set: *index,
                replicas: 0,
                keep_size: false,
            })
            .collect();
        if !running.is_empty() {
            return Plan::Scale(running);
        }
        // Old pods must be gone before new ones come.
        if old
            .iter()
            .any(|index| sets[*index].current + sets[*index].terminating > 0)
        {
            return Plan::Nothing;
        }
    }
    let Some(index) = newest else {
        let all: i64 = sets.iter().map(|set| set.replicas).sum();
        let replicas = if recreate {
            wished
        } else {
            grown(deployment, all, 0)
        };
        return Plan::Create { replicas };
    };
    let set = &sets[index];
    if is_stale(deployment, sets, index) {
        return Plan::Touch(index);
    }
    if set.replicas > wished {
        return Plan::scale_one(index, wished);
    }
    let all: i64 = sets.iter().map(|set| set.replicas).sum();
    let target = if recreate {
        wished
    } else {
        grown(deployment, all, set.replicas)
    };
    if target != set.replicas {
        return Plan::scale_one(index, target);
    }
    if recreate {
        Plan::Nothing
    } else {
        shrink_old(deployment, sets, index, &old)
    }
}

/// Whether annotations of the current set lag behind.
fn is_stale(deployment: &Value, sets: &[SetView], index: usize) -> bool {
    let set = sets[index].object.value();
    let delay = |object: &Value| number(&object["spec"]["minReadySeconds"]);
    inherited(deployment, sets, index) != set["metadata"]["annotations"]
        || delay(deployment) != delay(set)
}

/// How large the new set may be (`NewRSNewReplicas`).
fn grown(deployment: &Value, all: i64, mine: i64) -> i64 {
    let wished = number(&deployment["spec"]["replicas"]);
    let room = wished + max_surge(deployment) - all;
    if room <= 0 {
        mine
    } else {
        mine + room.min(wished - mine).max(0)
    }
}

/// Takes old pods away as far as availability allows (`reconcileOldReplicaSets`).
fn shrink_old(deployment: &Value, sets: &[SetView], newest: usize, old: &[usize]) -> Plan {
    let wished = number(&deployment["spec"]["replicas"]);
    let least = wished - max_unavailable(deployment);
    let old_size: i64 = old.iter().map(|index| sets[*index].replicas).sum();
    if old_size == 0 {
        return Plan::Nothing;
    }
    let all: i64 = sets.iter().map(|set| set.replicas).sum();
    let lagging = sets[newest].replicas - sets[newest].available;
    let mut spare = all - least - lagging;
    if spare <= 0 {
        return Plan::Nothing;
    }
    let mut sizes: Vec<i64> = sets.iter().map(|set| set.replicas).collect();
    // Unhealthy pods first: they serve nobody.
    for index in old {
        let unhealthy = (sizes[*index] - sets[*index].available).max(0).min(spare);
        sizes[*index] -= unhealthy;
        spare -= unhealthy;
    }
    let available: i64 = sets.iter().map(|set| set.available).sum();
    let mut more = (available - least).max(0);
    for index in old {
        let healthy = sizes[*index].min(more);
        sizes[*index] -= healthy;
        more -= healthy;
    }
    changed(sets, &sizes)
}

fn changed(sets: &[SetView], sizes: &[i64]) -> Plan {
    let scalings: Vec<Scaling> = sets
        .iter()
        .zip(sizes)
        .enumerate()
        .filter(|(_, (set, size))| set.replicas != **size)
        .map(|(index, (_, size))| Scaling {
            set: index,
            replicas: *size,
            keep_size: false,
        })
        .collect();
    if scalings.is_empty() {
        Plan::Nothing
    } else {
        Plan::Scale(scalings)
    }
}

/// Reacts to a changed wish (`sync.go`, `scale`): the only active set takes it all, several share
/// it in proportion.
pub(super) fn scale(deployment: &Value, sets: &[SetView], newest: Option<usize>) -> Plan {
    let wished = number(&deployment["spec"]["replicas"]);
    let active: Vec<usize> = (0..sets.len())
        .filter(|index| sets[*index].replicas > 0)
        .collect();
    let single = match active.as_slice() {
        [] => newest,
        [only] => Some(*only),
        _ => None,
    };
    if let Some(index) = single {
        let right_size = sets[index].replicas == wished && sets[index].knows_wish(wished);
        return if right_size {
            Plan::Nothing
        } else {
            Plan::scale_one(index, wished)
        };
    }
    if active.is_empty() || is_recreate(deployment) {
        return Plan::Nothing;
    }
    if let Some(index) = newest
        && sets[index].replicas == wished
        && sets[index].available == wished
    {
        let mut sizes = vec![0; sets.len()];
        sizes[index] = wished;
        return changed(sets, &sizes);
    }
    proportional(deployment, sets, &active)
}

fn proportional(deployment: &Value, sets: &[SetView], active: &[usize]) -> Plan {
    let wished = number(&deployment["spec"]["replicas"]);
    let allowed = if wished > 0 {
        wished + max_surge(deployment)
    } else {
        0
    };
    let all: i64 = active.iter().map(|index| sets[*index].replicas).sum();
    let to_add = allowed - all;
    let mut order = active.to_vec();
    // The larger first; of equals the newer when growing, the older when shrinking.
    order.sort_by(|a, b| {
        let size = sets[*b].replicas.cmp(&sets[*a].replicas);
        size.then(if to_add > 0 { b.cmp(a) } else { a.cmp(b) })
    });
    let mut left = to_add;
    let mut sizes: Vec<i64> = sets.iter().map(|set| set.replicas).collect();
    for index in &order {
        if to_add == 0 {
            break;
        }
        let share = share(deployment, &sets[*index], allowed, to_add, left);
        sizes[*index] += share;
        left -= share;
    }
    if let Some(first) = order.first() {
        sizes[*first] = (sizes[*first] + left).max(0);
    }
    let scalings = order
        .iter()
        .map(|index| Scaling {
            set: *index,
            replicas: sizes[*index],
            keep_size: false,
        })
        .collect();
    Plan::Scale(scalings)
}

/// The part of a change one set takes (`getReplicaSetFraction`).
fn share(deployment: &Value, set: &SetView, allowed: i64, to_add: i64, left: i64) -> i64 {
    let wished = number(&deployment["spec"]["replicas"]);
    if wished == 0 {
        return -set.replicas;
    }
    let annotated = text(&set.object.value()["metadata"]["annotations"][MAX]).parse::<i64>();
    let before = annotated
        .ok()
        .filter(|max| *max > 0)
        .unwrap_or(wished)
        .max(1);
    // Rounded half away from zero.
    let doubled = set.replicas * allowed * 2;
    let fair = (doubled + before) / (2 * before) - set.replicas;
    if to_add > 0 {
        fair.min(left).max(0)
    } else {
        fair.max(left).min(0)
    }
}

fn is_recreate(deployment: &Value) -> bool {
    text(&deployment["spec"]["strategy"]["type"]) == "Recreate"
}

/// `maxSurge`, percentages rounded up; 25 % when absent, 0 for other strategies.
pub(super) fn max_surge(deployment: &Value) -> i64 {
    bounds(deployment).0
}

/// `maxUnavailable`, percentages rounded down; 25 % when absent.
pub(super) fn max_unavailable(deployment: &Value) -> i64 {
    bounds(deployment).1
}

fn bounds(deployment: &Value) -> (i64, i64) {
    let wished = number(&deployment["spec"]["replicas"]);
    if is_recreate(deployment) || wished == 0 {
        return (0, 0);
    }
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    let read = |value: &Value, up: bool| match value.as_i64() {
        Some(number) => number,
        None => {
            let percent = value.as_str().unwrap_or("25%").trim_end_matches('%');
            let percent: i64 = percent.parse().unwrap_or(25);
            (wished * percent + if up { 99 } else { 0 }) / 100
        }
    };
    let surge = read(&rolling["maxSurge"], true);
    let unavailable = read(&rolling["maxUnavailable"], false);
    // Both zero would stop the rollout for ever.
    let unavailable = if surge == 0 && unavailable == 0 {
        1
    } else {
        unavailable
    };
    (surge, unavailable.min(wished))
}
