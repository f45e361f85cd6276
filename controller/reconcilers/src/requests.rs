//! One policy for every request to the API server: a deadline, and a retry when told to wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use controller_ports::{BoxError, Clock, Entropy, timeout};
use http::{Request, Response, StatusCode};
use kube::client::Body;
use rand_chacha::ChaCha8Rng;

use crate::backoff::Backoff;

/// Longest time for one attempt, body included. The API server's own limit for requests that are
/// no watch is 60 s (`--request-timeout`); half of it is long for any of ours.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Attempts until the answer 429 or 503 is handed on: with the waits below about 30 s.
const ATTEMPTS_MAX: u32 = 5;
/// Waits when the server names none.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(500),
    max: Duration::from_secs(10),
};
/// Longest wait a server may impose; beyond it the caller's own back-off takes over.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// A client over `inner` whose requests end: the head of a watch and the whole of any other
/// answer arrive within a deadline. 429 and 503 are repeated, as those say that nothing was done;
/// every other failure is the caller's, because whether the server acted is unknown.
pub(crate) fn bounded(
    inner: kube::Client,
    clock: Arc<dyn Clock>,
    entropy: &Entropy,
) -> kube::Client {
    let namespace = inner.default_namespace().to_owned();
    let random = Arc::new(Mutex::new(entropy.stream("kube-requests")));
    kube::Client::new(
        Bounded {
            inner,
            clock,
            random,
        },
        namespace,
    )
}

#[derive(Clone)]
struct Bounded {
    inner: kube::Client,
    clock: Arc<dyn Clock>,
    random: Arc<Mutex<ChaCha8Rng>>,
}

impl tower_service::Service<Request<Body>> for Bounded {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.send(request).await })
    }
}

impl Bounded {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        let is_watch = query.split('&').any(|pair| pair == "watch=true");
        // 429 from an eviction is a PodDisruptionBudget's answer, not a throttle.
        let is_eviction = parts.uri.path().ends_with("/eviction");
        let mut attempt = 1;
        loop {
            let copy = body.try_clone();
            let is_repeatable = copy.is_some();
            let request = Request::from_parts(parts.clone(), copy.unwrap_or_else(Body::empty));
            let response = timeout(&*self.clock, REQUEST_TIMEOUT, self.once(request, is_watch))
                .await
                .map_err(|elapsed| Box::new(elapsed) as BoxError)??;
            let told_to_wait = match response.status() {
                StatusCode::TOO_MANY_REQUESTS => !is_eviction,
                StatusCode::SERVICE_UNAVAILABLE => true,
                _ => false,
            };
            if !told_to_wait || !is_repeatable || attempt >= ATTEMPTS_MAX {
                return Ok(response);
            }
            let wait = retry_after(&response).unwrap_or_else(|| self.backoff(attempt));
            if wait > RETRY_AFTER_MAX {
                return Ok(response);
            }
            self.clock.sleep(wait).await;
            attempt += 1;
        }
    }

    async fn once(
        &self,
        request: Request<Body>,
        is_watch: bool,
    ) -> Result<Response<Body>, BoxError> {
        let response = self.inner.send(request).await?;
        if is_watch {
            // kube's watcher has a deadline of its own for the rest.
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let bytes = body.collect_bytes().await?;
        Ok(Response::from_parts(parts, Body::from(bytes)))
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let mut random = self
            .random
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        BACKOFF.wait(attempt, &mut random)
    }
}

/// `Retry-After` in seconds; the API server never sends a date.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let text = response
        .headers()
        .get(http::header::RETRY_AFTER)?
        .to_str()
        .ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Method;

    use super::*;
    use crate::testing::TestClock;

    /// A server that answers each request with the next of these statuses, and counts requests.
    fn client(statuses: &[u16]) -> (kube::Client, Arc<Mutex<Vec<u16>>>) {
        let left = Arc::new(Mutex::new(
            statuses.iter().rev().copied().collect::<Vec<_>>(),
        ));
        let answers = Arc::clone(&left);
        let service = Answers(answers);
        let inner = kube::Client::new(service, "default");
        let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
        (bounded(inner, clock, &Entropy::from_seed(1)), left)
    }

    #[derive(Clone)]
    struct Answers(Arc<Mutex<Vec<u16>>>);

    impl tower_service::Service<Request<Body>> for Answers {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            let status = self
                .0
                .lock()
                .expect("not poisoned")
                .pop()
                .expect("a status");
            let response = Response::builder()
                .status(status)
                .header(http::header::RETRY_AFTER, "7")
                .body(Body::empty());
            std::future::ready(Ok(response.expect("a response")))
        }
    }

    fn send(statuses: &[u16], path: &str) -> (u16, usize, u64) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (client, left) = client(statuses);
            let request = Request::builder().method(Method::POST).uri(path);
            let started = tokio::time::Instant::now();
            let response = client
                .send(request.body(Body::empty()).expect("a request"))
                .await;
            let status = response.expect("an answer").status().as_u16();
            let left = left.lock().expect("not poisoned").len();
            (status, statuses.len() - left, started.elapsed().as_secs())
        })
    }

    #[test]
    fn told_to_wait_it_waits_and_repeats() {
        assert_eq!(send(&[429, 503, 201], "/api/v1/nodes"), (201, 3, 14));
        assert_eq!(send(&[429; 9], "/api/v1/nodes"), (429, 5, 28));
    }

    #[test]
    fn a_budgets_answer_and_an_unknown_outcome_are_the_callers() {
        let eviction = "/api/v1/namespaces/default/pods/p/eviction";
        assert_eq!(send(&[429, 201], eviction), (429, 1, 0));
        assert_eq!(send(&[504, 201], "/api/v1/nodes"), (504, 1, 0));
        assert_eq!(send(&[409, 201], "/api/v1/nodes"), (409, 1, 0));
    }
}
