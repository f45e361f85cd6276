//! Long computations run where they are asked for: no thread timing reaches a run.

use std::future::Future;
use std::pin::Pin;

use controller_ports::{CpuPool, Job};

/// Runs every job at once, on the caller's thread.
#[derive(Clone, Copy, Debug)]
pub struct InlinePool;

impl CpuPool for InlinePool {
    fn execute(&self, job: Job) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { job() })
    }
}
