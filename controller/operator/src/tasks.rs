//! The production spawner: tokio tasks with names, tracked until they end.

use controller_ports::{Spawner, TaskHandle};
use futures::future::{AbortHandle, Abortable, BoxFuture};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Spawns onto the runtime it is used in, and knows when all tasks have ended.
#[derive(Debug, Clone, Default)]
pub struct Tasks(TaskTracker);

impl Tasks {
    /// A spawner without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many tasks have not ended.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all tasks have ended.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Resolves when all tasks have ended; tasks spawned meanwhile count.
    pub async fn wait(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

impl Spawner for Tasks {
    fn spawn(&self, name: &str, task: BoxFuture<'static, ()>) -> TaskHandle {
        let (abort, registration) = AbortHandle::new_pair();
        let span = tracing::info_span!("task", task = name);
        let task = async move {
            // An aborted task has no result, and none is wanted.
            let _ended_or_aborted = Abortable::new(task, registration).await;
        };
        self.0.spawn(task.instrument(span));
        TaskHandle::new(abort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_with_its_tasks() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let tasks = Tasks::new();
            tasks.spawn("short", Box::pin(async {}));
            let endless = tasks.spawn("endless", Box::pin(std::future::pending()));
            endless.abort();
            tasks.wait().await;
            assert!(tasks.is_empty());
        });
    }
}
