//! Optional persistence: every change is appended to a file before its request is answered.
//!
//! One JSON text a line, in the order of revisions:
//!
//! ```text
//! {"revision":7,"resource":"apps/deployments","key":"default/web","object":{…}}
//! {"revision":8,"resource":"/pods","key":"default/p","object":{…},"deleted":true}
//! {"floor":8}          everything up to here is a snapshot; its history is gone
//! ```
//!
//! The file is handed to the operating system at every change, which a killed process survives.
//! A last line that was cut off belongs to a request nobody was answered, and is dropped. When most
//! of the file is history, opening it writes a snapshot first.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use fake_apiserver_store::{Expect, Store};
use serde_json::{Value, json};

use crate::item::Item;
use crate::machine::Machine;
use crate::registry::Registry;

/// Lines of history that are no reason for a snapshot, however few objects there are.
const HISTORY_MIN: usize = 1000;

/// The mode of a new journal: it holds Secrets.
const PRIVATE: u32 = 0o600;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refuses.
    #[error("{path}: {source}")]
    File {
        /// The journal.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The file holds something else, or was damaged.
    #[error("{path}:{line}: not a line of a journal: {why}")]
    Line {
        /// The journal.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens or makes a journal and brings the store to the state it tells of.
    pub(crate) fn open(
        path: &Path,
        registry: &mut Registry,
        store: &mut Store<Item>,
    ) -> Result<Self, JournalError> {
        let failed = |source| JournalError::File {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(PRIVATE)
            .open(path)
            .map_err(failed)?;
        let (lines, end) = replay(path, &file, registry, store)?;
        let live: usize = registry.spaces().map(|(_, space)| store.len(space)).sum();
        if lines > 2 * live + HISTORY_MIN {
            file = snapshot(path, registry, store).map_err(failed)?;
        } else {
            file.set_len(end).map_err(failed)?;
        }
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    fn append(&mut self, text: &str) {
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            // the request is carried out in memory; refusing it now would leave two truths
            tracing::error!(path = %self.path.display(), %error, "a change was not written to the journal");
        }
    }
}

impl Machine {
    /// Appends what was written after a revision.
    pub(crate) fn record_since(&mut self, revision: u64) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let mut changes = Vec::new();
        for space in self.store.touched(revision) {
            // history of this very request cannot be compacted yet, but for its own compaction
            let Ok(own) = self.store.resume(space, "", revision) else {
                continue;
            };
            changes.extend(own.map(|change| (space, change)));
        }
        changes.sort_by_key(|(_, change)| change.revision);
        let mut text = String::new();
        for (space, change) in changes {
            let mut line = json!({
                "revision": change.revision, "resource": self.registry.name_of(space),
                "key": *change.key, "object": change.value.value(),
            });
            if change.deleted {
                line["deleted"] = true.into();
            }
            text.push_str(&line.to_string());
            text.push('\n');
        }
        journal.append(&text);
    }
}

/// Reads a journal; answers how many lines it has and where the last whole one ends.
fn replay(
    path: &Path,
    file: &File,
    registry: &mut Registry,
    store: &mut Store<Item>,
) -> Result<(usize, u64), JournalError> {
    let mut reader = BufReader::new(file);
    let (mut lines, mut end) = (0, 0);
    let mut text = Vec::new();
    loop {
        text.clear();
        let length = reader
            .read_until(b'\n', &mut text)
            .map_err(|source| JournalError::File {
                path: path.to_owned(),
                source,
            })?;
        if length == 0 || !text.ends_with(b"\n") {
            return Ok((lines, end));
        }
        lines += 1;
        end += length as u64;
        apply(&text, registry, store).map_err(|why| JournalError::Line {
            path: path.to_owned(),
            line: lines,
            why,
        })?;
    }
}

fn apply(text: &[u8], registry: &mut Registry, store: &mut Store<Item>) -> Result<(), String> {
    let mut line: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if let Some(floor) = line["floor"].as_u64() {
        store.skip_to(floor);
        store.compact(floor);
        return Ok(());
    }
    let object = line["object"].take();
    let revision = line["revision"].as_u64().ok_or("no revision")?;
    let key = line["key"].as_str().ok_or("no key")?;
    let resource = line["resource"].as_str().ok_or("no resource")?;
    let (group, plural) = resource.split_once('/').ok_or("no group")?;
    if !object.is_object() || revision <= store.revision() {
        return Err(format!(
            "revision {revision} after {}, or no object",
            store.revision()
        ));
    }
    let space = registry.space_for(group, plural);
    store.skip_to(revision - 1);
    let item = Item::new(object);
    let written = if line["deleted"] == true {
        store.delete(space, key, Expect::Any, item)
    } else {
        store.put(space, key, Expect::Any, item)
    };
    written.map(drop).map_err(|error| error.to_string())
}

/// Writes the present beside the journal and puts it in its place.
fn snapshot(path: &Path, registry: &Registry, store: &mut Store<Item>) -> std::io::Result<File> {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (resource, space) in registry.spaces() {
        for (key, found) in store.range(space, "", None) {
            let line = json!({
                "revision": found.revision, "resource": resource, "key": **key,
                "object": found.value.value(),
            });
            lines.push((found.revision, line.to_string()));
        }
    }
    lines.sort();
    let draft = path.with_extension("draft");
    let mut options = OpenOptions::new();
    options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(PRIVATE);
    let mut file = options.open(&draft)?;
    let mut text = String::new();
    for (_, line) in &lines {
        text.push_str(line);
        text.push('\n');
    }
    let floor = store.revision();
    text.push_str(&json!({ "floor": floor }).to_string());
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    store.compact(floor);
    Ok(file)
}
