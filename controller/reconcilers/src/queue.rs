//! From the result of a reconcile to what the work queue does next.

use std::future::Future;
use std::time::Duration;

use controller_operator::{Outcome, Shutdown, WorkQueue};

use crate::error::{Error, chain};

/// When a key wants to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// When something changes.
    OnChange,
    /// After this time, or earlier when something changes.
    After(Duration),
}

impl Next {
    /// The sooner of two.
    pub(crate) fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::OnChange, next) | (next, Self::OnChange) => next,
            (Self::After(a), Self::After(b)) => Self::After(a.min(b)),
        }
    }
}

/// After a conflict the caches are up to date again: hardly anything to wait for.
const CONFLICT_WAIT: Duration = Duration::from_millis(10);

/// Reconciles the keys of a queue until the signal to end.
pub(crate) async fn run<F, R>(
    name: &'static str,
    queue: &WorkQueue<String>,
    shutdown: Shutdown,
    reconcile: F,
) where
    F: Fn(String) -> R,
    R: Future<Output = Result<Next, Error>>,
{
    queue
        .run(shutdown, |key| {
            let work = reconcile(key.clone());
            async move { outcome(name, &key, work.await) }
        })
        .await;
}

fn outcome(name: &str, key: &str, result: Result<Next, Error>) -> Outcome {
    match result {
        Ok(Next::OnChange) => Outcome::Done,
        Ok(Next::After(wait)) => Outcome::RequeueAfter(wait),
        Err(Error::Conflict) => {
            tracing::debug!(queue = name, key, "object has changed");
            Outcome::RequeueAfter(CONFLICT_WAIT)
        }
        Err(error) => {
            tracing::warn!(queue = name, key, error = %chain(&error), "reconcile failed");
            match error {
                Error::Throttled { retry_after } => Outcome::RetryAfter(retry_after),
                _ => Outcome::Retry,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_become_outcomes() {
        let second = Duration::from_secs(1);
        assert_eq!(
            Next::OnChange.sooner(Next::After(second)),
            Next::After(second)
        );
        assert_eq!(
            Next::After(second * 2).sooner(Next::After(second)),
            Next::After(second)
        );
        assert_eq!(outcome("q", "k", Ok(Next::OnChange)), Outcome::Done);
        assert_eq!(
            outcome("q", "k", Err(Error::Conflict)),
            Outcome::RequeueAfter(CONFLICT_WAIT)
        );
        let throttled = Error::Throttled {
            retry_after: second,
        };
        assert_eq!(
            outcome("q", "k", Err(throttled)),
            Outcome::RetryAfter(second)
        );
        let failed = Error::Invalid("x".to_owned());
        assert_eq!(outcome("q", "k", Err(failed)), Outcome::Retry);
    }
}
