//! The picture: cost over time above, machines with their pods below, one time axis for both.

use std::time::Duration;

use maud::{Markup, html};

use crate::story::{Kind, Lane, money, stamp};
use crate::text::append;
use crate::world::Outcome;

/// Drawing units.
const WIDTH: f64 = 1200.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 16.0;
const COST_TOP: f64 = 26.0;
const COST_HEIGHT: f64 = 110.0;
const LANES_TOP: f64 = COST_TOP + COST_HEIGHT + 44.0;
const LANE_HEIGHT: f64 = 46.0;
const BAR_HEIGHT: f64 = 34.0;

struct Scale {
    end: f64,
}

impl Scale {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a drawing needs no more than 52 bits"
    )]
    fn of(end: Duration) -> Self {
        Self {
            end: (end.as_millis() as f64).max(1.0),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a drawing needs no more than 52 bits"
    )]
    fn x(&self, millis: u64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (millis as f64).min(self.end) / self.end
    }
}

fn n(value: f64) -> String {
    format!("{value:.1}")
}

/// The whole drawing.
pub(super) fn picture(outcome: &Outcome) -> Markup {
    let lanes = outcome.chronicle.lanes();
    let scale = Scale::of(outcome.horizon);
    let rows = f64::from(u32::try_from(lanes.len().max(1)).unwrap_or(u32::MAX));
    let bottom = LANES_TOP + rows * LANE_HEIGHT;
    let height = bottom + 34.0;
    html! {
        svg.picture viewBox=(format!("0 0 {WIDTH} {height}")) role="img"
            aria-label="Machines with their pods, and cost, over time" {
            defs {
                pattern id="boot" width="6" height="6" patternUnits="userSpaceOnUse"
                    patternTransform="rotate(45)" {
                    rect width="3" height="6" class="hatch" {}
                }
            }
            (axis(outcome, &scale, bottom))
            (cost(outcome, &scale))
            text.heading x="0" y=(n(LANES_TOP - 14.0)) { "Machines and their pods" }
            @if lanes.is_empty() {
                text.faint x=(n(LEFT)) y=(n(LANES_TOP + 28.0)) { "no machine was requested" }
            }
            @for (row, lane) in lanes.iter().enumerate() {
                (lane_row(outcome, lane, row, &scale))
            }
        }
    }
}

/// Ticks, and a line for each step of the scenario.
fn axis(outcome: &Outcome, scale: &Scale, bottom: f64) -> Markup {
    let step = tick(outcome.horizon);
    let count = outcome.horizon.as_millis() / step.as_millis().max(1);
    let ticks = (0..=u32::try_from(count).unwrap_or(0)).map(|index| step * index);
    let steps = outcome
        .chronicle
        .happenings()
        .iter()
        .filter(|it| it.kind == Kind::Step);
    html! {
        @for at in ticks {
            @let x = n(scale.x(millis(at)));
            line.tick x1=(x) x2=(x) y1=(n(COST_TOP)) y2=(n(bottom)) {}
            text.faint x=(x) y=(n(bottom + 20.0)) text-anchor="middle" { (short(at)) }
        }
        @for step in steps {
            @let x = n(scale.x(millis(step.at)));
            line.step x1=(x) x2=(x) y1=(n(COST_TOP - 6.0)) y2=(n(bottom)) {
                title { (stamp(step.at)) " " (step.text) }
            }
            text.steptext x=(x) y=(n(COST_TOP - 10.0)) text-anchor="middle" { (clip(&step.text, 34)) }
        }
    }
}

