//! `nap campaign`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use scenarios::format::Scenario;
use scenarios::sweep::{self, Campaign, Failed, Past, Results, Shard};
use scenarios::world::discrete::RunOptions;

use crate::commands::evidence;
use crate::commands::{Output, World};
use crate::exit::{ENVIRONMENT, FAILED, OK, USAGE, data, talk};
use crate::progress::Progress;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Scenario files; default: the whole catalogue
    files: Vec<PathBuf>,
    /// Seeds 1 to N for each scenario, each with faults drawn from it
    #[arg(long, default_value_t = 1, value_name = "N")]
    seeds: u64,
    /// Also kill the controller around its writes, and lose the answers to them
    #[arg(long)]
    crash_points: bool,
    /// Do one part of N
    #[arg(long, value_name = "I/N", value_parser = shard, default_value = "1/1")]
    shard: Shard,
    /// Runs at a time; default: one per processor
    #[arg(long)]
    jobs: Option<usize>,
    /// Where scenarios run
    #[arg(long, value_enum, default_value_t = World::Discrete)]
    world: World,
    /// Runs that failed once, which run first; default: past-failures.txt of the catalogue
    #[arg(long, value_name = "FILE")]
    past: Option<PathBuf>,
    /// Folder for results.json, junit.xml and what there is to say about failures
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Add up the results of all shards
    Merge(MergeArguments),
}

#[derive(Debug, Args)]
struct MergeArguments {
    /// Folders that campaigns wrote with --report
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Folder for the sum
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

fn shard(text: &str) -> Result<Shard, String> {
    let wrong = || format!("'{text}' is no shard: write I/N, for example 2/8");
    let (index, count) = text.split_once('/').ok_or_else(wrong)?;
    match (index.parse(), count.parse()) {
        (Ok(index), Ok(count)) if (1..=count).contains(&index) => Ok(Shard { index, count }),
        _ => Err(wrong()),
    }
}

/// Why a command ends without results.
struct Ended(u8, String);

pub(crate) fn run(arguments: &Arguments) -> u8 {
    let done = match &arguments.part {
        Some(Part::Merge(merge)) => self::merge(merge),
        None => sweep(arguments),
    };
    done.unwrap_or_else(|Ended(code, message)| {
        talk(message.trim_end());
        code
    })
}

fn sweep(arguments: &Arguments) -> Result<u8, Ended> {
    let campaign = plan(arguments)?;
    let mut progress = Progress::new();
    let (mut results, failed) = sweep::campaign(&campaign, |event| progress.show(&event));
    if let Some(folder) = &arguments.report {
        evidence::collect(folder, &campaign.options, &mut results, &failed)
            .map_err(|message| Ended(ENVIRONMENT, format!("error: {message}")))?;
        write(folder, &results, &failed)?;
    }
    print(&results, arguments.output);
    Ok(if results.passed() { OK } else { FAILED })
}

fn plan(arguments: &Arguments) -> Result<Campaign, Ended> {
    let catalogue = arguments.files.is_empty();
    let files = if catalogue {
        let folder = catalogue_folder().ok_or_else(|| {
            let text = "error: no scenarios/catalog here, in a folder above, or beside nap: name \
                        scenario files";
            Ended(ENVIRONMENT, text.to_owned())
        })?;
        scenarios_in(&folder)?
    } else {
        arguments.files.clone()
    };
    let mut scenarios = Vec::new();
    for file in &files {
        for scenario in load(file)? {
            scenarios.push((file.clone(), scenario));
        }
    }
    let list = match &arguments.past {
        Some(list) => Some(list.clone()),
        None => files
            .first()
            .and_then(|file| file.parent())
            .map(|folder| folder.join(PAST))
            .filter(|list| catalogue && list.is_file()),
    };
    let mut past = Vec::new();
    for run in list
        .map_or_else(|| Ok(Vec::new()), |list| Past::read(&list))
        .map_err(usage)?
    {
        for scenario in load(&run.file)? {
            past.push((run.clone(), scenario));
        }
    }
    let world = arguments.world.simulated().ok_or_else(|| {
        let text = "error: campaigns run in simulated worlds: discrete, pipes or turmoil";
        Ended(USAGE, text.to_owned())
    })?;
    Ok(Campaign {
        scenarios,
        past,
        seeds: arguments.seeds,
        crash_points: arguments.crash_points,
        shard: arguments.shard,
        jobs: arguments.jobs.unwrap_or_else(processors),
        catalogue,
        options: RunOptions {
            world,
            ..RunOptions::default()
        },
        program: program(),
    })
}

/// Runs that failed once, beside the catalogue's scenarios or in a report.
const PAST: &str = "past-failures.txt";

fn usage(error: impl std::fmt::Display) -> Ended {
    Ended(USAGE, format!("error: {error}"))
}

/// Every case of a file.
fn load(file: &Path) -> Result<Vec<Arc<Scenario>>, Ended> {
    match Scenario::load_all(file, &BTreeMap::new()) {
        Ok(scenarios) => Ok(scenarios.into_iter().map(Arc::new).collect()),
        Err(error) => Err(Ended(USAGE, error.render())),
    }
}

/// One per processor.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// This program, as commands that are printed spell it.
pub(crate) fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("nap"))
}

