//! Traces read back: any object as it was at any time, and the figures of a run.
//!
//! A trace file is all there is; nothing here runs anything, and nothing is taken from a report.

mod figures;
mod show;
mod state;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::trace::{VERSION, hash_of};

pub use figures::Figures;
pub use show::{Show, ShowError, overview, show};
pub use state::{Machine, State};

/// A trace that has been read.
#[derive(Clone, Debug)]
pub struct TraceFile {
    lines: Vec<Line>,
    hash: String,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Virtual milliseconds since the start.
    pub at: u64,
    /// Kind of the record, or of the aside.
    pub kind: String,
    /// Whether it is a record, which the hash covers.
    pub record: bool,
    /// All of it.
    pub value: Value,
}

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// A line is something else.
    #[error("{0}:{1}: is no line of a trace: {2}; write one with nap sim FILE --trace FILE")]
    Line(PathBuf, usize, String),
    /// Another version wrote it.
    #[error("{0}: is a trace of version {1}, this nap reads version {VERSION}")]
    Version(PathBuf, u64),
}

impl TraceFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it is no trace, or one of another version.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| TraceError::Unreadable(path.to_owned(), error))?;
        Self::parse(path, &text)
    }

    /// Reads a text; `path` is for messages.
    ///
    /// # Errors
    ///
    /// As for [`TraceFile::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, TraceError> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let wrong =
                |message: &str| TraceError::Line(path.to_owned(), index + 1, message.to_owned());
            let value: Value =
                serde_json::from_str(line).map_err(|error| wrong(&error.to_string()))?;
            let record = value["aside"].is_null();
            let kind = if record { &value["k"] } else { &value["aside"] };
            let (Some(kind), Some(at)) = (kind.as_str(), value["t"].as_u64()) else {
                return Err(wrong("a kind or a time is missing"));
            };
            if index == 0 && kind != "trace" {
                return Err(wrong("the first line does not say its version"));
            }
            let version = value["version"].as_u64().unwrap_or_default();
            if index == 0 && version != u64::from(VERSION) {
                return Err(TraceError::Version(path.to_owned(), version));
            }
            lines.push(Line {
                at,
                kind: kind.to_owned(),
                record,
                value,
            });
        }
        if lines.is_empty() {
            return Err(TraceError::Line(
                path.to_owned(),
                1,
                "it is empty".to_owned(),
            ));
        }
        Ok(Self {
            lines,
            hash: hash_of(text.lines()),
        })
    }

    /// All lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The hash that the run ended with.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Records, asides left out.
    pub fn records(&self) -> u64 {
        let records = self.lines.iter().filter(|line| line.record).count();
        u64::try_from(records).unwrap_or(u64::MAX)
    }

    /// The time of the last line.
    pub fn end(&self) -> u64 {
        self.lines.iter().map(|line| line.at).max().unwrap_or(0)
    }
}
