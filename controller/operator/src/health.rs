//! Probes and metrics over HTTP, on listeners the process hands in. A simulation hands in none.
//!
//! Paths and semantics follow controller-runtime: `/healthz` answers while the process is alive,
//! `/readyz` when every check passes, with one line per check.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use controller_ports::{Clock, Spawner};
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::{Metrics, Shutdown};

/// Connections served at the same time: a few probes and scrapers; more is a mistake or an attack.
const CONNECTIONS_MAX: usize = 64;
/// A client that has not sent its request by then is not a probe.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept (out of file descriptors, mostly), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whether the controller is ready, by named checks. Clones are the same state.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Result<(), String>>>>);

impl Health {
    /// Ready, without checks.
    pub fn new() -> Self {
        Self::default()
    }

    /// A check passes.
    pub fn pass(&self, check: &'static str) {
        self.set(check, Ok(()));
    }

    /// A check fails, and why.
    pub fn fail(&self, check: &'static str, why: impl Into<String>) {
        self.set(check, Err(why.into()));
    }

    /// Whether every check passes.
    pub fn is_ready(&self) -> bool {
        self.checks().values().all(Result::is_ok)
    }

    fn set(&self, check: &'static str, result: Result<(), String>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(check, result);
    }

    fn checks(&self) -> BTreeMap<&'static str, Result<(), String>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The answer of `/readyz`, in controller-runtime's form.
    fn report(&self) -> (StatusCode, String) {
        let mut text = String::new();
        let mut status = StatusCode::OK;
        for (check, result) in self.checks() {
            match result {
                Ok(()) => writeln!(text, "[+]{check} ok").expect("writing to a string cannot fail"),
                Err(why) => {
                    status = StatusCode::INTERNAL_SERVER_ERROR;
                    writeln!(text, "[-]{check} failed: {why}")
                        .expect("writing to a string cannot fail");
                }
            }
        }
        text.push_str(if status.is_success() {
            "readyz check passed\n"
        } else {
            "readyz check failed\n"
        });
        (status, text)
    }
}

/// What a listener serves. Both sets may be served on one.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// `/healthz` and `/readyz`.
    pub health: Option<Health>,
    /// `/metrics`.
    pub metrics: Option<Metrics>,
}

impl Pages {
    fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if ![Method::GET, Method::HEAD].contains(method) {
            return page(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "only GET\n".to_owned(),
            );
        }
        match (path, &self.health, &self.metrics) {
            ("/healthz", Some(_), _) => page(StatusCode::OK, "text/plain", "ok".to_owned()),
            ("/readyz", Some(health), _) => {
                let (status, text) = health.report();
                page(status, "text/plain", text)
            }
            ("/metrics", _, Some(metrics)) => page(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                metrics.encode(),
            ),
            _ => page(
                StatusCode::NOT_FOUND,
                "text/plain",
                "404 page not found\n".to_owned(),
            ),
        }
    }
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// Serves pages until the signal to end.
pub struct Server {
    /// Where connections come from.
    pub listener: TcpListener,
    /// What is served.
    pub pages: Pages,
    /// Where connections run.
    pub spawner: Arc<dyn Spawner>,
    /// For pauses.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Runs until the signal to end is given.
    pub async fn run(self, shutdown: Shutdown) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        while let Some(accepted) = shutdown.or(self.listener.accept()).await {
            let Ok((stream, _)) = accepted else {
                self.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let pages = self.pages.clone();
            let shutdown = shutdown.clone();
            let connection = async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let response = pages.respond(request.method(), request.uri().path());
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                // A connection that breaks is the client's affair.
                drop(shutdown.or(connection).await);
                drop(place);
            };
            // The connection outlives this loop's interest in it.
            drop(self.spawner.spawn("http", Box::pin(connection)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_lists_its_checks() {
        let health = Health::new();
        assert!(health.is_ready());
        health.fail("manager", "caches have not synced");
        health.pass("crd");
        let (status, text) = health.report();
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(
            text,
            "[+]crd ok\n[-]manager failed: caches have not synced\nreadyz check failed\n"
        );
        health.pass("manager");
        assert!(health.is_ready());
    }

    #[test]
    fn pages_are_served_where_they_belong() {
        let pages = Pages {
            health: None,
            metrics: Some(Metrics::new()),
        };
        assert_eq!(
            pages.respond(&Method::GET, "/metrics").status(),
            StatusCode::OK
        );
        assert_eq!(
            pages.respond(&Method::GET, "/readyz").status(),
            StatusCode::NOT_FOUND
        );
        assert_eq!(
            pages.respond(&Method::POST, "/metrics").status(),
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
}
