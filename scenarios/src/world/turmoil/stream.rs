//! A client's connections: turmoil's TCP, counted.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use controller_operator::real::CONNECT_TIMEOUT;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

use crate::world::net::Links;
use crate::world::ports::Target;
use crate::world::turmoil::hosts::host_of;

/// Where servers listen.
pub(super) const PORT: u16 = 443;

/// Opens connections from one life of a process to one server. The host is the one it runs on.
#[derive(Clone)]
pub(super) struct Connector(Arc<Way>);

struct Way {
    links: Links,
    life: String,
    target: Target,
}

impl Connector {
    pub(super) fn new(links: Links, life: &str, target: Target) -> Self {
        Self(Arc::new(Way {
            links,
            life: life.to_owned(),
            target,
        }))
    }
}

impl Way {
    async fn connect(&self) -> io::Result<Stream> {
        let connecting = TcpStream::connect((host_of(self.target), PORT));
        // A host that is down answers nothing, as a machine without power.
        let result = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(result) => result,
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        };
        match result {
            Ok(tcp) => {
                self.links.open(&self.life, self.target);
                let links = self.links.clone();
                Ok(Stream(TokioIo::new(Counted { tcp, links })))
            }
            Err(error) => {
                self.links.count(|traffic| traffic.refused += 1);
                Err(error)
            }
        }
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let way = Arc::clone(&self.0);
        Box::pin(async move { way.connect().await })
    }
}

/// A connection as hyper's pool wants it.
pub(super) struct Stream(TokioIo<Counted>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Counts what passes the client's end.
struct Counted {
    tcp: TcpStream,
    links: Links,
}

impl Counted {
    /// A reset that has arrived.
    fn note<T>(&self, result: &Poll<io::Result<T>>) {
        let is_reset = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset;
        if matches!(result, Poll::Ready(Err(error)) if is_reset(error)) {
            self.links.count(|traffic| traffic.broken += 1);
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.tcp).poll_read(context, buffer);
        let read = (buffer.filled().len() - before) as u64;
        self.links.count(|traffic| traffic.bytes_to_client += read);
        self.note(&result);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tcp).poll_write(context, data);
        if let Poll::Ready(Ok(written)) = &result {
            let written = *written as u64;
            self.links
                .count(|traffic| traffic.bytes_to_server += written);
        }
        self.note(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
