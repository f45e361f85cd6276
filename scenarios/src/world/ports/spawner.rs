//! Tasks that are named, tracked, fenced and, when asked for, jittered.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use controller_ports::{Entropy, Spawner, TaskHandle};
use futures::FutureExt;
use futures::future::{AbortHandle, BoxFuture};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use crate::world::ports::incarnation::{Finding, Findings, Incarnation};

/// Spawns the tasks of one incarnation on the current runtime.
pub struct FencedSpawner {
    incarnation: Arc<Incarnation>,
    findings: Findings,
    jitter: Option<Entropy>,
}

impl fmt::Debug for FencedSpawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FencedSpawner")
            .field(&self.incarnation.name())
            .finish()
    }
}

impl FencedSpawner {
    /// With `jitter`, tasks give way to others at random, so that a seed explores an order of its
    /// own; tokio's queue alone would run tasks woken together in one order for every seed.
    pub fn new(incarnation: Arc<Incarnation>, findings: Findings, jitter: Option<Entropy>) -> Self {
        Self {
            incarnation,
            findings,
            jitter,
        }
    }
}

impl Spawner for FencedSpawner {
    fn spawn(&self, name: &str, task: BoxFuture<'static, ()>) -> TaskHandle {
        let (abort, registration) = AbortHandle::new_pair();
        let guard = self.incarnation.register(name, abort.clone());
        let random = self
            .jitter
            .map(|entropy| entropy.stream(&format!("{name}/{}", guard.id)));
        let findings = self.findings.clone();
        let incarnation = Arc::clone(&self.incarnation);
        let name = name.to_owned();
        let task = Jittered {
            inner: task,
            random,
        };
        let task = futures::future::Abortable::new(task, registration);
        start(Box::pin(async move {
            let _guard = guard;
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                findings.add(Finding::Panic {
                    process: incarnation.name().to_owned(),
                    task: name,
                    message: message_of(panic.as_ref()),
                });
            }
        }));
        TaskHandle::new(abort)
    }
}

/// The one place of this crate where a task starts.
#[expect(
    clippy::disallowed_methods,
    reason = "the spawner of simulated processes"
)]
fn start(task: BoxFuture<'static, ()>) {
    drop(tokio::spawn(task));
}

/// What a panic said.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

struct Jittered {
    inner: BoxFuture<'static, ()>,
    random: Option<ChaCha8Rng>,
}

impl Future for Jittered {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // One poll in four gives way: enough for every order of a handful of tasks to occur, at a
        // third more polls.
        if self
            .random
            .as_mut()
            .is_some_and(|random| random.next_u32() < u32::MAX / 4)
        {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.inner.as_mut().poll(context)
    }
}
