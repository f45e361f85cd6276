//! The record of a run: one JSON object per line, hashed as it is written.
//!
//! A trace holds every request and answer (with a hash of the body), every chunk of a watch, every
//! write to the store, what the cloud did, decisions, faults, process events and verdicts. It does
//! not hold the seed, wall time, paths or log text, so that it changes only when behaviour does.
//!
//! A trace that is kept says more than is hashed: the last key of a record, `more`, holds the new
//! object or what changed in it, and lines that begin with `aside` tell what the cloud looks like
//! and costs. With them a reader can show any object as it was at any time.

mod compare;
mod diff;
mod record;
mod schema;

use std::fmt;

use crate::text::append;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use serde_json::Value;

pub use compare::{Divergence, compare, context};
pub use diff::{apply, changed, diff};
pub use record::{Aside, Entry, Record};
#[cfg(feature = "schema")]
pub use schema::derived as derived_schema;
pub use schema::schema;

/// Version of the format; the first record says it.
pub const VERSION: u32 = 1;

/// Collects records. Cheap to clone; all clones write to one trace.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    hash: Sha256,
    count: u64,
    lines: Option<Vec<String>>,
    next_id: u64,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace")
    }
}

impl Trace {
    /// An empty trace; `keep` says whether lines are kept beside the hash.
    pub fn new(keep: bool) -> Self {
        let inner = Inner {
            hash: Sha256::new(),
            count: 0,
            lines: keep.then(Vec::new),
            next_id: 0,
        };
        let trace = Self(Arc::new(Mutex::new(inner)));
        trace.record(0, "world", Entry::Header { version: VERSION });
        trace
    }

    /// Appends a record at a virtual time in milliseconds since the start.
    pub fn record(&self, millis: u64, process: &str, entry: Entry<'_>) {
        self.record_with(millis, process, entry, || None);
    }

    /// Appends a record that says more when lines are kept; the hash does not cover that.
    pub fn record_with(
        &self,
        millis: u64,
        process: &str,
        entry: Entry<'_>,
        more: impl FnOnce() -> Option<Value>,
    ) {
        let mut inner = self.lock();
        let record = Record {
            t: millis,
            n: inner.count,
            p: process,
            entry,
        };
        let mut line = serde_json::to_string(&record).expect("records are plain data");
        line.push('\n');
        inner.hash.update(line.as_bytes());
        inner.count += 1;
        if let Some(lines) = &mut inner.lines {
            if let Some(more) = more() {
                line.truncate(line.len() - 2);
                append(&mut line, format_args!("{MORE}{more}}}\n"));
            }
            lines.push(line);
        }
    }

    /// Appends a line that is no record, when lines are kept.
    pub fn aside(&self, millis: u64, aside: impl FnOnce() -> Aside) {
        let mut inner = self.lock();
        if let Some(lines) = &mut inner.lines {
            let (t, aside) = (millis, aside());
            let mut line = serde_json::to_string(&record::Timed { aside, t });
            if let Ok(line) = &mut line {
                line.push('\n');
            }
            lines.push(line.expect("asides are plain data"));
        }
    }

    /// A number for the next request.
    pub fn next_id(&self) -> u64 {
        let mut inner = self.lock();
        inner.next_id += 1;
        inner.next_id
    }

    /// Records so far.
    pub fn len(&self) -> u64 {
        self.lock().count
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hash over all lines so far, in hexadecimal.
    pub fn hash(&self) -> String {
        hex(&self.lock().hash.clone().finalize())
    }

    /// The lines, when they were kept; leaves none behind.
    pub fn take_lines(&self) -> Vec<String> {
        self.lock()
            .lines
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What separates a record from what it says beyond the hash. Quotes inside texts are escaped, so
/// that the first one is the separator.
const MORE: &str = ",\"more\":";

/// The part of a line that is hashed, its end included; `None` for an aside.
pub fn hashed(line: &str) -> Option<String> {
    let line = line.trim_end();
    if line.starts_with("{\"aside\":") {
        return None;
    }
    let record = line
        .split_once(MORE)
        .map(|(record, _)| format!("{record}}}"));
    Some(record.unwrap_or_else(|| line.to_owned()) + "\n")
}

/// Hash over lines as they stand in a file.
pub fn hash_of<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for line in lines.into_iter().filter_map(hashed) {
        hash.update(line.as_bytes());
    }
    hex(&hash.finalize())
}

/// Writes lines to a file.
pub fn write(path: &Path, lines: &[String]) -> io::Result<()> {
    let mut file = io::BufWriter::new(std::fs::File::create(path)?);
    for line in lines {
        file.write_all(line.as_bytes())?;
    }
    file.flush()
}

/// A short hash of a body: equal bodies have equal hashes, and that is all it is used for.
///
/// FNV-1a over words of eight bytes, the last one padded, with the length at the end.
pub fn body_hash(bytes: &[u8]) -> String {
    const PRIME: u64 = 0x0100_0000_01b3;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(PRIME).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        mix(hash, u64::from_le_bytes(*word))
    });
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    hash = mix(hash, u64::from_le_bytes(last));
    hash = mix(hash, bytes.len() as u64);
    format!("{hash:016x}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        append(&mut text, format_args!("{byte:02x}"));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_every_length_differ() {
        let hashes: std::collections::BTreeSet<String> =
            (0..40).map(|length| body_hash(&vec![0; length])).collect();
        assert_eq!(hashes.len(), 40);
        assert_ne!(body_hash(b"abcdefgh1"), body_hash(b"abcdefgh2"));
    }

    #[test]
    fn what_is_said_beyond_the_hash_leaves_it_alone() {
        let run = |keep: bool| {
            let trace = Trace::new(keep);
            let more = || Some(serde_json::json!({"object": {"more": ",\"more\":"}}));
            trace.record_with(
                1,
                "a",
                Entry::Phase {
                    name: "\",\"more\":",
                },
                more,
            );
            trace.aside(2, || Aside::Faults {
                text: "none".to_owned(),
            });
            trace.record(3, "a", Entry::Phase { name: "y" });
            (trace.hash(), trace.take_lines())
        };
        let (kept, lines) = run(true);
        assert_eq!(kept, run(false).0);
        assert_eq!(kept, hash_of(lines.iter().map(String::as_str)));
        assert_eq!(lines.len(), 4);
        for line in &lines {
            serde_json::from_str::<Value>(line).expect("each line is JSON");
        }
    }

    #[test]
    fn equal_records_hash_equally_and_order_matters() {
        let run = |first: &str, second: &str| {
            let trace = Trace::new(true);
            trace.record(1, "a", Entry::Phase { name: first });
            trace.record(1, "a", Entry::Phase { name: second });
            (trace.hash(), trace.take_lines())
        };
        assert_eq!(run("x", "y"), run("x", "y"));
        assert_ne!(run("x", "y").0, run("y", "x").0);
        insta::assert_snapshot!(run("x", "y").1.concat(), @r#"
        {"t":0,"n":0,"p":"world","k":"trace","version":1}
        {"t":1,"n":1,"p":"a","k":"phase","name":"x"}
        {"t":1,"n":2,"p":"a","k":"phase","name":"y"}
        "#);
    }
}
