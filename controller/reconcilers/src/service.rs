//! Starting all of it, and ending all of it.

use std::future::Future;
use std::sync::Arc;

use controller_operator::{Metrics as Registry, Recorder, Shutdown};
use controller_ports::{CloudProvider, Ports, Spawner, TaskHandle};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::context::{Context, Parts};
use crate::events::Events;
use crate::informers::{
    Budgets, Claims, Classes, DaemonSets, Namespaces, Nodes, Pods, Pools, Sink, SyncGate, Synced,
    watch,
};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::{disruption, node, nodeclaim, nodeclass, nodepool, provisioning, queue, requests};

/// What the reconcilers stand on.
#[derive(Clone)]
pub struct Deps {
    /// The API server. Deadlines and retries are added here.
    pub kube: kube::Client,
    /// The cloud.
    pub provider: Arc<dyn CloudProvider>,
    /// Clock, entropy, spawner and CPU pool; the transports are not used.
    pub ports: Ports,
    /// Where metrics go.
    pub metrics: Registry,
    /// Where events go.
    pub events: Recorder,
    /// Settings.
    pub options: Options,
}

impl std::fmt::Debug for Deps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deps")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Everything that acts while this process leads.
#[derive(Debug)]
pub struct Reconcilers {
    ctx: Arc<Context>,
    deps: Deps,
}

/// Ends its tasks when it goes.
struct Tasks {
    spawner: Arc<dyn Spawner>,
    handles: Vec<TaskHandle>,
}

impl Tasks {
    fn spawn(&mut self, name: &str, task: impl Future<Output = ()> + Send + 'static) {
        self.handles.push(self.spawner.spawn(name, task.boxed()));
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for handle in &self.handles {
            handle.abort();
        }
    }
}

impl Reconcilers {
    /// Builds the shared state; nothing runs yet.
    pub fn new(deps: Deps) -> Self {
        let entropy = deps.ports.entropy.child("reconcilers");
        let clock = Arc::clone(&deps.ports.clock);
        let ctx = Context::new(Parts {
            kube: requests::bounded(deps.kube.clone(), Arc::clone(&clock), &entropy),
            provider: Arc::clone(&deps.provider),
            clock,
            cpu: Arc::clone(&deps.ports.cpu),
            entropy,
            options: deps.options.clone(),
            metrics: Metrics::new(deps.metrics.clone()),
            events: Events::new(deps.events.clone()),
        });
        Self {
            ctx: Arc::new(ctx),
            deps,
        }
    }

    /// Runs until the signal to end, or until the future is dropped (leadership was lost): then
    /// every task ends at its next await. What was under way is taken up from the objects and the
    /// cloud by whoever leads next.
    pub async fn run(self, shutdown: Shutdown) {
        let mut tasks = Tasks {
            spawner: Arc::clone(&self.deps.ports.spawner),
            handles: Vec::new(),
        };
        let (gate, synced) = SyncGate::new();
        self.start_watches(&mut tasks, &gate);
        self.start_queues(&mut tasks, &synced, &shutdown);
        self.start_loops(&mut tasks, &synced);
        shutdown.wait().await;
    }

    fn start_watches(&self, tasks: &mut Tasks, gate: &Arc<SyncGate>) {
        self.start_watch(tasks, gate, &(), Namespaces);
        self.start_watch(tasks, gate, &(), Budgets);
        self.start_watch(tasks, gate, &(), DaemonSets);
        self.start_watch(tasks, gate, &self.ctx.class_resource(), Classes);
        self.start_watch(tasks, gate, &(), Pools);
        self.start_watch(tasks, gate, &(), Claims);
        self.start_watch(tasks, gate, &(), Nodes);
        self.start_watch(tasks, gate, &(), Pods);
    }

    fn start_watch<S: Sink + 'static>(
        &self,
        tasks: &mut Tasks,
        gate: &Arc<SyncGate>,
        resource: &<S::Object as kube::Resource>::DynamicType,
        sink: S,
    ) {
        let plural = <S::Object as kube::Resource>::plural(resource);
        let url = <S::Object as kube::Resource>::url_path(resource, None);
        let entropy = self.deps.ports.entropy.child("reconcilers");
        let (ctx, gate) = (Arc::clone(&self.ctx), Arc::clone(gate));
        tasks.spawn(&format!("watch-{plural}"), async move {
            watch(ctx, url, sink, gate, entropy).await;
        });
    }

    fn start_queues(&self, tasks: &mut Tasks, synced: &Synced, shutdown: &Shutdown) {
        macro_rules! start {
            ($name:literal, $queue:ident, $reconcile:path) => {
                let (ctx, synced, shutdown) =
                    (Arc::clone(&self.ctx), synced.clone(), shutdown.clone());
                tasks.spawn($name, async move {
                    if synced.await.is_ok() {
                        let reconcile = |key: String| {
                            let ctx = Arc::clone(&ctx);
                            let work: BoxFuture<'static, _> =
                                Box::pin(async move { $reconcile(&ctx, &key).await });
                            work
                        };
                        queue::run($name, &ctx.queues.$queue, shutdown, reconcile).await;
                    }
                });
            };
        }
        start!("nodeclass", classes, nodeclass::reconcile);
        start!("nodepool", pools, nodepool::reconcile);
        start!("nodeclaim", claims, nodeclaim::reconcile);
        start!("node", nodes, node::reconcile);
    }

    fn start_loops(&self, tasks: &mut Tasks, synced: &Synced) {
        macro_rules! start {
            ($name:literal, $work:path) => {
                let (ctx, synced) = (Arc::clone(&self.ctx), synced.clone());
                tasks.spawn($name, async move {
                    if synced.await.is_ok() {
                        $work(&ctx).await;
                    }
                });
            };
        }
        start!("provisioning", provisioning::provision);
        start!("disruption", disruption::disrupt);
        start!("disruption-commands", disruption::follow_commands);
        start!("garbage-collection", nodeclaim::collect_garbage);
        start!("interruption", node::watch_interruptions);
        start!("counter", nodepool::count);
        start!("refresh", nodeclass::refresh);
    }
}
