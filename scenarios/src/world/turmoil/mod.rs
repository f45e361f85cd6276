//! Each component a host of its own: the API server, ARM, every replica of the controller, over
//! turmoil's simulated TCP.
//!
//! ```text
//! host      runs
//! kube      the API server's HTTP face
//! arm       ARM's
//! world     the driver: components, bridge, timeline, invariants
//! <process> a controller; registered when it first starts
//! ```
//!
//! It is the judge of the cheaper worlds, not a replacement: time advances in ticks of
//! [`TICK`], hosts run one after another in each, and a round trip takes two. All hosts share one
//! clock, which shows the beginning of the tick, so that no server sees time go back; timers of a
//! host are exact within it.

mod hosts;
mod stream;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use controller_ports::Entropy;
use rand_core::Rng;

use crate::format::Scenario;
use crate::world::discrete::{RunError, RunOptions, on_a_fresh_thread, stage};
use crate::world::hooks;
use crate::world::outcome::Outcome;
use crate::world::ports::SimClock;
use crate::world::run::{Run, Stage};
use hosts::{Fabric, Hosts};

/// How long a step takes: a round trip of two is 20 ms, near the slower ones in a region, and half
/// an hour costs 180,000 steps.
pub const TICK: Duration = Duration::from_millis(10);

thread_local! {
    /// Beginning of the current tick. A simulation lives on one thread, and has it for itself.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Runs a scenario in this world.
///
/// # Errors
///
/// When there is no outcome: the scenario cannot be set up, or the run does not come to an end.
pub fn run(scenario: &Scenario, options: &RunOptions) -> Result<Outcome, RunError> {
    let (scenario, options) = (scenario.clone(), options.clone());
    on_a_fresh_thread(options.real_limit, move || {
        on_this_thread(scenario, options)
    })
}

fn on_this_thread(scenario: Scenario, options: RunOptions) -> Result<Outcome, RunError> {
    let entropy = Entropy::from_seed(options.seed.unwrap_or(scenario.seed));
    // Before anything is frozen: the defaults read the real clock, which nothing uses afterwards.
    let mut builder = turmoil::Builder::new();
    hooks::enter(entropy.stream("ambient").next_u64(), scenario.epoch);
    fastrand::seed(entropy.stream("fastrand").next_u64());
    let since_1970 = Duration::try_from(scenario.epoch.as_duration()).unwrap_or_default();
    let latency = Duration::from_millis(1);
    builder
        .epoch(std::time::UNIX_EPOCH + since_1970)
        .tick_duration(TICK)
        // The driver ends the run; this only keeps turmoil from ending it earlier.
        .simulation_duration(scenario.horizon + Duration::from_hours(1))
        .rng_seed(entropy.stream("turmoil").next_u64())
        .min_message_latency(latency)
        .max_message_latency(latency)
        .tcp_capacity(SEGMENTS);
    NOW.set(Duration::ZERO);
    let result = simulate(&builder, scenario, options);
    let ambient_calls = hooks::leave();
    result.map(|outcome| Outcome {
        ambient_calls,
        ..outcome
    })
}

/// Segments under way on one connection: hyper writes up to some 400 kB at once, in pieces of 8 kB
/// and more.
const SEGMENTS: usize = 1024;

type Slot = Arc<Mutex<Option<Result<Outcome, RunError>>>>;

fn simulate(
    builder: &turmoil::Builder,
    scenario: Scenario,
    options: RunOptions,
) -> Result<Outcome, RunError> {
    let clock = SimClock::shared(scenario.epoch, || NOW.get());
    let fabric = Fabric::new(options.http);
    let stage = stage(&scenario, &options, clock, |site, _, _| {
        fabric.joins(site.links.clone());
        ("turmoil", Arc::new(fabric.clone()))
    })?;
    let mut sim = builder.build();
    let mut hosts = Hosts::new(&mut sim, &stage.site, &fabric);
    let slot = Slot::default();
    let driver = drive(scenario, options, stage, Arc::clone(&slot));
    sim.client("world", driver);
    loop {
        NOW.set(sim.elapsed());
        let is_over = sim
            .step()
            .map_err(|error| RunError::Panicked(error.to_string()))?;
        if is_over {
            break;
        }
        hosts.follow(&mut sim);
    }
    let ended = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    ended.unwrap_or_else(|| Err(RunError::Panicked("the driver ended early".to_owned())))
}

/// The driver's host: from set-up to verdict.
async fn drive(
    scenario: Scenario,
    options: RunOptions,
    stage: Stage,
    slot: Slot,
) -> turmoil::Result {
    let begun = Box::pin(Run::begin(&scenario, &options, stage)).await;
    let ended = match begun {
        Ok(mut run) => {
            Box::pin(run.drive(std::future::pending())).await;
            Ok(run.finish())
        }
        Err(error) => Err(error),
    };
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
    Ok(())
}
