//! Tasks that are named, tracked, fenced and, when asked for, jittered.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use controller_ports::{Entropy, Spawner, TaskHandle};
use futures::FutureExt;
use futures::future::{AbortHandle, BoxFuture};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use tokio::time::Instant;

use crate::world::ports::WriteGate;
use crate::world::ports::incarnation::{Finding, Findings, Incarnation};

/// Spawns the tasks of one incarnation on the current runtime.
pub struct FencedSpawner {
    incarnation: Arc<Incarnation>,
    findings: Findings,
    jitter: Option<Entropy>,
    gate: Option<Arc<WriteGate>>,
    still: Arc<Stillness>,
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
            gate: None,
            still: Arc::default(),
        }
    }

    /// Counts polls, and kills where the gate says.
    #[must_use]
    pub fn gated(self, gate: Arc<WriteGate>) -> Self {
        Self {
            gate: Some(gate),
            ..self
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
        let task = Gated {
            name: name.clone(),
            inner: task,
            random,
            incarnation: Arc::clone(&self.incarnation),
            gate: self.gate.clone(),
            still: Arc::clone(&self.still),
            findings: self.findings.clone(),
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

/// A task that is polled only while its process is alive and does not stand still.
struct Gated {
    name: String,
    inner: BoxFuture<'static, ()>,
    random: Option<ChaCha8Rng>,
    incarnation: Arc<Incarnation>,
    gate: Option<Arc<WriteGate>>,
    still: Arc<Stillness>,
    findings: Findings,
}

impl Future for Gated {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.incarnation.is_dead() || self.incarnation.holds(context.waker()) {
            return Poll::Pending;
        }
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
        let incarnation = Arc::clone(&self.incarnation);
        let struck = |gate: &Arc<WriteGate>| gate.strikes_poll(&self.name, incarnation.name());
        if self.gate.as_ref().is_some_and(struck) {
            incarnation.kill();
            return Poll::Pending;
        }
        if self.still.passes() {
            return self.inner.as_mut().poll(context);
        }
        self.findings.add(Finding::Livelock {
            message: format!(
                "task '{}' of {} is polled for ever",
                self.name,
                incarnation.name()
            ),
        });
        incarnation.kill();
        Poll::Pending
    }
}

/// Polls between two looks at the clock.
const POLLS_PER_LOOK: u64 = 4_096;

/// Looks at one instant after which time is said to stand still: four million polls. A burst of
/// a thousand pods causes some ten thousand.
const LOOKS_MAX: u64 = 1_024;

/// Watches for a process that is polled for ever without time going on.
#[derive(Debug, Default)]
struct Stillness {
    polls: AtomicU64,
    looks: Mutex<Option<(Instant, u64)>>,
}

impl Stillness {
    /// Whether time still goes on.
    fn passes(&self) -> bool {
        let polls = self.polls.fetch_add(1, Ordering::Relaxed);
        if !polls.is_multiple_of(POLLS_PER_LOOK) {
            return true;
        }
        let now = Instant::now();
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        match looks.as_mut() {
            Some((at, count)) if *at == now => {
                *count += 1;
                *count < LOOKS_MAX
            }
            _ => {
                *looks = Some((now, 0));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run<F: Future>(test: impl FnOnce(Arc<Incarnation>, Findings) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(test(Incarnation::new("test", 1), Findings::default()));
    }

    #[test]
    fn a_process_that_stands_still_is_late_and_loses_nothing() {
        run(|incarnation, findings| async move {
            let spawner = FencedSpawner::new(Arc::clone(&incarnation), findings, None);
            let ticks = Arc::new(Mutex::new(Vec::new()));
            let (begun, seen) = (Instant::now(), Arc::clone(&ticks));
            let work = async move {
                for _ in 0..3 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    seen.lock().expect("alone").push(begun.elapsed().as_secs());
                }
            };
            let _task = spawner.spawn("work", work.boxed());
            tokio::time::sleep(Duration::from_millis(1500)).await;
            incarnation.pause();
            tokio::time::sleep(Duration::from_secs(8)).await;
            assert_eq!(*ticks.lock().expect("alone"), [1]);
            incarnation.resume();
            tokio::time::sleep(Duration::from_secs(8)).await;
            assert_eq!(*ticks.lock().expect("alone"), [1, 9, 10]);
        });
    }

    #[test]
    fn a_task_that_spins_is_found_out() {
        run(|incarnation, findings| async move {
            let spawner = FencedSpawner::new(Arc::clone(&incarnation), findings.clone(), None);
            let work = async {
                loop {
                    tokio::task::yield_now().await;
                }
            };
            let _task = spawner.spawn("spin", work.boxed());
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(incarnation.is_dead());
            assert!(matches!(findings.all()[..], [Finding::Livelock { .. }]));
        });
    }
}
