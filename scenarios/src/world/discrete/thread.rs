//! The runtime of one run.

use std::sync::Arc;

use controller_ports::Entropy;
use rand_core::Rng;

use crate::format::Scenario;
use crate::trace::Trace;
use crate::world::discrete::{RunError, RunOptions};
use crate::world::hooks;
use crate::world::net::Network;
use crate::world::outcome::Outcome;
use crate::world::ports::SimClock;
use crate::world::process::{Corruption, Host, Places};
use crate::world::run::{Run, Stage};
use crate::world::setup::SetupError;
use crate::world::site::{Site, SiteOptions, Tokens};

/// Where ARM is, as URLs in answers spell it.
const ARM_URL: &str = "https://management.azure.test";
/// Where the API server is, as bootstrap data spells it.
const KUBE_ADDRESS: &str = "kubernetes.test:443";

/// Runs on the calling thread, which should be fresh: thread-local generators start from the seed.
pub(super) fn on_this_thread(
    scenario: &Scenario,
    options: &RunOptions,
    join: Join,
) -> Result<Outcome, RunError> {
    let seed = options.seed.unwrap_or(scenario.seed);
    let entropy = Entropy::from_seed(seed);
    hooks::enter(entropy.stream("ambient").next_u64(), scenario.epoch);
    fastrand::seed(entropy.stream("fastrand").next_u64());
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    {
        let tokio_seed = entropy.stream("tokio").next_u64().to_le_bytes();
        builder
            .rng_seed(tokio::runtime::RngSeed::from_bytes(&tokio_seed))
            .unhandled_panic(tokio::runtime::UnhandledPanic::ShutdownRuntime);
    }
    let runtime = builder
        .build()
        .map_err(|error| RunError::Thread(error.to_string()))?;
    let result = runtime.block_on(Box::pin(async {
        let clock = SimClock::start(scenario.epoch, 1.0);
        let stage = stage(scenario, options, clock, join)?;
        let mut run = Box::pin(Run::begin(scenario, options, stage)).await?;
        Box::pin(run.drive(std::future::pending())).await;
        Ok(run.finish())
    }));
    let ambient_calls = hooks::leave();
    result.map(|outcome| Outcome {
        ambient_calls,
        ..outcome
    })
}

/// Gives a world's name and what joins processes to the servers of a site.
pub(in crate::world) type Join =
    fn(&Site, &RunOptions, Entropy) -> (&'static str, Arc<dyn Network>);

/// Builds what a simulated run takes place on.
pub(in crate::world) fn stage(
    scenario: &Scenario,
    options: &RunOptions,
    clock: SimClock,
    join: impl FnOnce(&Site, &RunOptions, Entropy) -> (&'static str, Arc<dyn Network>),
) -> Result<Stage, SetupError> {
    let seed = options.seed.unwrap_or(scenario.seed);
    let entropy = Entropy::from_seed(seed);
    let trace = Trace::new(options.keep_trace);
    let tokens = Tokens::fixed();
    let site = Site::new(SiteOptions {
        cloud: scenario.cloud.clone(),
        cluster: &scenario.cluster,
        clock,
        entropy: entropy.child("world"),
        jitter: options.jitter,
        trace: trace.clone(),
        ca: None,
        kube_address: KUBE_ADDRESS,
        tokens: &tokens,
    })
    .map_err(|error| SetupError::cloud(&scenario.source, &error))?;
    let (world, network) = join(&site, options, entropy.child("links"));
    let host = if scenario.controller.enabled {
        Host::Simulated(network)
    } else {
        Host::Nobody
    };
    let places = Places {
        arm: ARM_URL.to_owned(),
        kube: format!("https://{KUBE_ADDRESS}"),
    };
    Ok(Stage {
        world,
        seed,
        entropy,
        clock,
        trace,
        site,
        tokens,
        host,
        places,
        corruption: Corruption::default(),
    })
}
