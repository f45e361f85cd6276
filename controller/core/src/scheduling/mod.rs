//! Where pods go: existing nodes, in-flight claims, new claims.

mod placement;

pub use placement::{
    MinValuesPolicy, NewClaim, Placement, PreferencePolicy, SchedulingInput, SchedulingOptions,
};
