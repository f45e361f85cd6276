//! The page around the picture.

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::data::data;
use crate::report::picture::picture;
use crate::story::{Happening, stamp};
use crate::world::Outcome;

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// The whole document; it loads nothing.
pub fn page(outcome: &Outcome) -> String {
    // `<` would end the script element early.
    let embedded = data(outcome).to_string().replace('<', "\\u003c");
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (outcome.scenario) " · " (verdict(outcome)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (header(outcome))
                    (failures(outcome))
                    (figures(outcome))
                    section.scroll { (picture(outcome)) (legend()) }
                    (judgement(outcome))
                    (timeline(outcome))
                    footer {
                        "trace " code { (outcome.hash) } " · " (outcome.records) " records · "
                        "format of the embedded data: " code { "#data" }
                    }
                }
                script type="application/json" id="data" { (PreEscaped(embedded)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    markup.into_string()
}

fn verdict(outcome: &Outcome) -> &'static str {
    if outcome.passed() { "passed" } else { "failed" }
}

fn header(outcome: &Outcome) -> Markup {
    html! {
        header {
            div.title {
                h1 { (outcome.scenario) }
                span class=(format!("pill {}", verdict(outcome))) { (verdict(outcome)) }
            }
            p.proves { (outcome.proves) }
            p.meta {
                (outcome.region) " · world " (outcome.world) " · seed " (outcome.seed) " · starts "
                (outcome.chronicle.epoch())
            }
        }
    }
}

fn failures(outcome: &Outcome) -> Markup {
    let failures = outcome.failures();
    html! {
        @if !failures.is_empty() {
            section.failures {
                h2 { "What went wrong" }
                ol { @for failure in &failures { li { (failure) } } }
                p { "Reproduce: " code {
                    "nap sim " (outcome.scenario) ".yaml --seed " (outcome.seed) " --world " (outcome.world)
                } }
            }
        }
    }
}

fn figures(outcome: &Outcome) -> Markup {
    let chronicle = &outcome.chronicle;
    let total = chronicle.total_cost(outcome.horizon);
    let peak = chronicle
        .costs()
        .iter()
        .map(|step| step.machines)
        .max()
        .unwrap_or(0);
    let pods: usize = chronicle.lanes().iter().map(|lane| lane.pods.len()).sum();
    let cards = [
        (
            "cost of the run",
            format!("${}.{:04}", total / 1_000_000, total % 1_000_000 / 100),
        ),
        (
            "machines",
            format!("{} (peak {peak})", chronicle.lanes().len()),
        ),
        ("pods placed", pods.to_string()),
        ("virtual time", stamp(outcome.horizon)),
        (
            "requests",
            format!("{} ({} writes)", outcome.requests, outcome.writes),
        ),
    ];
    html! {
        section.cards {
            @for (label, value) in &cards {
                div.card { div.value { (value) } div.label { (label) } }
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        p.legend {
            span.key { i.spot {} "spot" }
            span.key { i.on-demand {} "on-demand" }
            span.key { i.bootkey {} "until the node is ready" }
            span.key { i.podkey {} "pod" }
        }
    }
}

fn judgement(outcome: &Outcome) -> Markup {
    html! {
        section.judgement {
            div {
                h2 { "Expectations" }
                ul.checks {
                    @for verdict in &outcome.verdicts {
                        li class=(if verdict.ok { "ok" } else { "bad" }) {
                            span.what { (verdict.what) }
                            span.at { (stamp(verdict.at)) }
                            @if !verdict.ok { div.why { (verdict.seen) } }
                        }
                    }
                    @if outcome.verdicts.is_empty() { li.none { "none" } }
                }
            }
            div {
                h2 { "Invariants" }
                ul.checks {
                    @for (id, doc, premises) in &outcome.premises {
                        @let broken = outcome.violations.iter().find(|it| it.id == *id);
                        li class=(if broken.is_none() { "ok" } else { "bad" }) title=(doc) {
                            span.what { (id) }
                            span.at { "premise " (premises) "×" }
                            @if let Some(violation) = broken {
                                div.why { (stamp(violation.at)) " " (violation.message) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn timeline(outcome: &Outcome) -> Markup {
    let happenings = outcome.chronicle.happenings();
    let mut kinds: Vec<&str> = happenings.iter().map(|it| it.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    html! {
        section {
            h2 { "Timeline" }
            p.filters {
                @for kind in &kinds {
                    label { input type="checkbox" data-kind=(kind) checked; (kind) }
                }
            }
            table.timeline {
                @for happening in happenings { (row(happening)) }
            }
        }
    }
}

fn row(happening: &Happening) -> Markup {
    let at: Duration = happening.at;
    html! {
        tr data-kind=(happening.kind.as_str()) {
            td.time { (stamp(at)) }
            td.kind { span class=(format!("tag {}", happening.kind.as_str())) { (happening.kind.as_str()) } }
            td {
                (happening.text)
                @if !happening.why.is_empty() { div.why { (happening.why) } }
            }
        }
    }
}
