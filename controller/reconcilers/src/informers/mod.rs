//! One watch per kind: each object is decoded once, fed to the mirror and the typed caches, and
//! turned into work.

mod known;
mod reflector;
mod sinks;

use std::sync::{Arc, Mutex};

use controller_ports::Entropy;
use futures::channel::oneshot;
use futures::future::Shared;
use serde::de::DeserializeOwned;

use self::known::{Feed, Known};
use self::reflector::Reflector;
pub(crate) use self::sinks::{
    Budgets, Claims, Classes, DaemonSets, Namespaces, Nodes, Pods, Pools, Source, take_node,
};
use crate::context::Context;

/// Kinds that are watched.
const KINDS: usize = 8;

/// Resolves when every kind has been listed once.
pub(crate) type Synced = Shared<oneshot::Receiver<()>>;

/// Counts the kinds that have been listed.
#[derive(Debug)]
pub(crate) struct SyncGate(Mutex<(usize, Option<oneshot::Sender<()>>)>);

impl SyncGate {
    pub(crate) fn new() -> (Arc<Self>, Synced) {
        use futures::FutureExt;
        let (sender, receiver) = oneshot::channel();
        (
            Arc::new(Self(Mutex::new((0, Some(sender))))),
            receiver.shared(),
        )
    }

    fn listed(&self) {
        let mut gate = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        gate.0 += 1;
        if gate.0 == KINDS
            && let Some(sender) = gate.1.take()
        {
            // Nobody waits any more when the tasks are being ended.
            let _nobody_waits = sender.send(()).is_err();
        }
    }
}

/// What a kind does with its objects.
pub(crate) trait Sink: Send {
    /// The kind's Rust type.
    type Object: kube::Resource + DeserializeOwned;

    /// An object as it is now.
    fn apply(&mut self, ctx: &Context, object: Self::Object);

    /// An object is gone.
    fn delete(&mut self, ctx: &Context, namespace: &str, name: &str);
}

/// A kind's sink and what it works on.
struct Decoder<S> {
    ctx: Arc<Context>,
    sink: S,
}

impl<S: Sink> Feed for Decoder<S> {
    fn apply(&mut self, object: &str) -> serde_json::Result<()> {
        self.sink.apply(&self.ctx, serde_json::from_str(object)?);
        Ok(())
    }

    fn delete(&mut self, namespace: &str, name: &str) {
        self.sink.delete(&self.ctx, namespace, name);
    }
}

/// Watches the collection at `url` for ever.
pub(crate) async fn watch<S: Sink>(
    ctx: Arc<Context>,
    url: String,
    sink: S,
    gate: Arc<SyncGate>,
    entropy: Entropy,
) -> ! {
    let (kube, clock) = (ctx.kube.clone(), Arc::clone(&ctx.clock));
    let mut feed = Decoder { ctx, sink };
    Reflector::new(kube, clock, url, &entropy)
        .run(Known::new(&mut feed), || gate.listed())
        .await
}
