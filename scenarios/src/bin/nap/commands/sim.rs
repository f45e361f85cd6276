//! `nap sim`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use scenarios::report;
use scenarios::suite::{self, Case, Result};
use scenarios::sweep::Variation;
use scenarios::world::discrete::RunOptions;
use scenarios::world::ports::CrashPoint;

use crate::commands::{Output, World};
use crate::exit::{ENVIRONMENT, OK, USAGE, data, talk};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Scenario files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Instead of the scenario's seed
    #[arg(long)]
    seed: Option<u64>,
    /// Scenarios at a time; default: one per processor
    #[arg(long)]
    jobs: Option<usize>,
    /// Instead of a parameter's default, or of all values of a matrix; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Where scenarios run
    #[arg(long, value_enum, default_value_t = World::Discrete)]
    world: World,
    /// How much faster than real time to run (world live)
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// The shipped nap-controller (world live); default: the one beside nap
    #[arg(long)]
    controller: Option<PathBuf>,
    /// Folder for report.html; default: target/nap/<scenario>
    #[arg(long)]
    report: Option<PathBuf>,
    /// File for the trace, one JSON object per line
    #[arg(long)]
    trace: Option<PathBuf>,
    /// File for results as `JUnit` XML
    #[arg(long)]
    junit: Option<PathBuf>,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Draw faults from the seed, beside the scenario's own
    #[arg(long)]
    swarm: bool,
    /// Kill the controller before or after its N-th write, or lose the answer to it: before:N,
    /// after:N, ambiguous:N
    #[arg(long, value_name = "POINT", value_parser = Variation::point)]
    crash: Option<CrashPoint>,
    /// Run tasks strictly in the order in which they are woken
    #[arg(long)]
    no_jitter: bool,
}

impl Arguments {
    /// Parameters by name; of several values for one, the last.
    fn parameters(&self) -> BTreeMap<String, String> {
        self.set.iter().cloned().collect()
    }
}

fn assignment(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write a parameter's name and value, for example pods=10")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

pub(crate) fn run(arguments: &Arguments) -> u8 {
    if arguments.trace.is_some() && arguments.files.len() > 1 {
        talk("error: --trace takes one scenario; run several files one at a time to trace them");
        return USAGE;
    }
    let disturbed = arguments.swarm || arguments.crash.is_some();
    match arguments.world.simulated() {
        Some(world) => simulated(arguments, world),
        None if disturbed => {
            talk("error: --swarm and --crash need a simulated world");
            USAGE
        }
        None => crate::commands::live::run(&crate::commands::live::Live {
            files: &arguments.files,
            seed: arguments.seed,
            time_scale: arguments.time_scale,
            controller: arguments.controller.as_deref(),
            report: arguments.report.as_deref(),
            trace: arguments.trace.as_deref(),
            output: arguments.output,
            junit: arguments.junit.as_deref(),
        }),
    }
}

fn simulated(arguments: &Arguments, world: scenarios::format::World) -> u8 {
    let options = RunOptions {
        world,
        seed: arguments.seed,
        jitter: !arguments.no_jitter,
        keep_trace: arguments.trace.is_some(),
        real_limit: Duration::from_mins(10),
        ..RunOptions::default()
    };
    let variation = Variation {
        swarm: arguments.swarm,
        point: arguments.crash,
    };
    let jobs = arguments
        .jobs
        .unwrap_or_else(crate::commands::campaign::processors);
    let mut trouble = None;
    let mut emit = |case: &Case| {
        if let Err(message) = emit(
            case,
            arguments.report.as_deref(),
            arguments.trace.as_deref(),
            arguments.output,
        ) {
            trouble = Some(message);
        }
    };
    let cases = suite::run_files(
        &arguments.files,
        &arguments.parameters(),
        jobs,
        (&options, variation),
        &mut emit,
    );
    finish(
        &cases,
        arguments.output,
        arguments.junit.as_deref(),
        trouble,
    )
}

/// Where the report of a scenario goes.
pub(crate) fn report_folder(given: Option<&Path>, scenario: &str) -> PathBuf {
    given.map_or_else(
        || PathBuf::from("target/nap").join(scenario),
        Path::to_owned,
    )
}

/// Writes report and trace of one case and prints it.
pub(crate) fn emit(
    case: &Case,
    report_folder: Option<&Path>,
    trace: Option<&Path>,
    output: Output,
) -> std::result::Result<(), String> {
    let mut written = None;
    let mut trouble = None;
    if let Result::Ran(outcome) = &case.result {
        let folder = self::report_folder(report_folder, &outcome.scenario);
        match report::write(&folder, outcome, &suite::reproduce(case, outcome)) {
            Ok(path) => written = Some(path),
            Err(error) => trouble = Some(format!("{}: {error}", folder.display())),
        }
        if let Some(path) = trace
            && let Err(error) = scenarios::trace::write(path, &outcome.trace)
        {
            trouble = Some(format!("{}: {error}", path.display()));
        }
    }
    if output == Output::Human {
        let text = suite::render_human(case, written.as_deref());
        match &case.result {
            Result::Ran(_) => data(&format!("{text}\n")),
            _ => talk(&text),
        }
    } else if !matches!(case.result, Result::Ran(_)) {
        talk(&suite::render_human(case, None));
    }
    trouble.map_or(Ok(()), Err)
}

/// Prints what concerns all cases; answers with the exit code.
pub(crate) fn finish(
    cases: &[Case],
    output: Output,
    junit: Option<&Path>,
    mut trouble: Option<String>,
) -> u8 {
    if output == Output::Json {
        data(&format!("{:#}\n", suite::render_json(cases)));
    } else if cases.len() > 1 {
        let failed = cases
            .iter()
            .filter(|case| case.result.exit_code() != 0)
            .count();
        data(&format!(
            "{} of {} scenarios passed\n",
            cases.len() - failed,
            cases.len()
        ));
    }
    if let Some(path) = junit {
        let written = suite::junit(cases)
            .map_err(|error| error.to_string())
            .and_then(|text| std::fs::write(path, text).map_err(|error| error.to_string()));
        if let Err(error) = written {
            trouble = Some(format!("{}: {error}", path.display()));
        }
    }
    if let Some(message) = trouble {
        talk(&format!("error: {message}"));
        return ENVIRONMENT;
    }
    // Invalid input outranks a missing verdict, which outranks a failure.
    let codes: Vec<u8> = cases.iter().map(|case| case.result.exit_code()).collect();
    [2, 3, 4, 1]
        .into_iter()
        .find(|code| codes.contains(code))
        .unwrap_or(OK)
}
