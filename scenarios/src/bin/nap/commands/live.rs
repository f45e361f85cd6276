//! `nap sim --world live`.

use std::path::{Path, PathBuf};

use crate::commands::Output;
use crate::exit::{USAGE, talk};

pub(crate) struct Live<'a> {
    pub(crate) files: &'a [PathBuf],
    pub(crate) seed: Option<u64>,
    pub(crate) time_scale: f64,
    pub(crate) controller: Option<&'a Path>,
    pub(crate) report: Option<&'a Path>,
    pub(crate) output: Output,
    pub(crate) junit: Option<&'a Path>,
}

pub(crate) fn run(_live: &Live<'_>) -> u8 {
    talk("error: live is not here yet");
    USAGE
}
