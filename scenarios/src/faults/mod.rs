//! Trouble that is caused on purpose.
//!
//! ```text
//! Scenario ─┐
//! seed ─────┴▶ FaultPlan ──▶ Injector ──▶ Faulty (around a transport)      requests
//!                   │                                                      (legal: the table)
//!                   └───────▶ world::run                                   the process
//! ```
//!
//! Request faults are drawn by identity (actor, server, verb, what it is about, how manyth), so
//! that taking one away leaves the others as they are. Only what the real services may do is done:
//! [`LEGAL`] lists it, with sources.
//!
//! # Invariants
//!
//! - A fault strikes only requests that its row of [`LEGAL`] names.
//! - Events of a watch are neither lost nor reordered: a stream is complete, late, or broken.
//! - After [`Injector::stop`] nothing goes wrong any more.

mod answers;
mod bootstrap;
mod class;
mod draw;
mod front;
mod kind;
mod layer;
mod legal;
mod plan;
mod stream;

pub use bootstrap::bootstrap;
pub use class::{Class, Verb};
pub use draw::{Fate, Injected, Injector, Outcome, Stream};
pub use front::{Victim, in_front};
pub use kind::FaultKind;
pub use layer::{Faulty, Witness};
pub use legal::{LEGAL, Legal, is_legal};
pub use plan::{BUDGET, FaultPlan, Faults, LINGER, ProcessFault, Rule};
pub(crate) use plan::{legal_at, usual};
