//! HTTP without sockets: one request in, one response out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

/// Any error, as HTTP stacks box them.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request or response body; a watch is a body that goes on.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What carries requests to a server.
pub trait HttpService: Send + Sync {
    /// Sends one request. An error means that no response head arrived; whether the server acted
    /// is unknown.
    fn call(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;
}

/// A cheap-to-clone [`HttpService`] that is also a `tower` service, for `kube::Client::new`.
#[derive(Clone)]
pub struct Transport(Arc<dyn HttpService>);

impl Transport {
    /// Wraps a service.
    pub fn new(service: impl HttpService + 'static) -> Self {
        Self(Arc::new(service))
    }

    /// Sends one request.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        self.0.call(request).await
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl<B> tower_service::Service<Request<B>> for Transport
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0
            .call(request.map(|body| body.map_err(Into::into).boxed_unsync()))
    }
}

/// A body with nothing in it.
pub fn empty_body() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body with these bytes.
pub fn full_body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}
