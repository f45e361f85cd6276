//! `nap shrink`.

use std::path::PathBuf;

use clap::Args;
use scenarios::format::Scenario;
use scenarios::shrink::{ShrinkError, Shrunk, shrink};
use scenarios::sweep::Variation;
use scenarios::world::discrete::RunOptions;
use scenarios::world::ports::CrashPoint;

use crate::commands::{Output, World};
use crate::exit::{ENVIRONMENT, OK, USAGE, data, talk};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Scenario file
    file: PathBuf,
    /// Seed of a run that fails
    #[arg(long)]
    seed: u64,
    /// The run draws faults from the seed; without this and --crash, both ways are tried
    #[arg(long)]
    swarm: bool,
    /// What happens around a write: before:N, after:N, ambiguous:N
    #[arg(long, value_name = "POINT", value_parser = Variation::point)]
    crash: Option<CrashPoint>,
    /// Where the scenario runs
    #[arg(long, value_enum, default_value_t = World::Discrete)]
    world: World,
    /// File for the minimal scenario; default: target/nap/<scenario>/minimal.yaml
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(crate) fn run(arguments: &Arguments) -> u8 {
    let scenario = match Scenario::load(&arguments.file) {
        Ok(scenario) => scenario,
        Err(error) => {
            talk(&error.render());
            return USAGE;
        }
    };
    let Some(world) = arguments.world.simulated() else {
        talk("error: runs can be shrunk in simulated worlds: discrete, pipes or turmoil");
        return USAGE;
    };
    let options = RunOptions {
        world,
        ..RunOptions::default()
    };
    let shrunk = match shrunk(arguments, &scenario, &options) {
        Ok(shrunk) => shrunk,
        Err(error) => {
            talk(&format!("error: {}: {error}", arguments.file.display()));
            return USAGE;
        }
    };
    let to = arguments.to.clone().unwrap_or_else(|| {
        let folder = crate::commands::sim::report_folder(None, &scenario.name);
        folder.join("minimal.yaml")
    });
    let folder = to.parent().map_or(Ok(()), std::fs::create_dir_all);
    if let Err(error) = folder.and_then(|()| std::fs::write(&to, &shrunk.text)) {
        talk(&format!("error: {}: {error}", to.display()));
        return ENVIRONMENT;
    }
    let to = std::path::absolute(&to).unwrap_or(to);
    match arguments.output {
        Output::Human => {
            data(&shrunk.text);
            talk(&format!(
                "{} lines after {} runs, fails as before: {}",
                shrunk.lines(),
                shrunk.runs,
                shrunk.symptom.id
            ));
            let program = crate::commands::campaign::program();
            talk(&format!(
                "repeat: '{}' sim '{}'",
                program.display(),
                to.display()
            ));
        }
        Output::Json => {
            let value = serde_json::json!({
                "schema_version": 1,
                "file": to,
                "lines": shrunk.lines(),
                "runs": shrunk.runs,
                "variation": shrunk.variation.to_string(),
                "symptom": shrunk.symptom,
            });
            data(&format!("{value:#}\n"));
        }
    }
    OK
}

fn shrunk(
    arguments: &Arguments,
    scenario: &Scenario,
    options: &RunOptions,
) -> Result<Shrunk, ShrinkError> {
    let given = Variation {
        swarm: arguments.swarm,
        point: arguments.crash,
    };
    match shrink(scenario, arguments.seed, given, options) {
        Err(ShrinkError::Passes(_)) if given == Variation::PLAIN => {
            shrink(scenario, arguments.seed, Variation::SWARM, options)
        }
        other => other,
    }
}
