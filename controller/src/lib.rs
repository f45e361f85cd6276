//! The controller: one entry point, wired from ports.