fn cost(outcome: &Outcome, scale: &Scale) -> Markup {
    let steps = outcome.chronicle.costs();
    let peak = steps
        .iter()
        .map(|step| step.per_hour)
        .max()
        .unwrap_or(0)
        .max(1);
    let y = |per_hour: u64| {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a drawing needs no more than 52 bits"
        )]
        let share = per_hour as f64 / peak as f64;
        COST_TOP + COST_HEIGHT * (1.0 - share)
    };
    let floor = n(COST_TOP + COST_HEIGHT);
    let mut path = format!("M {} {floor}", n(LEFT));
    let mut last = y(0);
    for step in steps {
        let x = n(scale.x(step.at));
        append(
            &mut path,
            format_args!(" L {x} {} L {x} {}", n(last), n(y(step.per_hour))),
        );
        last = y(step.per_hour);
    }
    let end = n(WIDTH - RIGHT);
    append(
        &mut path,
        format_args!(" L {end} {} L {end} {floor} Z", n(last)),
    );
    html! {
        text.heading x="0" y=(n(COST_TOP + 12.0)) { "Cost per hour" }
        text.faint x="0" y=(n(COST_TOP + 32.0)) { "peak " (money(peak)) }
        path.cost d=(path) {}
        line.base x1=(n(LEFT)) x2=(end) y1=(floor) y2=(floor) {}
        @for step in steps {
            @let x = scale.x(step.at);
            circle.dot cx=(n(x)) cy=(n(y(step.per_hour))) r="3" {
                title {
                    (stamp(Duration::from_millis(step.at))) " " (money(step.per_hour)) ", "
                    (step.machines) " machines"
                }
            }
        }
    }
}

fn lane_row(outcome: &Outcome, lane: &Lane, row: usize, scale: &Scale) -> Markup {
    let top = LANES_TOP + LANE_HEIGHT * f64::from(u32::try_from(row).unwrap_or(u32::MAX));
    let end = lane.gone.unwrap_or(millis(outcome.horizon));
    let (from, until) = (scale.x(lane.requested), scale.x(end));
    let ready = lane.ready.map_or(until, |at| scale.x(at));
    let most = most_at_once(lane).max(1);
    let slots = f64::from(u32::try_from(most).unwrap_or(u32::MAX));
    let height = ((BAR_HEIGHT - 4.0) / slots).min(12.0);
    let mut free: Vec<u64> = Vec::new();
    html! {
        g.lane {
            title {
                (lane.name) "\n" (lane.size) " " (lane.capacity) " in " (lane.zone) ", "
                (money(lane.price)) "\n" (lane.why)
            }
            text.name x="0" y=(n(top + 15.0)) { (clip(&lane.name, 34)) }
            text.faint x="0" y=(n(top + 31.0)) {
                (lane.size.trim_start_matches("Standard_")) " · " (lane.capacity) " · " (money(lane.price))
            }
            rect class=(format!("bar {}", lane.capacity)) x=(n(from)) y=(n(top))
                width=(n((until - from).max(2.0))) height=(n(BAR_HEIGHT)) rx="4" {}
            rect.boot x=(n(from)) y=(n(top)) width=(n((ready - from).max(1.0)))
                height=(n(BAR_HEIGHT)) rx="4" {}
            @for pod in &lane.pods {
                @let slot = slot(&mut free, pod.bound, pod.gone.unwrap_or(end));
                @let y = top + 2.0 + height * f64::from(u32::try_from(slot).unwrap_or(0));
                @let start = scale.x(pod.running.unwrap_or(pod.bound));
                @let stop = scale.x(pod.gone.unwrap_or(end));
                rect.pod x=(n(start)) y=(n(y + 0.5)) width=(n((stop - start).max(1.5)))
                    height=(n((height - 1.0).max(1.0))) rx="1.5" {
                    title { (pod.name) ", " (pod.cpu) "m CPU" }
                }
            }
        }
    }
}

/// The first slot that is free at `from`.
fn slot(free: &mut Vec<u64>, from: u64, until: u64) -> usize {
    let index = free
        .iter()
        .position(|busy| *busy <= from)
        .unwrap_or(free.len());
    if index == free.len() {
        free.push(until);
    } else {
        free[index] = until;
    }
    index
}

fn most_at_once(lane: &Lane) -> usize {
    let mut free = Vec::new();
    for pod in &lane.pods {
        slot(&mut free, pod.bound, pod.gone.unwrap_or(u64::MAX));
    }
    free.len()
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

/// About eight ticks at round times.
fn tick(horizon: Duration) -> Duration {
    const ROUND: [u64; 14] = [
        10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 604_800,
    ];
    let wanted = horizon.as_secs() / 8;
    let seconds = ROUND
        .into_iter()
        .find(|round| *round >= wanted)
        .unwrap_or(2_592_000);
    Duration::from_secs(seconds)
}

fn short(at: Duration) -> String {
    crate::format::format_duration(at)
}

fn clip(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length - 1).chain(['…']).collect()
}
