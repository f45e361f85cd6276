//! Commands that print something built in.

use clap::{Args, CommandFactory, ValueEnum};

use crate::exit::{OK, data};

#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// Of what
    #[arg(value_enum)]
    subject: Subject,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Subject {
    /// Scenario files
    Scenario,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionArguments {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn crds() -> u8 {
    for crd in controller_api::crd::FILES {
        data("---\n");
        data(crd);
    }
    OK
}

pub(crate) fn schema(arguments: &SchemaArguments) -> u8 {
    match arguments.subject {
        Subject::Scenario => {
            let schema = scenarios::format::schema();
            data(&format!("{schema:#}\n"));
        }
    }
    OK
}

pub(crate) fn completions(arguments: &CompletionArguments) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut crate::Cli::command(),
        "nap",
        &mut script,
    );
    data(&String::from_utf8_lossy(&script));
    OK
}
