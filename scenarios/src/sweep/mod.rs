//! Many runs of many scenarios: seeds, crash points, and what they cover.
//!
//! ```text
//! Scenario ─▶ Task (scenario, seed, Variation) ─▶ run on a fresh thread ─▶ Digest
//!                                                                            │ in the order of tasks
//! failures of the past, references, seeds, crash points ─▶ campaign ─────────┴▶ Results
//! ```
//!
//! Runs are spread over threads and, by shards, over machines. What a campaign finds depends on
//! neither: digests are taken in the order of tasks, and results of shards add up.

mod campaign;
mod coverage;
mod past;
mod pool;
mod results;
mod symptom;
mod variation;

pub use campaign::{Campaign, Event, Failed, Shard, campaign};
pub use coverage::{Coverage, PointCount, Premise, Struck};
pub use past::{Past, PastError};
pub use pool::each;
pub use results::{Failure, MergeError, PerScenario, Results, SCHEMA_VERSION};
pub use symptom::{Symptom, symptoms};
pub(crate) use variation::moment as moment_name;
pub use variation::{Variation, VariationError};

/// Scenarios with more writes than this are too large to be swept exhaustively.
pub const WRITES_MAX: u64 = 300;

/// Crash points of scenarios that are not swept exhaustively.
pub const POINTS_DRAWN: usize = 50;
