//! Virtual machines: starting, following, finding, deleting.
//!
//! Everything of a claim has the claim's name (`aks-<claim>`), so every step can be repeated, by
//! this process or by the next one: a machine that exists is adopted, one that is gone is gone.

pub(crate) mod allocate;
mod body;
mod follow;
mod guest;
mod launch;
mod observe;
mod remove;
mod vm;

use std::time::Duration;

use controller_ports::CreateError;

pub(crate) use observe::VERSION_ANNOTATION;
pub(crate) use vm::Vm;

/// A launch that is not known to have succeeded.
#[derive(Debug)]
pub(crate) enum Launch {
    /// A task follows the operation.
    Followed,
    /// The machine exists; whether its guest has joined shows in its instance view. Last looked
    /// at this time, if ever.
    Accepted(Option<Duration>),
    /// Failed, and nobody has been told yet.
    Failed(CreateError),
}

#[cfg(test)]
mod tests;
