//! `nap campaign`.

use std::path::PathBuf;

use clap::Args;
use scenarios::format::Scenario;
use scenarios::sweep::{self, Sweep};
use scenarios::world::discrete::{RunOptions, run as run_one};

use crate::commands::Output;
use crate::exit::{ENVIRONMENT, FAILED, OK, USAGE, data, talk};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Scenario files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Seeds 1 to N for each scenario
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Also kill the controller before and after each of its writes
    #[arg(long)]
    crash_points: bool,
    /// Runs at a time; default: one per processor
    #[arg(long)]
    jobs: Option<usize>,
    /// Folder for results.json
    #[arg(long)]
    report: Option<PathBuf>,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(crate) fn run(arguments: &Arguments) -> u8 {
    let jobs = arguments
        .jobs
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let (mut code, mut rows) = (OK, Vec::new());
    for file in &arguments.files {
        let scenario = match Scenario::load(file) {
            Ok(scenario) => scenario,
            Err(error) => {
                talk(&error.render());
                return USAGE;
            }
        };
        for seed in 1..=arguments.seeds {
            let options = RunOptions {
                seed: Some(seed),
                ..RunOptions::default()
            };
            match one(&scenario, &options, arguments.crash_points, jobs) {
                Ok(sweep) => {
                    if !sweep.failures.is_empty() {
                        code = FAILED;
                    }
                    if arguments.output == Output::Human {
                        data(&sweep.render(&scenario.name, seed));
                    }
                    rows.push(sweep.json(&scenario.name, seed));
                }
                Err(message) => {
                    talk(&format!("{}: {message}", file.display()));
                    code = code.max(FAILED);
                }
            }
        }
    }
    let results = serde_json::json!({"schema_version": 1, "rows": rows});
    if arguments.output == Output::Json {
        data(&format!("{results:#}\n"));
    }
    if let Some(folder) = &arguments.report {
        let path = folder.join("results.json");
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, format!("{results:#}\n")));
        if let Err(error) = written {
            talk(&format!("error: {}: {error}", path.display()));
            return ENVIRONMENT;
        }
    }
    code
}

fn one(
    scenario: &Scenario,
    options: &RunOptions,
    crash_points: bool,
    jobs: usize,
) -> Result<Sweep, String> {
    if crash_points {
        return sweep::crash_points(scenario, options, jobs).map_err(|error| error.to_string());
    }
    let outcome = run_one(scenario, options).map_err(|error| error.to_string())?;
    Ok(Sweep::single(&outcome))
}
