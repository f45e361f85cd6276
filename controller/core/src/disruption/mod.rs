//! Which nodes go: emptiness, consolidation, drift.

mod plan;

pub use plan::{
    Blocked, Command, DisruptionPolicy, DisruptionReason, Plan, StepBudget,
};
