//! Loads: shape, amount, repeatability.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::format::Scenario;

fn schedule(section: &str, seed: u64) -> Vec<Step> {
    let text = format!("# It proves.\nname: x\nhorizon: 2d\nload:\n  - {section}\n");
    let scenario = Scenario::parse("x.yaml", &text, Path::new("."));
    scenario.expect("a scenario").load_steps(seed)
}

fn scales(steps: &[Step]) -> Vec<u32> {
    let replicas = steps.iter().filter_map(|step| match &step.action {
        Action::Scale { replicas, .. } => Some(*replicas),
        Action::Apply(manifests) => {
            let replicas = manifests[0].object["spec"]["replicas"].as_u64()?;
            u32::try_from(replicas).ok()
        }
        _ => None,
    });
    replicas.collect()
}

#[test]
fn a_crowd_comes_stays_and_goes() {
    let section = "{name: x, flash: {from: 2, to: 12, at: 1h, rise: 10m, hold: 1h, steps: 2}}";
    let steps = schedule(section, 1);
    assert_eq!(scales(&steps), [2, 7, 12, 2]);
    assert_eq!(steps[2].at, Duration::from_mins(70));
    assert_eq!(steps[3].at, Duration::from_mins(130));
}

#[test]
fn a_day_has_its_peak_when_asked_for() {
    let section = "{name: x, diurnal: {low: 2, high: 40, peakAt: \"20:00\", every: 1h}}";
    let steps = schedule(section, 1);
    // The epoch is 08:00: the quietest hour of this curve.
    let levels = scales(&steps);
    assert_eq!(levels[0], 2);
    assert_eq!(steps[12].at, Duration::from_hours(12));
    assert_eq!(levels[12], 40);
}

#[test]
fn arrivals_are_as_many_and_as_long_as_asked_for() {
    let section = "{name: x, poisson: {perHour: 60, lifetime: 10m}}";
    let steps = schedule(section, 7);
    assert_eq!(steps, schedule(section, 7));
    assert_ne!(steps, schedule(section, 8));
    let arrivals = scales(&steps).len();
    // 2,880 are expected; six standard deviations are 322.
    assert!((2558..=3202).contains(&arrivals), "{arrivals}");
    let mut born = BTreeMap::new();
    let mut lives = Vec::new();
    for step in &steps {
        match &step.action {
            Action::Apply(manifests) => {
                let name = manifests[0].object["metadata"]["name"].to_string();
                born.insert(name.replace('"', ""), step.at);
            }
            Action::Delete(target) => {
                let life = step
                    .at
                    .checked_sub(born[&target.name])
                    .expect("born before it goes");
                lives.push(life.as_secs());
            }
            _ => {}
        }
    }
    let mean = lives.iter().sum::<u64>() / u64::try_from(lives.len()).expect("few");
    assert!((530..=670).contains(&mean), "{mean} s");
}

#[test]
fn batches_differ_and_end() {
    let section = "{name: x, batch: {every: 12h, pods: 10, lasts: 1h, noise: 20}, until: 1d}";
    let steps = schedule(section, 1);
    assert_eq!(steps.len(), 4);
    assert!(scales(&steps).iter().all(|pods| (8..=12).contains(pods)));
}
