//! One watch per kind: each object is decoded once, fed to the mirror and the typed caches, and
//! turned into work.

mod sinks;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use controller_ports::Entropy;
use futures::StreamExt;
use futures::channel::oneshot;
use futures::future::Shared;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;

pub(crate) use self::sinks::{
    Budgets, Claims, Classes, DaemonSets, Namespaces, Nodes, Pods, Pools, Source, take_node,
};
use crate::backoff::Backoff;
use crate::context::Context;
use crate::error::{chain, code};

/// Waits after a watch failed; the bounds of client-go's reflector.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(800),
    max: Duration::from_secs(30),
};

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
    type Object: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static;

    /// An object as it is now.
    fn apply(&mut self, ctx: &Context, object: Self::Object);

    /// An object is gone.
    fn delete(&mut self, ctx: &Context, namespace: &str, name: &str);
}

/// Watches a kind for ever.
pub(crate) async fn watch<S: Sink>(
    ctx: Arc<Context>,
    api: Api<S::Object>,
    mut sink: S,
    gate: Arc<SyncGate>,
    entropy: Entropy,
) -> !
where
    <S::Object as kube::Resource>::DynamicType: Clone,
{
    let mut random: ChaCha8Rng = entropy.child("watch").stream(api.resource_url());
    let mut known = Known::default();
    let mut gate = Some(gate);
    let mut failures = 0;
    loop {
        let mut events = watcher(api.clone(), watcher::Config::default()).boxed();
        while let Some(event) = events.next().await {
            let error = match event {
                Ok(event) => {
                    failures = 0;
                    let is_listed = matches!(event, Event::InitDone);
                    known.take(&ctx, &mut sink, event);
                    if is_listed && let Some(gate) = gate.take() {
                        gate.listed();
                    }
                    continue;
                }
                Err(error) => error,
            };
            failures += 1;
            let wait = BACKOFF.wait(failures, &mut random);
            tracing::warn!(
                url = api.resource_url(), error = %chain(&error), failures, "watch failed"
            );
            ctx.clock.sleep(wait).await;
            // A watch that starts with 410 would be started from the same version for ever.
            if matches!(&error, watcher::Error::WatchStartFailed(error) if code(error) == Some(410))
            {
                break;
            }
        }
    }
}

/// Names known of a kind, to tell after a new list what is gone.
#[derive(Debug, Default)]
struct Known {
    names: BTreeSet<(String, String)>,
    listing: Option<BTreeSet<(String, String)>>,
}

impl Known {
    fn take<S: Sink>(&mut self, ctx: &Context, sink: &mut S, event: Event<S::Object>) {
        match event {
            Event::Init => self.listing = Some(BTreeSet::new()),
            Event::InitApply(object) => {
                let key = key_of(&object);
                self.names.insert(key.clone());
                self.listing.get_or_insert_default().insert(key);
                sink.apply(ctx, object);
            }
            Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default();
                for (namespace, name) in self.names.difference(&listed) {
                    sink.delete(ctx, namespace, name);
                }
                self.names = listed;
            }
            Event::Apply(object) => {
                self.names.insert(key_of(&object));
                sink.apply(ctx, object);
            }
            Event::Delete(object) => {
                let key = key_of(&object);
                sink.delete(ctx, &key.0, &key.1);
                self.names.remove(&key);
            }
        }
    }
}

fn key_of<K: ResourceExt>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}