/// The catalogue: from the working directory or the program upwards.
pub(crate) fn catalogue_folder() -> Option<PathBuf> {
    let places = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    places.into_iter().flatten().find_map(|place| {
        let folders = place
            .ancestors()
            .map(|folder| folder.join("scenarios/catalog"));
        folders.into_iter().find(|folder| folder.is_dir())
    })
}

/// All scenarios of a folder, in order of names.
pub(crate) fn scenarios_in_folder(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn scenarios_in(folder: &Path) -> Result<Vec<PathBuf>, Ended> {
    scenarios_in_folder(folder)
        .map_err(|error| Ended(ENVIRONMENT, format!("error: {}: {error}", folder.display())))
}

fn merge(arguments: &MergeArguments) -> Result<u8, Ended> {
    let mut parts = Vec::new();
    for folder in &arguments.folders {
        let path = folder.join("results.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| usage(format!("{}: {error}", path.display())))?;
        let part: Results = serde_json::from_str(&text)
            .map_err(|error| usage(format!("{}: {error}", path.display())))?;
        parts.push((path.display().to_string(), part));
    }
    let results = Results::merge(parts).map_err(usage)?;
    if let Some(folder) = &arguments.report {
        write(folder, &results, &[])?;
    }
    print(&results, arguments.output);
    Ok(if results.passed() { OK } else { FAILED })
}

fn print(results: &Results, output: Output) {
    match output {
        Output::Human => data(&results.render()),
        Output::Json => {
            let text = serde_json::to_string_pretty(results).expect("results are plain data");
            data(&format!("{text}\n"));
        }
    }
}

/// Writes everything into a folder; failures of earlier campaigns there are replaced.
fn write(folder: &Path, results: &Results, failed: &[Failed]) -> Result<(), Ended> {
    let broken = |path: &Path, error: &dyn std::fmt::Display| {
        Ended(ENVIRONMENT, format!("error: {}: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| broken(folder, &error))?;
    let json = serde_json::to_string_pretty(results).expect("results are plain data");
    let junit = results.junit().map_err(|error| broken(folder, &error))?;
    let mut past = String::new();
    for (failure, run) in results.failures.iter().zip(failed) {
        let file =
            std::path::absolute(&failure.file).unwrap_or_else(|_| failure.file.clone().into());
        let (seed, variation) = (run.seed, run.variation);
        let line = Past {
            file,
            seed,
            variation,
        };
        past.push_str(&line.line(failure.reason()));
        past.push('\n');
    }
    for (name, text) in [
        ("results.json", format!("{json}\n")),
        ("junit.xml", junit),
        ("summary.md", results.markdown()),
        (PAST, past),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| broken(&path, &error))?;
    }
    Ok(())
}
