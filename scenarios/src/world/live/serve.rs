//! Sockets and certificates.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use controller_ports::Spawner;
use fake_apiserver::KeyedCertificate;
use fake_arm::TlsOptions;
use futures::FutureExt;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, USER_AGENT};
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::net::TcpListener;

use crate::world::live::LiveError;
use crate::world::ports::{FencedSpawner, Findings, Incarnation, Rewrite, Target};
use crate::world::site::Site;

/// Names and addresses of this machine for itself, and of the API server for pods.
const NAMES: [&str; 5] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default.svc",
];

/// Azure refuses requests beyond four megabytes.
const BODY_MAX: usize = 4 << 20;

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on port {port} ({flag}): {source}; choose another with {flag} PORT")]
pub struct PortError {
    /// The port.
    pub port: u16,
    /// The flag that names it.
    pub flag: &'static str,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// Both sockets.
#[derive(Debug)]
pub struct Listeners {
    arm: TcpListener,
    kube: TcpListener,
}

/// Where the servers are, and the administrator's certificate.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) arm_url: String,
    pub(crate) kube_url: String,
    pub(crate) admin: KeyedCertificate,
}

impl Listeners {
    /// Binds both ports on loopback.
    ///
    /// # Errors
    ///
    /// Which port is taken, and the flag that changes it.
    pub async fn bind(arm_port: u16, kube_port: u16) -> Result<Self, PortError> {
        let kube = listen(kube_port, "--kube-port").await?;
        let arm = listen(arm_port, "--arm-port").await?;
        Ok(Self { arm, kube })
    }

    /// Host and port of the API server.
    pub fn kube_address(&self) -> String {
        format!("127.0.0.1:{}", port(&self.kube))
    }

    /// Serves both fakes until `servers` is killed, with certificates from the cluster's authority.
    /// Requests to ARM pass `faults` first; those of the controller, which signs in to the API
    /// server with this token, are counted.
    pub(crate) fn serve(
        self,
        site: &Site,
        faults: Rewrite,
        controller: &str,
        servers: &Arc<Incarnation>,
    ) -> Result<Served, LiveError> {
        let failed = |error: &dyn std::fmt::Display| {
            LiveError::Environment(format!("certificates cannot be made: {error}"))
        };
        let ca = site.api.ca();
        let arm_tls = ca.server(&NAMES).map_err(|error| failed(&error))?;
        let arm_tls = TlsOptions {
            certificate_chain_pem: arm_tls.certificate_pem,
            private_key_pem: arm_tls.key_pem,
        };
        let kube_tls = ca.server(&NAMES).map_err(|error| failed(&error))?;
        let admin = ca
            .client("nap-admin", &["system:masters"])
            .map_err(|error| failed(&error))?;
        let served = Served {
            arm_url: format!("https://localhost:{}", port(&self.arm)),
            kube_url: format!("https://127.0.0.1:{}", port(&self.kube)),
            admin,
        };
        let spawner = FencedSpawner::new(Arc::clone(servers), Findings::default(), None);
        let arm = site.arm.router().layer(from_fn(move |request, next| {
            rewritten(Arc::clone(&faults), request, next)
        }));
        let tally = site.served.clone();
        let arm = arm.layer(from_fn(move |request: Request, next: Next| {
            if has(&request, USER_AGENT, |value| {
                value.starts_with(b"karpenter")
            }) {
                tally.count(Target::Arm, request.method(), request.uri().path());
            }
            next.run(request)
        }));
        let (kube, tally) = (site.api.clone(), site.served.clone());
        let bearer = format!("Bearer {controller}");
        // Both end only when their listener fails; clients see refused connections then.
        let arm_server = async move {
            if let Err(error) = fake_arm::serve_router(self.arm, arm, arm_tls).await {
                tracing::error!(%error, "ARM is no longer served");
            }
        };
        let kube_server = async move {
            let router = kube.router();
            let router = router.layer(from_fn(move |request: Request, next: Next| {
                if has(&request, AUTHORIZATION, |value| value == bearer.as_bytes()) {
                    tally.count(Target::Kube, request.method(), request.uri().path());
                }
                next.run(request)
            }));
            let served = fake_apiserver::serve(self.kube, &kube, router, Some(&kube_tls));
            if let Err(error) = served.await {
                tracing::error!(%error, "the API server is no longer served");
            }
        };
        drop(spawner.spawn("arm", arm_server.boxed()));
        drop(spawner.spawn("kube", kube_server.boxed()));
        Ok(served)
    }
}

/// Whether a header's value is such.
fn has(request: &Request, name: HeaderName, is_such: impl FnOnce(&[u8]) -> bool) -> bool {
    let value = request.headers().get(name);
    value.is_some_and(|value| is_such(value.as_bytes()))
}

/// Passes a request's body through `faults`.
async fn rewritten(faults: Rewrite, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let length = body.len();
    let body = faults(&parts.method, parts.uri.path(), body);
    if body.len() != length {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    next.run(Request::from_parts(parts, Body::from(body))).await
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}

async fn listen(port: u16, flag: &'static str) -> Result<TcpListener, PortError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|source| PortError { port, flag, source })
}
