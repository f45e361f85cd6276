//! Scheduling by rule family, over text fixtures.

mod basics;
mod constraints;
mod pinned;
mod reasons;
mod topology;

use std::collections::BTreeSet;

use super::{Placement, SchedulingInput, schedule};
use crate::fixture::{self, OPTIONS};

fn place(text: &str) -> Placement {
    let fixture = fixture::parse(text);
    schedule(&SchedulingInput {
        snapshot: &fixture.snapshot,
        pods: &fixture.snapshot.pending,
        excluded: &BTreeSet::new(),
        options: OPTIONS,
    })
}

fn check(text: &str) -> String {
    fixture::render_placement(&place(text))
}

fn check_with(text: &str, options: super::SchedulingOptions) -> String {
    let fixture = fixture::parse(text);
    fixture::render_placement(&schedule(&SchedulingInput {
        snapshot: &fixture.snapshot,
        pods: &fixture.snapshot.pending,
        excluded: &BTreeSet::new(),
        options,
    }))
}
