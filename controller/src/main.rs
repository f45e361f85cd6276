//! `nap-controller`: parses settings, builds production ports, runs the controller.

mod production;

use std::io::Write;
use std::process::ExitCode;

use controller::config::{Command, LoadError, load};

/// Usage errors and invalid settings.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    // Half a controller must not keep running: a panic anywhere ends the process.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    match load(std::env::args_os()) {
        Ok(Command::Run(loaded)) => production::run(*loaded),
        Ok(Command::Print(text)) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_closed) => ExitCode::FAILURE,
        },
        Err(LoadError::Usage(error)) => {
            // Help and version are no errors, and clap knows where each belongs.
            let code = if error.use_stderr() { USAGE } else { 0 };
            error.print().map_or(ExitCode::FAILURE, |()| code.into())
        }
        Err(LoadError::Settings(error)) => {
            production::complain(&error);
            USAGE.into()
        }
    }
}
