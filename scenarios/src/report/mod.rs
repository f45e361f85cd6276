//! One offline HTML file per run: a picture of machines, pods and cost, the timeline, the verdict.

mod data;
mod page;
mod picture;

use std::io;
use std::path::{Path, PathBuf};

use crate::world::Outcome;

pub use data::data;
pub use page::page;

/// Writes `report.html` into a folder, which is made when it is missing.
///
/// # Errors
///
/// When the folder or the file cannot be written.
pub fn write(folder: &Path, outcome: &Outcome) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("report.html");
    std::fs::write(&path, page(outcome))?;
    Ok(path)
}
