//! The quickstart under each kind of fault alone: it strikes, and all comes right afterwards.

use std::path::Path;
use std::time::Duration;

use scenarios::faults::{FaultKind, FaultPlan, ProcessFault, Rule};
use scenarios::format::Scenario;
use scenarios::world::Outcome;
use scenarios::world::discrete::{RunOptions, run};
use scenarios::world::ports::Moment;

fn under(change: impl FnOnce(&mut FaultPlan)) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog");
    let scenario = Scenario::load(&folder.join("quickstart.yaml")).expect("the quickstart");
    let mut plan = FaultPlan::none(1);
    change(&mut plan);
    let options = RunOptions {
        faults: Some(plan),
        keep_trace: true,
        ..RunOptions::default()
    };
    run(&scenario, &options).expect("an outcome")
}

fn check(outcome: &Outcome, kind: FaultKind) {
    assert_eq!(outcome.failures(), Vec::<String>::new(), "{kind}");
    assert!(
        outcome.faults.get(&kind).is_some_and(|count| *count > 0),
        "{kind} did not strike"
    );
}

#[test]
fn every_kind_of_request_fault_is_survived() {
    for &kind in FaultKind::REQUESTS {
        // The controller reads the newest state or nothing: there is nothing to be stale.
        if kind == FaultKind::StaleRead {
            continue;
        }
        // There is a watch per kind, and it lasts as long as the scenario.
        let permille = match kind {
            FaultKind::WatchCut
            | FaultKind::WatchDelay
            | FaultKind::Expired
            | FaultKind::SlowConsumer => 700,
            _ => 200,
        };
        let outcome = under(|plan| plan.rules.push(Rule::new(kind, permille)));
        check(&outcome, kind);
    }
}

#[test]
fn little_works_until_faults_are_over_and_everything_afterwards() {
    let outcome = under(|plan| {
        plan.rules.push(Rule::new(FaultKind::ResetBefore, 600));
        plan.until = Some(Duration::from_mins(12));
    });
    check(&outcome, FaultKind::ResetBefore);
}

#[test]
fn crashes_and_pauses_are_survived() {
    let restart_after = Duration::from_secs(10);
    for fault in [
        ProcessFault::CrashAtWrite {
            write: 7,
            moment: Moment::After,
            restart_after,
        },
        ProcessFault::CrashAtAwait {
            task: String::new(),
            poll: 900,
            restart_after,
        },
        ProcessFault::Pause {
            at: Duration::from_secs(5),
            lasts: Duration::from_secs(50),
        },
    ] {
        let kind = fault.kind();
        let outcome = under(|plan| plan.process.push(fault));
        check(&outcome, kind);
    }
}

#[test]
fn a_leader_that_stands_still_is_followed_and_ends_when_it_learns_of_it() {
    let outcome = under(|plan| {
        plan.standby = true;
        plan.process.push(ProcessFault::Failover {
            at: Duration::from_secs(6),
        });
    });
    check(&outcome, FaultKind::Failover);
    let processes: Vec<String> = outcome
        .trace
        .iter()
        .filter(|line| line.contains(r#""k":"proc""#))
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("a record");
            let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
            format!("{} {}", text("p"), text("what"))
        })
        .collect();
    assert_eq!(
        processes,
        [
            "controller#1 start",
            "controller#2 start",
            "controller#1 pause",
            "controller#1 resume",
            "controller#1 exit",
            "controller#3 start",
            "controller#2 stop",
            "controller#3 stop",
        ]
    );
}

#[test]
fn a_swarm_seed_has_one_trace() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog");
    let scenario = Scenario::load(&folder.join("quickstart.yaml")).expect("the quickstart");
    for seed in 1..4 {
        let options = RunOptions {
            seed: Some(seed),
            swarm: true,
            ..RunOptions::default()
        };
        let hashes: Vec<String> = (0..2)
            .map(|_| run(&scenario, &options).expect("an outcome").hash)
            .collect();
        assert_eq!(hashes[0], hashes[1], "seed {seed}");
    }
}
