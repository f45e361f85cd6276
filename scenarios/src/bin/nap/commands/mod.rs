//! The commands.

mod az_login;
mod campaign;
mod dev;
mod env;
mod live;
mod print;
mod sim;

use clap::{Subcommand, ValueEnum};

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Human,
    /// Versioned JSON.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run scenarios; print the timeline and the verdict
    Sim(sim::Arguments),
    /// Sweep scenarios over seeds and crash points
    Campaign(campaign::Arguments),
    Dev(dev::Arguments),
    Env(env::Arguments),
    AzLogin(az_login::Arguments),
    /// Print the custom resource definitions as YAML
    Crds,
    /// Print a JSON Schema
    Schema(print::SchemaArguments),
    /// Print a completion script for a shell
    Completions(print::CompletionArguments),
}

/// Carries out a command; answers with the exit code.
pub(crate) fn run(command: Command) -> u8 {
    match command {
        Command::Sim(arguments) => sim::run(&arguments),
        Command::Campaign(arguments) => campaign::run(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Env(arguments) => env::run(&arguments),
        Command::AzLogin(arguments) => az_login::run(&arguments),
        Command::Crds => print::crds(),
        Command::Schema(arguments) => print::schema(&arguments),
        Command::Completions(arguments) => print::completions(&arguments),
    }
}
