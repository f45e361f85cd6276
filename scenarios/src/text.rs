//! Appending formatted text to a string.

use std::fmt::{Arguments, Write};

/// Appends `format_args!(…)` without an intermediate string.
pub(crate) fn append(out: &mut String, text: Arguments<'_>) {
    out.write_fmt(text)
        .expect("a string takes whatever is written");
}
