//! The scenario file: what it may say, and errors that point at line and column.
//!
//! A scenario is one YAML document; its first comment line says what it proves.
//!
//! ```text
//! text ─▶ tree with places ─▶ parameters filled in ─▶ held against the schema ─▶ typed fields ─▶ Scenario
//! ```
//!
//! The tree remembers where each value stands, so that every later check (durations, expressions,
//! the cloud's own rules, a refusal by the API server) points at the place. Mistakes are gathered:
//! a file with five of them is told about five.

mod cel;
mod check;
mod duration;
mod error;
mod expression;
mod located;
mod observable;
mod params;
mod raw;
mod scenario;
mod suggest;

pub(crate) use suggest::nearest;

pub use cel::Cel;
pub use duration::{DurationError, format_duration, parse_duration};
pub use error::FormatError;
pub use expression::{Comparison, Expression, ExpressionError, Filter, Operator};
pub use located::{Located, Place};
pub use observable::{Kind as ObservableKind, Observable};
#[cfg(feature = "schema")]
pub use raw::derived as derived_schemas;
pub use raw::{observables, schema};
pub use scenario::{
    Action, BootstrapFault, ClusterSettings, ControllerSettings, Curve, Expectation, Load,
    Manifest, Modality, Nodes, ObjectRef, Pods, Pool, QuotaChange, Scenario, Source, Step, Vms,
    World,
};

/// A scenario to begin with: fifteen lines that run as they are.
pub const TEMPLATE: &str = include_str!("../../schema/template.yaml");

#[cfg(test)]
mod tests;
