//! Where tasks and long computations run.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use futures::channel::oneshot;
use futures::future::{AbortHandle, BoxFuture};

/// Starts named tasks that end with the process they belong to.
///
/// A simulation tracks and fences them: after a crash, no task of that incarnation runs on.
pub trait Spawner: fmt::Debug + Send + Sync {
    /// Starts a task. The name appears in reports; it need not be unique.
    fn spawn(&self, name: &str, task: BoxFuture<'static, ()>) -> TaskHandle;
}

/// A started task. Dropping the handle leaves the task running.
#[derive(Clone, Debug)]
pub struct TaskHandle(AbortHandle);

impl TaskHandle {
    /// Wraps the means to stop the task.
    pub const fn new(abort: AbortHandle) -> Self {
        Self(abort)
    }

    /// Stops the task at its next await.
    pub fn abort(&self) {
        self.0.abort();
    }
}

/// A computation without a result of its own; [`run_on`] adds the result.
pub type Job = Box<dyn FnOnce() + Send>;

/// Where a computation of many milliseconds runs, so that it does not hold up I/O.
/// A simulation runs it inline.
pub trait CpuPool: fmt::Debug + Send + Sync {
    /// Runs the job to its end; the future resolves when it has ended.
    fn execute(&self, job: Job) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Runs `work` on the pool and gives back its result.
pub async fn run_on<T: Send + 'static>(
    pool: &dyn CpuPool,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (sender, receiver) = oneshot::channel();
    pool.execute(Box::new(move || {
        // The receiver is dropped only when the caller was cancelled: nobody wants the result.
        drop(sender.send(work()));
    }))
    .await;
    receiver.await.expect("the pool runs every job it accepts")
}
