//! Catalogues that are reused answer as those that are compiled anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use controller_core::disruption::{
    DisruptionPolicy, StepBudget, plan_disruption, plan_disruption_with,
};
use controller_core::model::{ConsolidationPolicy, InstanceType, Overhead, PodShape, Snapshot};
use controller_core::quantity::Resources;
use controller_core::requirements::{Operator, RequirementSpec};
use controller_core::scheduling::{
    CompiledCatalogs, MinValuesPolicy, Placement, PreferencePolicy, SchedulingInput,
    SchedulingOptions, schedule, schedule_with,
};
use jiff::Timestamp;

use crate::world::{self, Dice};

const WORLDS: u32 = 300;
const OPTIONS: SchedulingOptions = SchedulingOptions {
    preferences: PreferencePolicy::Respect,
    min_values: MinValuesPolicy::Strict,
    steps_max: 1_000_000,
    improvement_steps: 0,
};

/// Labels of some sizes that allow values nobody has named yet.
fn open_labels(snapshot: &mut Snapshot, dice: &mut Dice) {
    let Some(first) = snapshot.pools.values().next() else {
        return;
    };
    let mut types = (*first.instance_types).clone();
    for instance_type in &mut types {
        let spec = match dice.below(5) {
            0 => RequirementSpec::new("team", Operator::NotIn, ["red".into()]),
            1 => RequirementSpec::new("team", Operator::In, ["red".into(), "blue".into()]),
            2 => RequirementSpec::new("generation", Operator::Gt, ["4".into()]),
            3 => RequirementSpec::new("team", Operator::Exists, []),
            _ => continue,
        };
        instance_type.requirements.push(spec);
        for offering in &mut instance_type.offerings {
            if dice.below(8) == 0 {
                let spec = RequirementSpec::new("rack", Operator::NotIn, ["9".into()]);
                offering.requirements.push(spec);
            }
        }
    }
    let types = Arc::new(types);
    for catalog in snapshot.pools.values_mut() {
        catalog.instance_types = Arc::clone(&types);
        catalog.pool.disruption.policy = ConsolidationPolicy::WhenEmptyOrUnderutilized;
        catalog.pool.disruption.consolidate_after = Some(Duration::ZERO);
        if dice.below(2) == 0 {
            let spec = RequirementSpec::new("team", Operator::Exists, []);
            catalog.pool.requirements.push(spec);
        }
    }
}

/// What only pods name: values, keys and resources.
fn unheard_of(shape: &PodShape, dice: &mut Dice) -> PodShape {
    let mut shape = shape.clone();
    match dice.below(8) {
        0 => drop(shape.node_selector.insert("team".into(), "green".into())),
        1 => drop(shape.node_selector.insert("team".into(), "red".into())),
        2 => drop(shape.node_selector.insert("generation".into(), "7".into())),
        3 => drop(shape.node_selector.insert("rack".into(), "3".into())),
        4 => drop(shape.node_selector.insert("planet".into(), "mars".into())),
        5 => shape.requests.set("example.com/tape", 1),
        6 => shape.required_affinity.push(vec![RequirementSpec::new(
            "team",
            Operator::NotIn,
            ["blue".into(), "white".into()],
        )]),
        _ => {}
    }
    shape
}

/// The same with a size that nobody sells and that has every name pods can ask for: with it, the
/// catalogue is compiled for all of them from the start.
fn with_dictionary(snapshot: &Snapshot) -> Snapshot {
    let mut snapshot = snapshot.clone();
    let Some(first) = snapshot.pools.values().next() else {
        return snapshot;
    };
    let mut types = (*first.instance_types).clone();
    let names = [
        ("team", &["red", "blue", "green", "white"][..]),
        ("generation", &["7"]),
        ("rack", &["3", "9"]),
        ("planet", &["mars"]),
    ];
    let spec = |(key, values): (&str, &[&str])| {
        RequirementSpec::new(key, Operator::In, values.iter().map(|&value| value.into()))
    };
    let mut capacity = Resources::default();
    capacity.set("example.com/tape", 1);
    types.push(InstanceType {
        name: "dictionary-99".into(),
        requirements: names.map(spec).to_vec(),
        offerings: Vec::new(),
        capacity,
        overhead: Overhead::default(),
    });
    let types = Arc::new(types);
    for catalog in snapshot.pools.values_mut() {
        catalog.instance_types = Arc::clone(&types);
    }
    snapshot
}

#[test]
fn reused_catalogues_give_what_fresh_ones_give() {
    let mut dice = Dice(23);
    let excluded = BTreeSet::new();
    let policy = DisruptionPolicy {
        scheduling: OPTIONS,
        spot_to_spot: true,
    };
    let budget = StepBudget {
        simulations_max: 100,
    };
    let now = Timestamp::UNIX_EPOCH + Duration::from_hours(1);
    let (mut placed, mut refused) = (0, 0);
    for number in 0..WORLDS {
        let mut snapshot = world::snapshot(&world::world(&mut dice));
        open_labels(&mut snapshot, &mut dice);
        let bare = Snapshot {
            pools: snapshot.pools.clone(),
            ..Snapshot::default()
        };
        let compiled = CompiledCatalogs::default().refreshed(&bare);
        for pod in &mut snapshot.pending {
            pod.shape = Arc::new(unheard_of(&pod.shape, &mut dice));
        }
        let input = SchedulingInput {
            snapshot: &snapshot,
            pods: &snapshot.pending,
            excluded: &excluded,
            options: OPTIONS,
        };
        let placement = schedule(&input);
        assert_eq!(
            schedule_with(&input, &compiled),
            placement,
            "world {number}"
        );
        let all_known = with_dictionary(&snapshot);
        let other = schedule(&SchedulingInput {
            snapshot: &all_known,
            ..input
        });
        let unplaced = |of: &Placement| of.unschedulable.keys().cloned().collect::<Vec<_>>();
        assert_eq!(other.existing, placement.existing, "world {number}");
        assert_eq!(other.new_claims, placement.new_claims, "world {number}");
        assert_eq!(unplaced(&other), unplaced(&placement), "world {number}");
        placed += placement.new_claims.len();
        refused += placement.unschedulable.len();
        let plan = plan_disruption(&snapshot, &policy, now, budget);
        let reused = plan_disruption_with(&snapshot, &policy, now, budget, &compiled);
        assert_eq!(reused, plan, "world {number}");
    }
    println!("{placed} claims, {refused} pods without a place");
    assert!(placed > 0 && refused > 0);
}
