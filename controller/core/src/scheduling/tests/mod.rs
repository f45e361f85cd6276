//! Scheduling by rule family, over text fixtures.

mod basics;

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
