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
    /// The data embedded in reports
    Report,
    /// Lines of traces
    Trace,
    /// What conditions may count, as JSON
    Observables,
    /// A scenario to begin with, as YAML
    Template,
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
    let schema = match arguments.subject {
        Subject::Scenario => scenarios::format::schema(),
        Subject::Report => scenarios::report::schema(),
        Subject::Trace => scenarios::trace::schema(),
        Subject::Observables => scenarios::format::observables(),
        Subject::Template => {
            data(scenarios::format::TEMPLATE);
            return OK;
        }
    };
    data(&format!("{schema:#}\n"));
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
