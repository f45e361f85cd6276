//! HTTP on connections that worlds make: one server loop and one client address for all of them.

use std::future::Future;
use std::pin::Pin;

use controller_ports::{Body, BoxError, HttpService, Transport};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioExecutor;
use hyper_util::service::TowerToHyperService;

use crate::world::net::HttpVersion;

/// Serves one connection until either end closes it. No `Date` header: hyper takes it from the
/// real clock.
pub(crate) async fn serve<I>(io: I, router: axum::Router, version: HttpVersion)
where
    I: Read + Write + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router);
    let ended = match version {
        HttpVersion::Http1 => {
            hyper::server::conn::http1::Builder::new()
                .auto_date_header(false)
                .serve_connection(io, service)
                .await
        }
        HttpVersion::Http2 => {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .auto_date_header(false)
                .serve_connection(io, service)
                .await
        }
    };
    // How a connection ends is the client's business.
    drop(ended);
}

/// Requests to the API server name a path only; an HTTP client wants a host.
pub(crate) struct Absolute(Transport);

/// What certificates and bootstrap data call the API server.
const AUTHORITY: Authority = Authority::from_static("kubernetes.test:443");

impl Absolute {
    pub(crate) fn transport(inner: Transport) -> Transport {
        Transport::new(Self(inner))
    }
}

impl HttpService for Absolute {
    fn call(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>> {
        let inner = self.0.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let mut uri = head.uri.into_parts();
            uri.scheme.get_or_insert(Scheme::HTTPS);
            uri.authority.get_or_insert(AUTHORITY);
            head.uri = Uri::from_parts(uri)?;
            // The client writes its own.
            head.headers.remove(http::header::HOST);
            inner.send(Request::from_parts(head, body)).await
        })
    }
}
