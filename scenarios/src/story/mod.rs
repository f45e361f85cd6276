//! What happened in a run, for people: a timeline, the lives of machines and pods, cost over time.
//!
//! Everything is taken from the same changes that go into the trace; nothing here feeds back.

mod chronicle;
mod lanes;
mod reasons;
mod render;

pub use chronicle::{Chronicle, Decision, Happening, Kind};
pub use lanes::{CostStep, Lane, PodSpan};
pub use render::{money, render_timeline, stamp};
