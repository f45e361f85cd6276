//! Runs that failed once: they run first.
//!
//! One per line: the scenario's file, relative to the list; a seed; a variation; after `#` what
//! failed.
//!
//! ```text
//! quickstart.yaml 17 swarm           # invariant no-leaked-nic
//! quickstart.yaml 1 crash after:12   # expect pods.running == 10
//! ```

use std::path::{Path, PathBuf};

use crate::sweep::Variation;

/// A run that failed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The scenario.
    pub file: PathBuf,
    /// Its seed.
    pub seed: u64,
    /// What else was done.
    pub variation: Variation,
}

/// Why a list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// A line says something else.
    #[error("{file}:{line}: {message}; write FILE SEED [swarm] [crash before:N]", file = .file.display())]
    Line {
        /// The list.
        file: PathBuf,
        /// 1-based.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

impl Past {
    /// Reads a list.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or a line is not of the form above.
    pub fn read(list: &Path) -> Result<Vec<Self>, PastError> {
        let text = std::fs::read_to_string(list)
            .map_err(|error| PastError::Unreadable(list.to_owned(), error))?;
        let folder = list.parent().unwrap_or(Path::new("."));
        let mut runs = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            if line.trim().is_empty() {
                continue;
            }
            let run = Self::of(line, folder).map_err(|message| PastError::Line {
                file: list.to_owned(),
                line: index + 1,
                message,
            })?;
            runs.push(run);
        }
        Ok(runs)
    }

    fn of(line: &str, folder: &Path) -> Result<Self, String> {
        let (file, rest) = line.trim().split_once(' ').ok_or("a seed is missing")?;
        let rest = rest.trim();
        let (seed, variation) = rest.split_once(' ').unwrap_or((rest, ""));
        let seed = seed
            .parse()
            .map_err(|error| format!("'{seed}' is no seed: {error}"))?;
        let variation = variation
            .parse()
            .map_err(|error: super::VariationError| error.to_string())?;
        Ok(Self {
            file: folder.join(file),
            seed,
            variation,
        })
    }

    /// The line of a list that says this.
    pub fn line(&self, symptom: &str) -> String {
        let (file, seed, variation) = (self.file.display(), self.seed, self.variation);
        format!("{file} {seed} {variation}  # {symptom}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_mistakes_have_a_line() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let list = folder.path().join("past.txt");
        std::fs::write(
            &list,
            "# what failed\n\na.yaml 7 swarm # x\nb.yaml 1 crash after:3\n",
        )
        .expect("written");
        let runs = Past::read(&list).expect("it can be read");
        assert_eq!(runs[0].file, folder.path().join("a.yaml"));
        assert_eq!((runs[0].seed, runs[0].variation), (7, Variation::SWARM));
        assert!(runs[1].line("x").ends_with("b.yaml 1 crash after:3  # x"));
        for line in ["a.yaml", "a.yaml seven", "a.yaml 7 slowly"] {
            std::fs::write(&list, format!("\n{line}\n")).expect("written");
            let error = Past::read(&list).expect_err("a mistake").to_string();
            assert!(error.contains("past.txt:2: "), "{error}");
        }
    }
}
