//! Exit codes and the two streams.

use std::io::Write;

pub(crate) const OK: u8 = 0;
/// An assertion, invariant or regression failed.
pub(crate) const FAILED: u8 = 1;
/// Usage or invalid input.
pub(crate) const USAGE: u8 = 2;
/// The environment lacks something.
pub(crate) const ENVIRONMENT: u8 = 3;
/// Ctrl-C, or asked to end.
pub(crate) const INTERRUPTED: u8 = 130;

/// Data, on stdout. A reader that has gone away wants no more.
pub(crate) fn data(text: &str) {
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
}

/// Talk, on stderr.
pub(crate) fn talk(text: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(stderr.write_all(text.as_bytes()));
    if !text.ends_with('\n') {
        drop(stderr.write_all(b"\n"));
    }
}
