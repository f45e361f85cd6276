//! Real sockets: to the Kubernetes API server, and to ARM.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use controller_ports::{Body, BoxError, HttpService, Transport};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder, ServiceExt};

/// A connection that cannot be made in this time will not be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections are closed by Azure's front ends after minutes; ours are dropped before that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a silent peer may leave data unacknowledged; without this, a request over a dead
/// connection hangs until the kernel gives up after a quarter of an hour.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that carries several requests is asked for a sign of life this often: a request
/// that is given up leaves it in the pool, dead or not.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// And it is dead when none has come after this long.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What a transport speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// One request at a time on each connection.
    #[default]
    Http1,
    /// All requests on one connection.
    Http2,
}

/// Why a transport could not be built.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The kubeconfig is missing or unusable.
    #[error("cannot use the kubeconfig {path}")]
    Kubeconfig {
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// Neither a kubeconfig was given nor is this a pod.
    #[error("no kubeconfig was given, and there is no service account of a pod")]
    InCluster(#[source] Box<kube::config::InClusterError>),
    /// Certificates or credentials of the kubeconfig are unusable.
    #[error("cannot use the credentials of the Kubernetes configuration")]
    Credentials(#[source] Box<kube::Error>),
    /// A file of certificate authorities is missing or unusable.
    #[error("cannot read the certificate authorities in {path}")]
    CaBundle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: std::io::Error,
    },
    /// There is no certificate authority to trust.
    #[error("no usable certificate authority, neither the system's nor one of the given file")]
    NoRoots,
    /// The TLS stack refused its configuration.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Reads the configuration for the API server: from that kubeconfig, or the pod's service account.
///
/// # Errors
///
/// When the file cannot be used, or when there is neither.
pub async fn kube_config(kubeconfig: Option<&Path>) -> Result<kube::Config, TransportError> {
    let Some(path) = kubeconfig else {
        return kube::Config::incluster()
            .map_err(|source| TransportError::InCluster(Box::new(source)));
    };
    let error = |source| TransportError::Kubeconfig {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let file = Kubeconfig::read_from(path).map_err(error)?;
    let options = KubeConfigOptions::default();
    kube::Config::from_custom_kubeconfig(file, &options)
        .await
        .map_err(error)
}

/// Connects to the API server; the identity of the configuration is added to every request.
/// Nothing is retried here: there is one retry policy, and it is the controller's.
///
/// # Errors
///
/// When the configuration's certificates or credentials are unusable.
pub fn kube_transport(config: &kube::Config) -> Result<Transport, TransportError> {
    let error = |source| TransportError::Credentials(Box::new(source));
    let connector = config
        .rustls_https_connector_with_connector(http_connector())
        .map_err(error)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(error)?)
        .layer(config.extra_headers_layer().map_err(error)?)
        .map_err(BoxError::from)
        .service(pooled(connector, HttpVersion::Http1));
    Ok(Pooled::transport(service))
}

/// Connects to ARM and its identity endpoints, over TLS or, for loopback addresses, without. Trusts
/// the system's certificate authorities and those of the given PEM file.
///
/// # Errors
///
/// When the file cannot be read or nobody is left to trust.
pub fn arm_transport(ca_bundle: Option<&Path>) -> Result<Transport, TransportError> {
    let mut roots = rustls::RootCertStore::empty();
    // What cannot be parsed is skipped: systems carry authorities that rustls does not accept.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_bundle {
        let error = |source| TransportError::CaBundle {
            path: path.to_owned(),
            source,
        };
        let pem = std::fs::read(path).map_err(error)?;
        for certificate in rustls_pemfile::certs(&mut pem.as_slice()) {
            roots.add_parsable_certificates([certificate.map_err(error)?]);
        }
    }
    if roots.is_empty() {
        return Err(TransportError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TransportError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http_connector());
    Ok(transport_over(connector, HttpVersion::Http1))
}

/// Requests by absolute URL over whatever `connector` connects to, with the pool and the limits of
/// the other transports. The connector ends attempts after [`CONNECT_TIMEOUT`].
pub fn transport_over<C>(connector: C, version: HttpVersion) -> Transport
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let service = ServiceBuilder::new()
        .map_err(BoxError::from)
        .service(pooled(connector, version));
    Pooled::transport(service)
}

fn http_connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(UNACKNOWLEDGED_TIMEOUT));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT));
    connector
}

fn pooled<C>(connector: C, version: HttpVersion) -> Client<C, Body>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    // Both timers are tokio's, as every other one of this process.
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT);
    if version == HttpVersion::Http2 {
        builder
            .http2_only(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true);
    }
    builder.build(connector)
}

/// A cloneable tower service as a transport.
struct Pooled(BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>);

impl Pooled {
    fn transport<S>(service: S) -> Transport
    where
        S: Service<Request<Body>, Response = Response<Incoming>, Error = BoxError>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let service = service.map_response(|response: Response<Incoming>| {
            response.map(|body| body.map_err(BoxError::from).boxed_unsync())
        });
        Transport::new(Self(BoxCloneSyncService::new(service)))
    }
}

impl HttpService for Pooled {
    fn call(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>> {
        Box::pin(self.0.clone().oneshot(request))
    }
}

#[cfg(test)]
mod tests;
