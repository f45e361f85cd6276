//! `nap mutants`.

use std::path::PathBuf;

use clap::Args;

use crate::commands::Output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Scenario files; default: the whole catalogue
    files: Vec<PathBuf>,
    /// Seeds with faults to try in each scenario when scenarios as written notice nothing
    #[arg(long, default_value_t = 5, value_name = "N")]
    seeds: u64,
    /// Only this defect
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Defects at a time; default: one per processor
    #[arg(long)]
    jobs: Option<usize>,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[cfg(not(feature = "mutants"))]
pub(crate) fn run(_: &Arguments) -> u8 {
    crate::exit::talk(
        "error: this nap holds no mutants; build one that does: \
         cargo run --release --features scenarios/mutants --bin nap -- mutants",
    );
    crate::exit::ENVIRONMENT
}

#[cfg(feature = "mutants")]
pub(crate) use planted::run;

#[cfg(feature = "mutants")]
mod planted {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use controller_core::mutants::Mutant;
    use scenarios::format::Scenario;
    use scenarios::mutants::{Row, score};

    use super::Arguments;
    use crate::commands::Output;
    use crate::commands::campaign::{catalogue_folder, processors, scenarios_in_folder};
    use crate::exit::{ENVIRONMENT, FAILED, OK, USAGE, data, talk};

    pub(crate) fn run(arguments: &Arguments) -> u8 {
        let mut files = arguments.files.clone();
        if files.is_empty() {
            let folder = catalogue_folder().unwrap_or_default();
            match scenarios_in_folder(&folder) {
                Ok(found) => files = found,
                Err(error) => {
                    talk(&format!("error: no catalogue: {error}"));
                    return ENVIRONMENT;
                }
            }
        }
        let mut scenarios = Vec::new();
        for file in &files {
            match Scenario::load_all(file, &BTreeMap::new()) {
                Ok(cases) => scenarios.extend(cases.into_iter().map(Arc::new)),
                Err(error) => {
                    talk(&error.render());
                    return USAGE;
                }
            }
        }
        let wanted: Vec<Mutant> = match &arguments.only {
            None => Mutant::ALL.to_vec(),
            Some(name) => Mutant::named(name).into_iter().collect(),
        };
        if wanted.is_empty() {
            let names = Mutant::ALL.map(Mutant::as_str);
            talk(&format!(
                "error: no such mutant; known: {}",
                names.join(", ")
            ));
            return USAGE;
        }
        let jobs = arguments.jobs.unwrap_or_else(processors);
        let human = arguments.output == Output::Human;
        let rows = score(&scenarios, &wanted, (arguments.seeds, jobs), |row| {
            if human {
                data(&line(row));
            }
        });
        let caught = rows.iter().filter(|row| row.caught.is_some()).count();
        if human {
            data(&format!("{caught} of {} mutants caught\n", rows.len()));
        } else {
            let value = serde_json::json!({"schema_version": 1, "mutants": rows});
            data(&format!("{value:#}\n"));
        }
        if caught == rows.len() { OK } else { FAILED }
    }

    fn line(row: &Row) -> String {
        let (mutant, runs) = (&row.mutant, row.runs);
        match &row.caught {
            None => format!("✗ {mutant}: not caught in {runs} runs\n"),
            Some(caught) => format!(
                "✓ {mutant}: {} after {runs} runs ({} seed {} {})\n",
                caught.by, caught.scenario, caught.seed, caught.variation
            ),
        }
    }
}
