//! Scenarios over the real controller and both fakes, in virtual time.

pub mod format;
