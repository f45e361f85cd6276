//! What there is to say about the failures of a campaign: report, trace, minimal scenario.

use std::collections::BTreeSet;
use std::path::Path;

use scenarios::report;
use scenarios::shrink::shrink;
use scenarios::sweep::{Failed, Results};
use scenarios::world::discrete::RunOptions;
use scenarios::world::run;

use crate::exit::talk;

/// Failures that are looked into: the first of each reason. More of them say nothing new, and each
/// is shrunk, which takes minutes.
const LOOKED_INTO: usize = 5;

/// Repeats the first failures with everything recorded, and shrinks them.
pub(crate) fn collect(
    folder: &Path,
    options: &RunOptions,
    results: &mut Results,
    failed: &[Failed],
) -> Result<(), String> {
    let mut reasons = BTreeSet::new();
    for (failure, run) in results.failures.iter_mut().zip(failed) {
        let reason = (failure.scenario.clone(), failure.reason().to_owned());
        if reasons.len() == LOOKED_INTO || !reasons.insert(reason) {
            continue;
        }
        let name = format!("{}-{}", reasons.len(), failure.scenario);
        let place = folder.join("failures").join(name);
        one(&place, options, run, &failure.reproduce)
            .map_err(|error| format!("{}: {error}", place.display()))?;
        let place = std::path::absolute(&place).unwrap_or(place);
        failure.evidence = Some(place.display().to_string());
    }
    Ok(())
}

fn one(
    place: &Path,
    options: &RunOptions,
    failed: &Failed,
    reproduce: &str,
) -> std::io::Result<()> {
    std::fs::create_dir_all(place)?;
    let Failed {
        scenario,
        seed,
        variation,
    } = failed;
    let recorded = RunOptions {
        keep_trace: true,
        ..options.clone()
    };
    if let Ok(outcome) = run(scenario, &variation.applied(scenario, *seed, recorded)) {
        report::write(place, &outcome, reproduce)?;
        scenarios::trace::write(&place.join("trace.jsonl"), &outcome.trace)?;
    }
    talk(&format!(
        "shrinking {} seed {seed} {variation}",
        scenario.name
    ));
    match shrink(scenario, *seed, *variation, options) {
        Ok(shrunk) => {
            std::fs::write(place.join("minimal.yaml"), &shrunk.text)?;
            let (runs, lines) = (shrunk.runs, shrunk.lines());
            let file = place.join("minimal.yaml");
            talk(&format!(
                "{}: {lines} lines after {runs} runs",
                file.display()
            ));
        }
        Err(error) => talk(&format!("not shrunk: {error}")),
    }
    Ok(())
}
