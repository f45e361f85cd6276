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
const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(500), max: Duration::from_secs(10) };
/// Longest wait a server may impose; beyond it the caller's own back-off takes over.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// A client over `inner` whose requests end: the head of a watch and the whole of any other
/// answer arrive within a deadline. 429 and 503 are repeated, as those say that nothing was done;
/// every other failure is the caller's, because whether the server acted is unknown.
pub(crate) fn bounded(inner: kube::Client, clock: Arc<dyn Clock>, entropy: &Entropy) -> kube::Client {
    let namespace = inner.default_namespace().to_owned();
    let random = Arc::new(Mutex::new(entropy.stream("kube-requests")));
    kube::Client::new(Bounded { inner, clock, random }, namespace)
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

    async fn once(&self, request: Request<Body>, is_watch: bool) -> Result<Response<Body>, BoxError> {
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
        let mut random = self.random.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        BACKOFF.wait(attempt, &mut random)
    }
}

/// `Retry-After` in seconds; the API server never sends a date.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let text = response.headers().get(http::header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}
