//! The page: what broke first, then figures, the picture, verdicts and the timeline.

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::data::Data;
use crate::story::stamp;

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// The whole document; it loads nothing.
pub fn page(data: &Data) -> String {
    // `<` would end the script element early.
    let embedded = serde_json::to_string(data).expect("reports are plain data");
    let embedded = embedded.replace('<', "\\u003c");
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (data.scenario) " · " (verdict(data)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (header(data))
                    (failure(data))
                    (figures(data))
                    (chart())
                    (judgement(data))
                    (timeline(data))
                    footer {
                        "trace " code { (data.trace_hash) } " · " (data.trace_records)
                        " records · data of this page: " code { "#data" } " (" code { "nap schema report" } ")"
                    }
                }
                script type="application/json" id="data" { (PreEscaped(embedded)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    markup.into_string()
}

fn verdict(data: &Data) -> &'static str {
    if data.passed { "passed" } else { "failed" }
}

fn time(millis: u64) -> String {
    stamp(Duration::from_millis(millis))
}

fn header(data: &Data) -> Markup {
    html! {
        header {
            div.title {
                h1 { (data.scenario) }
                span class=(format!("pill {}", verdict(data))) { (verdict(data)) }
            }
            p.proves { (data.proves) }
            p.meta {
                (data.region) " · world " (data.world) " · seed " (data.seed) " · starts " (data.epoch)
                @if !data.fault_plan.is_empty() { " · faults: " (data.fault_plan) }
            }
        }
    }
}

fn failure(data: &Data) -> Markup {
    html! {
        @if let Some(broken) = &data.failure {
            section.failures {
                h2 { "What broke: " (broken.what) }
                p.seen {
                    @if let Some(at) = broken.at {
                        button.at.jump data-at=(at) title="show in the picture" { (time(at)) }
                    }
                    (broken.seen)
                }
                @if let Some(event) = &broken.event { p { "Just before: " (event) } }
                p.command { code #reproduce { (broken.reproduce) } button #copy { "copy" } }
                @if data.failures.len() > 1 {
                    details {
                        summary { "everything that went wrong (" (data.failures.len()) ")" }
                        ol { @for failure in &data.failures { li { (failure) } } }
                    }
                }
            }
        }
    }
}

fn figures(data: &Data) -> Markup {
    let cost = data.cost_micro_dollars;
    let faults: u64 = data.fault_counts.iter().map(|it| it.times).sum();
    let cards = [
        (
            "cost of the run",
            format!("${}.{:04}", cost / 1_000_000, cost % 1_000_000 / 100),
        ),
        (
            "machines",
            format!("{} (peak {})", data.machines.len(), data.peak_machines),
        ),
        ("pods placed", data.pods_placed.to_string()),
        ("virtual time", time(data.virtual_millis)),
        (
            "requests",
            format!("{} ({} writes)", data.requests, data.writes),
        ),
        ("faults", faults.to_string()),
    ];
    html! {
        section.cards {
            @for (label, value) in &cards {
                div.card { div.value { (value) } div.label { (label) } }
            }
        }
    }
}

fn chart() -> Markup {
    html! {
        section.picture {
            div.tools role="toolbar" aria-label="Time window" {
                button data-do="in" title="zoom in (+)" { "+" }
                button data-do="out" title="zoom out (-)" { "−" }
                button data-do="left" title="earlier (←)" { "←" }
                button data-do="right" title="later (→)" { "→" }
                button data-do="all" title="whole run (0)" { "all" }
                input #filter type="search" placeholder="filter machines, pods, events ( / )"
                    aria-label="Filter";
                button data-do="help" title="keys (?)" { "?" }
                span.window aria-live="polite" {}
            }
            dl.help hidden {
                dt { "+ −" } dd { "zoom, also Ctrl and wheel" }
                dt { "← →" } dd { "earlier, later; dragging does the same" }
                dt { "0" } dd { "whole run" }
                dt { "j k" } dd { "next, previous event; Enter zooms to it" }
                dt { "f" } dd { "next fault" }
                dt { "x" } dd { "what broke" }
                dt { "/" } dd { "filter" }
                dt { "Esc" } dd { "clear the filter, close this" }
            }
            div #chart tabindex="0" role="img"
                aria-label="Cost, faults, verdicts, machines and their pods over time" {
                noscript { "The picture needs scripts; the figures are embedded as JSON in #data." }
            }
            p.legend {
                span.key { i.spot {} "spot" }
                span.key { i.on-demand {} "on-demand" }
                span.key { i.bootkey {} "until the node is ready" }
                span.key { i.podkey {} "pod" }
                span.key { i.faultkey {} "fault" }
                span.key { i.decisionkey {} "decision" }
            }
        }
    }
}

fn judgement(data: &Data) -> Markup {
    html! {
        section.judgement {
            div {
                h2 { "Expectations" }
                ul.checks {
                    @for verdict in &data.expectations {
                        li class=(if verdict.ok { "ok" } else { "bad" }) {
                            span.what { (verdict.what) }
                            button.at.jump data-at=(verdict.at) { (time(verdict.at)) }
                            @if !verdict.ok { div.why { (verdict.seen) } }
                        }
                    }
                    @if data.expectations.is_empty() { li.none { "none" } }
                }
            }
            div {
                h2 { "Invariants" }
                ul.checks {
                    @for invariant in &data.invariants {
                        li class=(if invariant.ok { "ok" } else { "bad" }) title=(invariant.doc) {
                            span.what { (invariant.id) }
                            span.at { "premise " (invariant.premises) "×" }
                            @if let (Some(at), Some(seen)) = (invariant.at, &invariant.seen) {
                                div.why {
                                    button.at.jump data-at=(at) { (time(at)) }
                                    (seen)
                                }
                            }
                        }
                    }
                }
            }
            @if !data.fault_counts.is_empty() {
                div {
                    h2 { "Faults" }
                    ul.checks {
                        @for count in &data.fault_counts {
                            li.none { (count.kind) span.at { (count.times) "×" } }
                        }
                    }
                }
            }
        }
    }
}

fn timeline(data: &Data) -> Markup {
    let mut kinds: Vec<&str> = data.timeline.iter().map(|it| it.kind.as_str()).collect();
    if !data.faults.is_empty() {
        kinds.push("fault");
    }
    kinds.sort_unstable();
    kinds.dedup();
    html! {
        section {
            h2 { "Timeline" }
            p.filters {
                @for kind in &kinds {
                    // Faults of requests come by the thousand: they are shown when asked for.
                    label { input type="checkbox" data-kind=(kind) checked[*kind != "fault"]; (kind) }
                }
                span.count {}
            }
            table.timeline { tbody {} }
            button #more hidden { "show more" }
        }
    }
}
