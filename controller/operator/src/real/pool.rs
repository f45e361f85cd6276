//! Where long computations run in production.

use std::future::Future;
use std::pin::Pin;

use controller_ports::{CpuPool, Job};

/// tokio's blocking threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct BlockingPool;

impl CpuPool for BlockingPool {
    #[expect(
        clippy::disallowed_methods,
        reason = "this adapter is the production pool"
    )]
    fn execute(&self, job: Job) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let running = tokio::task::spawn_blocking(job);
        Box::pin(async move {
            if let Err(error) = running.await
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        })
    }
}
