//! Pools whose nodes do not register launch little, and their pods hear why.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_api::conditions::Conditioned;
use controller_api::labels;
use controller_core::explain::{Explanation, Reason};
use controller_core::lifecycle::Admission;
use controller_core::model::{NodePoolName, Snapshot};
use controller_core::scheduling::Placement;
use jiff::Timestamp;

use crate::context::Context;
use crate::objects::{is_deleting, label};

/// Pools that may launch one claim or none.
#[derive(Debug, Default)]
pub(crate) struct Held(BTreeMap<NodePoolName, Hold>);

#[derive(Debug)]
struct Hold {
    /// One claim, to see whether its node registers.
    probe: bool,
    cause: Arc<str>,
    until: Option<Timestamp>,
}

impl Hold {
    fn reason(&self) -> Reason {
        Reason::RegistrationBackoff {
            cause: Arc::clone(&self.cause),
            until: self.until,
        }
    }
}

/// Closes, for one decision, the pools that may not launch; [`Held::trim`] does the rest.
pub(crate) fn hold(ctx: &Context, snapshot: &mut Snapshot) -> Held {
    let mut held = BTreeMap::new();
    let now = ctx.now();
    let waiting = ctx.registrations().waiting();
    for name in waiting {
        let in_flight = is_launching(ctx, &name);
        let admission = ctx.registrations().admission(&name, in_flight, now);
        let Some((admission, cause)) = admission else {
            continue;
        };
        let (probe, until) = match admission {
            Admission::Open => continue,
            Admission::Probe => (true, None),
            Admission::Wait(until) => (false, until),
        };
        let name = NodePoolName::new(name);
        if let Some(catalog) = snapshot.pools.get_mut(&name)
            && !probe
        {
            catalog.pool.ready = false;
        }
        held.insert(
            name,
            Hold {
                probe,
                cause,
                until,
            },
        );
    }
    Held(held)
}

/// Closes every pool whose nodes do not register: no disruption replaces a node by one of these.
pub(crate) fn hold_all(ctx: &Context, snapshot: &mut Snapshot) {
    for name in ctx.registrations().waiting() {
        if let Some(catalog) = snapshot.pools.get_mut(&NodePoolName::new(name)) {
            catalog.pool.ready = false;
        }
    }
}

/// Whether a claim of the pool has neither registered nor been given up.
fn is_launching(ctx: &Context, pool: &str) -> bool {
    ctx.objects().claims.values().any(|claim| {
        label(&**claim, labels::NODEPOOL) == Some(pool)
            && !is_deleting(&**claim)
            && !claim.is_condition_true("Registered")
    })
}

impl Held {
    /// Leaves each of these pools at most one new claim, and tells the pods that wait why.
    pub(crate) fn trim(&self, placement: &mut Placement) {
        if self.0.is_empty() {
            return;
        }
        let mut kept: BTreeMap<NodePoolName, u32> = BTreeMap::new();
        let mut waiting = Vec::new();
        placement.new_claims.retain(|claim| {
            let Some(hold) = self.0.get(&claim.pool) else {
                return true;
            };
            let count = kept.entry(claim.pool.clone()).or_default();
            *count += 1;
            let is_kept = hold.probe && *count == 1;
            if !is_kept {
                let pods = claim.pods.iter().cloned();
                waiting.extend(pods.map(|pod| (pod, claim.pool.clone(), hold.reason())));
            }
            is_kept
        });
        for explanation in placement.unschedulable.values_mut() {
            for (pool, reason) in &mut explanation.pools {
                if *reason == Reason::NodeClassNotReady
                    && let Some(hold) = self.0.get(pool)
                {
                    *reason = hold.reason();
                }
            }
        }
        for (pod, pool, reason) in waiting {
            let explanation = Explanation {
                pools: BTreeMap::from([(pool, reason)]),
                ..Explanation::default()
            };
            placement.unschedulable.insert(pod, explanation);
        }
    }
}

#[cfg(test)]
mod tests {
    use controller_core::model::{PodKey, Price};
    use controller_core::quantity::Resources;
    use controller_core::scheduling::NewClaim;

    use super::*;

    fn claim(pool: &str, pod: &str) -> NewClaim {
        NewClaim {
            pool: pool.into(),
            requirements: [].into(),
            instance_types: [].into(),
            price: Price(0),
            requests: Resources::default(),
            pods: vec![key(pod)],
        }
    }

    fn key(pod: &str) -> PodKey {
        PodKey {
            namespace: "default".into(),
            name: pod.into(),
        }
    }

    #[test]
    fn a_probe_is_one_claim_and_the_other_pods_hear_why() {
        let hold = |probe, until| Hold {
            probe,
            cause: "WrongClusterCA".into(),
            until,
        };
        let held = Held(BTreeMap::from([
            ("probing".into(), hold(true, None)),
            ("closed".into(), hold(false, Some(Timestamp::UNIX_EPOCH))),
        ]));
        let closed = Explanation {
            pools: BTreeMap::from([("closed".into(), Reason::NodeClassNotReady)]),
            ..Explanation::default()
        };
        let mut placement = Placement {
            new_claims: vec![
                claim("probing", "a"),
                claim("other", "b"),
                claim("probing", "c"),
                claim("other", "d"),
            ],
            unschedulable: BTreeMap::from([(key("e"), closed)]),
            ..Placement::default()
        };
        held.trim(&mut placement);
        let pools: Vec<&str> = placement
            .new_claims
            .iter()
            .map(|c| c.pool.as_str())
            .collect();
        assert_eq!(pools, ["probing", "other", "other"]);
        let told: Vec<String> = placement
            .unschedulable
            .iter()
            .map(|(pod, explanation)| format!("{pod}: {explanation}"))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        default/c: incompatible with nodepool "probing", its nodes do not register (WrongClusterCA), one more is being tried
        default/e: incompatible with nodepool "closed", its nodes do not register (WrongClusterCA), launching again at 1970-01-01T00:00:00Z
        "#);
    }
}
