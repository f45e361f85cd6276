//! `nap env`.

use std::path::PathBuf;

use clap::Args;
use scenarios::world::live::unset;

use crate::commands::dev::{no_home, state_dir};
use crate::exit::{ENVIRONMENT, OK, data, talk};

/// Print what other programs need to find a running nap dev
///
/// For one shell: eval "$(nap env)", and eval "$(nap env --unset)" to take it back.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder that nap dev was given; default: `$XDG_STATE_HOME/nap/dev`
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// Print commands that take the exports back
    #[arg(long)]
    unset: bool,
}

pub(crate) fn run(arguments: &Arguments) -> u8 {
    if arguments.unset {
        data(&unset());
        return OK;
    }
    let Some(folder) = state_dir(arguments.state_dir.as_deref()) else {
        return no_home();
    };
    let path = folder.join("env.sh");
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            data(&text);
            OK
        }
        Err(error) => {
            talk(&format!(
                "error: {}: {error}; start 'nap dev', or name its folder with --state-dir DIR",
                path.display()
            ));
            ENVIRONMENT
        }
    }
}
