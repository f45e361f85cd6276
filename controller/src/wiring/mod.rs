//! Builds clients, the provider and the loops from ports: the one place that does.

mod cluster;

use std::sync::Arc;
use std::time::Duration;

use controller_azure::AzureProvider;
use controller_operator::health::{Pages, Server};
use controller_operator::{Elector, Health, LeaseSettings, Metrics, Recorder, Shutdown, events};
use controller_ports::{CloudProvider, Ports, TaskHandle, timeout};
use controller_reconcilers::{Deps, FeatureGates, Options, Reconcilers};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::{Config, Process};

/// Reported as the source of events, as upstream does.
const COMPONENT: &str = "karpenter";
/// How long the last events may take to be written at the end.
const EPILOGUE_MAX: Duration = Duration::from_secs(5);

/// Tasks of one run; they end with it.
struct Tasks {
    ports: Ports,
    handles: Vec<TaskHandle>,
}

impl Tasks {
    fn spawn(&mut self, name: &str, task: BoxFuture<'static, ()>) {
        self.handles.push(self.ports.spawner.spawn(name, task));
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for handle in &self.handles {
            handle.abort();
        }
    }
}

pub(crate) async fn run(config: Config, ports: Ports, mut process: Process) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let metrics = process.registry.take().unwrap_or_default();
    let health = Health::new();
    let mut tasks = Tasks {
        ports: ports.clone(),
        handles: Vec::new(),
    };
    serve(&mut tasks, process, &shutdown, (&health, &metrics));
    let kube = kube::Client::new(ports.kube.clone(), config.system_namespace.clone());

    let ready = cluster::wait_for_crds(&kube, &*ports.clock, &health);
    match shutdown.or(ready).await {
        None => return Ok(()),
        Some(result) => result?,
    }
    let version = cluster::follow_version(&kube, &ports, &mut tasks).await;
    let provider: Arc<dyn CloudProvider> =
        Arc::new(AzureProvider::new(config.azure.clone(), &ports, version));
    let (recorder, events_done) =
        start_events(&config, &ports, &kube, (&shutdown, &metrics), &mut tasks);
    let reconcilers = Reconcilers::new(Deps {
        kube: kube.clone(),
        provider,
        ports: ports.clone(),
        metrics: metrics.clone(),
        events: recorder,
        options: options(&config),
    });
    lead(
        &config,
        &ports,
        kube,
        (&shutdown, metrics),
        reconcilers.run(shutdown.clone()),
    )
    .await?;
    // Whatever the last step had to say is still on its way.
    shutdown.trigger();
    if timeout(&*ports.clock, EPILOGUE_MAX, events_done)
        .await
        .is_err()
    {
        tracing::debug!("some events were not written");
    }
    Ok(())
}

/// Runs the loops as leader, or as the only replica.
async fn lead(
    config: &Config,
    ports: &Ports,
    kube: kube::Client,
    (shutdown, metrics): (&Shutdown, Metrics),
    work: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let election = &config.leader_election;
    if !election.enabled {
        work.await;
        return Ok(());
    }
    let settings = LeaseSettings::new(&election.namespace, &election.name, &election.identity);
    let clock = Arc::clone(&ports.clock);
    let elector = Elector::new(kube, settings, clock, &ports.entropy, metrics);
    elector.lead(shutdown, work).await?;
    Ok(())
}

/// Starts listeners and the wait for the signal to end.
fn serve(
    tasks: &mut Tasks,
    process: Process,
    shutdown: &Shutdown,
    (health, metrics): (&Health, &Metrics),
) {
    if let Some(signal) = process.shutdown {
        let shutdown = shutdown.clone();
        tasks.spawn(
            "shutdown",
            async move {
                signal.await;
                shutdown.trigger();
            }
            .boxed(),
        );
    }
    let health_pages = Pages {
        health: Some(health.clone()),
        metrics: None,
    };
    let metrics_pages = Pages {
        health: None,
        metrics: Some(metrics.clone()),
    };
    for (listener, pages) in [
        (process.health, health_pages),
        (process.metrics, metrics_pages),
    ] {
        let Some(listener) = listener else { continue };
        let server = Server {
            listener,
            pages,
            spawner: Arc::clone(&tasks.ports.spawner),
            clock: Arc::clone(&tasks.ports.clock),
        };
        tasks.spawn("http", server.run(shutdown.clone()).boxed());
    }
}

/// The recorder, and a future that resolves when its last event is written.
fn start_events(
    config: &Config,
    ports: &Ports,
    kube: &kube::Client,
    (shutdown, metrics): (&Shutdown, &Metrics),
    tasks: &mut Tasks,
) -> (Recorder, impl Future<Output = ()> + use<>) {
    let identity = &config.leader_election.identity;
    let clock = Arc::clone(&ports.clock);
    let (recorder, writer) =
        events::recorder(COMPONENT, identity, clock, &ports.entropy, metrics.clone());
    let (done, is_done) = futures::channel::oneshot::channel::<()>();
    let writing = writer.run(kube.clone(), shutdown.clone());
    tasks.spawn(
        "events",
        async move {
            writing.await;
            drop(done);
        }
        .boxed(),
    );
    // The sender is dropped, never used: the end of its task is the news.
    (recorder, async move { is_done.await.unwrap_or_default() })
}

fn options(config: &Config) -> Options {
    Options {
        namespace: config.system_namespace.clone(),
        batch_idle: config.batch.idle,
        batch_max: config.batch.max,
        preferences: config.preference_policy,
        min_values: config.min_values_policy,
        gates: FeatureGates {
            node_repair: config.feature_gates.node_repair,
            spot_to_spot: config.feature_gates.spot_to_spot_consolidation,
        },
    }
}
