//! Trouble that is caused on purpose, as layers around transports.

mod bootstrap;

pub use bootstrap::bootstrap;
