//! Checks and generators of this repository.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool"
)]

mod bench;
mod crds;
mod edges;
mod schemas;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  edges                     dependencies between crates are those of the table
  tidy                      what no compiler checks
  gen-crds                  write controller/api/crds from the types
  gen-schemas               write fake-apiserver/data/schemas-*.json from k8s-openapi
  bench [AREA…] [-o json]   run benchmark programs, print their figures and goals;
                            other options go to the programs
";

/// Exit code of wrong usage.
const USAGE_ERROR: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("", arguments.as_slice()),
    };
    let result = match command {
        "edges" => edges::run(&root()),
        "tidy" => tidy::run(&root()),
        "gen-crds" => crds::generate(&root()),
        "gen-schemas" => schemas::generate(&root()),
        "bench" => return report(bench::run(&root(), rest)),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("unknown command {command:?}\n{USAGE}");
            return ExitCode::from(USAGE_ERROR);
        }
    };
    report(result.map(|complaints| {
        for complaint in &complaints {
            eprintln!("{complaint}");
        }
        if complaints.is_empty() {
            println!("{command}: ok");
            return ExitCode::SUCCESS;
        }
        eprintln!("{command}: {} complaint(s)", complaints.len());
        ExitCode::FAILURE
    }))
}

fn report(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).map(PathBuf::from).unwrap_or(own)
}
