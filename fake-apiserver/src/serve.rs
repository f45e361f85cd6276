//! Serving the router over sockets, with TLS and client certificates.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use fake_apiserver_components::api::Identity;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::FromDer as _;

use crate::auth::ca::KeyedCertificate;
use crate::options::User;
use crate::routes::CertificateUser;
use crate::server::ApiServer;

/// Why a server cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener failed.
    #[error("the listener failed: {0}")]
    Io(#[from] io::Error),
    /// The certificate or key cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The certificate or key is not PEM.
    #[error("the certificate or key cannot be read: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// The cluster's CA cannot verify client certificates.
    #[error("client certificates cannot be verified: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Serves until the future is dropped; connections end with it.
///
/// With a certificate: TLS, and clients may prove themselves by certificates of the cluster's CA.
/// Without: plain HTTP. `router` is the server's router, possibly under layers of the caller.
pub async fn serve(
    listener: TcpListener,
    server: &ApiServer,
    router: Router,
    certificate: Option<&KeyedCertificate>,
) -> Result<(), ServeError> {
    let acceptor = certificate.map(|pair| acceptor(server, pair)).transpose()?;
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                // A client that is gone already fails here; its connection ends by itself.
                drop(stream.set_nodelay(true));
                connections.spawn(connection(stream, acceptor.clone(), router.clone()));
            }
            Err(error) if is_transient(&error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// How long to wait for files to be closed when too many are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Too many open files (`ENFILE`, `EMFILE`), or a client that went away between SYN and accept.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    ) || matches!(error.raw_os_error(), Some(23 | 24))
}

fn acceptor(server: &ApiServer, pair: &KeyedCertificate) -> Result<TlsAcceptor, ServeError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(
        server.ca().pem().as_bytes(),
    )?)?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()?;
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pair.certificate_pem.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// One connection; its errors are the client's business.
async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, router: Router) {
    let result = match acceptor {
        None => speak(TokioIo::new(stream), router).await,
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let user = certificates
                    .and_then(<[_]>::first)
                    .and_then(|der| user_of(der));
                let router = match user {
                    Some(user) => router.layer(axum::Extension(CertificateUser(Arc::new(user)))),
                    None => router,
                };
                speak(TokioIo::new(stream), router).await
            }
            Err(error) => {
                tracing::debug!(%error, "TLS handshake failed");
                return;
            }
        },
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

async fn speak<S>(
    stream: TokioIo<S>,
    router: Router,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let builder = auto::Builder::new(TokioExecutor::new());
    let service = TowerToHyperService::new(router.into_service());
    builder
        .serve_connection_with_upgrades(stream, service)
        .await
}

/// The common name is the user, the organizations are the groups.
fn user_of(der: &CertificateDer<'_>) -> Option<User> {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?;
    let groups: Vec<&str> = subject
        .iter_organization()
        .filter_map(|name| name.as_str().ok())
        .collect();
    Some(User::authenticated(&Identity::new(user, &groups)))
}
