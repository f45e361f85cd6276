//! One offline HTML file per run: machines, pods, cost, faults and verdicts on one time axis.
//!
//! The page draws what is embedded in it as JSON and nothing else; `nap replay` computes the same
//! figures from the trace.

mod data;
mod markdown;
mod page;

use std::io;
use std::path::{Path, PathBuf};

use crate::world::Outcome;

#[cfg(feature = "schema")]
pub use data::derived as derived_schema;
pub use data::{Broken, Data, Expected, Fault, FaultCount, Held, SCHEMA_VERSION, schema};
pub use markdown::markdown;
pub use page::page;

/// Writes `report.html` and `summary.md` into a folder, which is made when it is missing;
/// `reproduce` is the command that repeats the run.
///
/// # Errors
///
/// When the folder or a file cannot be written.
pub fn write(folder: &Path, outcome: &Outcome, reproduce: &str) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let data = Data::of(outcome, reproduce);
    let path = folder.join("report.html");
    std::fs::write(&path, page(&data))?;
    std::fs::write(folder.join("summary.md"), markdown(&data))?;
    Ok(path)
}
