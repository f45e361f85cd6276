//! The scenario file: what it may say, and errors that point at line and column.
//!
//! A scenario is one YAML document; its first comment line says what it proves. The text is read
//! twice: once into typed fields, which finds misspelt keys and wrong types, and once into a tree
//! that remembers where each value stands, so that later checks (durations, expressions, the
//! cloud's own rules, a refusal by the API server) can point at the place as well.

mod duration;
mod error;
mod expression;
mod located;
mod raw;
mod scenario;
mod suggest;

pub(crate) use suggest::nearest;

pub use duration::{DurationError, format_duration, parse_duration};
pub use error::FormatError;
pub use expression::{Comparison, Expression, ExpressionError, Filter, Observable, Operator};
pub use located::{Located, Place};
pub use raw::schema;
pub use scenario::{
    Action, BootstrapFault, ClusterSettings, ControllerSettings, Expectation, Manifest, Modality,
    ObjectRef, QuotaChange, Scenario, Source, Step, Vms, World,
};

#[cfg(test)]
mod tests;
