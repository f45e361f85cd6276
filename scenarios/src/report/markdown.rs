//! The summary of a run for the page of a CI system: what failed first.

use std::time::Duration;

use crate::report::data::Data;
use crate::story::stamp;
use crate::text::append;

/// A run in some lines of Markdown.
pub fn markdown(data: &Data) -> String {
    let verdict = if data.passed { "passed" } else { "failed" };
    let mut out = format!(
        "### {} {verdict}\n\n{}\n",
        data.scenario,
        cell(&data.proves)
    );
    if let Some(broken) = &data.failure {
        let at = broken
            .at
            .map_or_else(String::new, |at| format!(" at {}", time(at)));
        append(
            &mut out,
            format_args!("\n**{}**{at}: {}\n", cell(&broken.what), cell(&broken.seen)),
        );
        if let Some(event) = &broken.event {
            append(&mut out, format_args!("\nJust before: {}\n", cell(event)));
        }
        append(
            &mut out,
            format_args!("\n```sh\n{}\n```\n", broken.reproduce),
        );
    }
    let met = data.expectations.iter().filter(|it| it.ok).count();
    let held = data.invariants.iter().filter(|it| it.ok).count();
    let cost = data.cost_micro_dollars;
    append(
        &mut out,
        format_args!(
            "\n| Expectations | Invariants | Machines | Pods | Cost | Virtual time | Faults |\n\
             |--:|--:|--:|--:|--:|--:|--:|\n\
             | {met} of {} | {held} of {} | {} | {} | ${}.{:04} | {} | {} |\n",
            data.expectations.len(),
            data.invariants.len(),
            data.machines.len(),
            data.pods_placed,
            cost / 1_000_000,
            cost % 1_000_000 / 100,
            time(data.virtual_millis),
            data.fault_counts.iter().map(|it| it.times).sum::<u64>(),
        ),
    );
    out
}

fn time(millis: u64) -> String {
    stamp(Duration::from_millis(millis))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
