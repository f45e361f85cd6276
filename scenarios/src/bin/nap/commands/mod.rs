//! The commands.

mod az_login;
mod campaign;
mod dev;
mod env;
mod evidence;
mod live;
mod mutants;
mod print;
mod replay;
mod shrink;
mod sim;

use clap::{Subcommand, ValueEnum};
use scenarios::format;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Human,
    /// Versioned JSON.
    Json,
}

/// Where scenarios run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum World {
    /// Virtual time, in-process calls
    Discrete,
    /// Virtual time, HTTP over in-memory connections
    Pipes,
    /// Virtual time, HTTP over a simulated network
    Turmoil,
    /// Real sockets, real time, the shipped controller
    Live,
}

impl World {
    /// The world, unless it is real.
    pub(crate) fn simulated(self) -> Option<format::World> {
        match self {
            Self::Discrete => Some(format::World::Discrete),
            Self::Pipes => Some(format::World::Pipes),
            Self::Turmoil => Some(format::World::Turmoil),
            Self::Live => None,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run scenarios; print the timeline and the verdict
    Sim(sim::Arguments),
    /// Sweep scenarios over seeds and crash points
    Campaign(campaign::Arguments),
    /// Make a run that fails into the smallest scenario that fails
    Shrink(shrink::Arguments),
    /// Look into a trace: the world, or one object, as it was at any time
    Replay(replay::Arguments),
    /// Plant defects in the controller and see what catches them
    Mutants(mutants::Arguments),
    /// Show where two traces part
    Compare(replay::CompareArguments),
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
        Command::Shrink(arguments) => shrink::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Mutants(arguments) => mutants::run(&arguments),
        Command::Compare(arguments) => replay::compare(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Env(arguments) => env::run(&arguments),
        Command::AzLogin(arguments) => az_login::run(&arguments),
        Command::Crds => print::crds(),
        Command::Schema(arguments) => print::schema(&arguments),
        Command::Completions(arguments) => print::completions(&arguments),
    }
}
