//! Scheduling against a brute-force oracle on small worlds.

mod oracle;
mod reuse;
mod world;

use std::collections::BTreeSet;

use controller_core::model::{Pod, Snapshot};
use controller_core::scheduling::{
    MinValuesPolicy, Placement, PreferencePolicy, SchedulingInput, SchedulingOptions, schedule,
};

use oracle::Hits;
use world::Dice;

const WORLDS: u32 = 1_500;

fn place(snapshot: &Snapshot, pods: &[Pod], improvement_steps: u64) -> Placement {
    let options = SchedulingOptions {
        preferences: PreferencePolicy::Respect,
        min_values: MinValuesPolicy::Strict,
        steps_max: 1_000_000,
        improvement_steps,
    };
    schedule(&SchedulingInput {
        snapshot,
        pods,
        excluded: &BTreeSet::new(),
        options,
    })
}

#[test]
fn placements_are_legal_and_no_pod_is_left_out_without_need() {
    let mut dice = Dice(7);
    let mut hits = Hits::default();
    let (mut feasible, mut infeasible) = (0, 0);
    for number in 0..WORLDS {
        let world = world::world(&mut dice);
        let snapshot = world::snapshot(&world);
        snapshot.check().expect("generated snapshots are sound");
        let placement = place(&snapshot, &snapshot.pending, 0);
        let verdict = world::verdict(&world, &placement);
        let placed: usize = verdict.on_hosts.iter().map(Vec::len).sum::<usize>()
            + verdict
                .claims
                .iter()
                .map(|claim| claim.pods.len())
                .sum::<usize>();
        assert_eq!(
            placed + verdict.unplaced.len(),
            world.pods.len(),
            "world {number}"
        );
        if verdict.unplaced.is_empty() {
            feasible += 1;
        } else {
            infeasible += 1;
        }
        let problem = world
            .unsound(&verdict, &mut hits)
            .or_else(|| world.incomplete(&verdict, &mut hits));
        if let Some(problem) = problem {
            panic!("world {number}: {problem}\n{world:#?}\n{verdict:#?}");
        }
    }
    println!("{feasible} feasible, {infeasible} infeasible, {hits:?}");
    let counts = [
        hits.resources,
        hits.zone,
        hits.capacity_type,
        hits.taint,
        hits.alone,
        hits.spread,
        hits.limit,
        hits.sold_out,
        feasible,
        infeasible,
    ];
    assert!(
        counts.iter().all(|&count| count > 0),
        "a rule was never met: {hits:?}"
    );
}

#[test]
fn the_order_of_the_input_does_not_matter() {
    let mut dice = Dice(11);
    for number in 0..WORLDS / 10 {
        let world = world::world(&mut dice);
        let snapshot = world::snapshot(&world);
        let expected = place(&snapshot, &snapshot.pending, 0);
        let mut pods = snapshot.pending.clone();
        for index in (1..pods.len()).rev() {
            pods.swap(index, dice.below(index + 1));
        }
        assert_eq!(place(&snapshot, &pods, 0), expected, "world {number}");
    }
}

#[test]
fn the_cheaper_answer_is_legal_and_never_dearer() {
    let mut dice = Dice(13);
    let mut hits = Hits::default();
    let (mut cheaper, mut equal) = (0, 0);
    for number in 0..WORLDS {
        let world = world::world(&mut dice);
        let snapshot = world::snapshot(&world);
        let compatible = place(&snapshot, &snapshot.pending, 0);
        let improved = place(&snapshot, &snapshot.pending, 1_000_000);
        assert!(improved.cost <= compatible.cost, "world {number}");
        assert!(improved.bound <= improved.cost, "world {number}");
        assert!(
            improved.unschedulable.len() <= compatible.unschedulable.len(),
            "world {number}"
        );
        if improved.cost < compatible.cost {
            cheaper += 1;
        } else {
            equal += 1;
        }
        let verdict = world::verdict(&world, &improved);
        let problem = world
            .unsound(&verdict, &mut hits)
            .or_else(|| world.incomplete(&verdict, &mut hits));
        if let Some(problem) = problem {
            panic!("world {number}: {problem}\n{world:#?}\n{verdict:#?}");
        }
    }
    println!("{cheaper} cheaper, {equal} equal");
    assert!(cheaper > 0 && equal > 0);
}

#[test]
fn one_size_or_node_more_never_leaves_a_pod_out() {
    let mut dice = Dice(17);
    let (mut helped, mut equal) = (0, 0);
    for number in 0..WORLDS / 3 {
        let mut world = world::world(&mut dice);
        // One pod: with several, a new place for one of them may lead the others elsewhere.
        world.pods.truncate(1);
        let before = place(
            &world::snapshot(&world),
            &world::snapshot(&world).pending,
            0,
        );
        let more = world::with_more(&world, &mut dice);
        let snapshot = world::snapshot(&more);
        let after = place(&snapshot, &snapshot.pending, 0);
        let spread = world.pods[0].zone_skew.is_some();
        if before.unschedulable.is_empty() && !spread {
            assert!(after.unschedulable.is_empty(), "world {number}: {more:#?}");
            equal += 1;
        } else if after.unschedulable.is_empty() && !before.unschedulable.is_empty() {
            helped += 1;
        }
    }
    println!("{helped} helped, {equal} still fine");
    assert!(helped > 0 && equal > 0);
}
