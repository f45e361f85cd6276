//! `nap`: run scenarios, or a whole emulated cluster with its controller.

mod commands;
mod exit;
mod interposer;
mod progress;

use std::process::ExitCode;

use clap::Parser;

/// A third of a simulated run's time went into the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(
    name = "nap",
    version,
    about = "Rehearse node auto-provisioning: scenarios in virtual time, or an emulated AKS on this machine"
)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    interposer::install();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help to stdout and errors to stderr.
            drop(error.print());
            let code = if error.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            };
            return ExitCode::from(code);
        }
    };
    ExitCode::from(commands::run(cli.command))
}
