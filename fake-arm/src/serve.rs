//! The router behind real sockets.

use std::{io, net::SocketAddr, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    arm::Arm,
    control::Peer,
    tls::{TlsError, TlsOptions},
};

/// Connections at the same time; beyond, new ones wait. A thousand clients is more than anyone
/// starts against one emulator, and less than the usual limit on open files.
const CONNECTIONS_MAX: usize = 1000;
/// A client that has not finished its handshake by then is gone.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Serves until the future is dropped; open connections end with it.
///
/// Fails when the certificates cannot be used or the listener is broken.
pub async fn serve(listener: TcpListener, arm: Arm, tls: TlsOptions) -> Result<(), TlsError> {
    serve_router(listener, arm.router(), tls).await
}

/// As [`serve`], for a cloud's router under layers of the caller: faults, for example.
pub async fn serve_router(
    listener: TcpListener,
    router: Router,
    tls: TlsOptions,
) -> Result<(), TlsError> {
    let acceptor = TlsAcceptor::from(tls.server_config()?);
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX || has_ended(&mut connections) {
            if connections.join_next().await.is_none() {
                break;
            }
        }
        match listener.accept().await {
            Ok((stream, peer)) => {
                connections.spawn(connection(stream, peer, acceptor.clone(), router.clone()));
            }
            Err(failure) if is_transient(&failure) => {
                tracing::warn!(%failure, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(failure) => return Err(TlsError::Read(failure)),
        }
    }
}

/// Takes one finished connection out of the set, if there is one.
fn has_ended(connections: &mut JoinSet<()>) -> bool {
    connections.try_join_next().is_some()
}

/// Too many open files, or a client that went away between SYN and accept.
fn is_transient(failure: &io::Error) -> bool {
    matches!(
        failure.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    ) || matches!(failure.raw_os_error(), Some(23 | 24))
}

async fn connection(stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor, router: Router) {
    // Small answers must not wait for the acknowledgement of earlier ones.
    if let Err(failure) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %failure, "no TCP_NODELAY");
    }
    let stream = match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(failure)) => {
            tracing::debug!(%peer, %failure, "TLS handshake failed");
            return;
        }
        Err(_elapsed) => return,
    };
    let router = router.layer(axum::Extension(Peer(peer)));
    let service = TowerToHyperService::new(router);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().auto_date_header(false);
    builder.http2().auto_date_header(false);
    if let Err(failure) = builder
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(%peer, %failure, "connection ended");
    }
}
