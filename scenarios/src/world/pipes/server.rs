//! A router behind in-memory connections.

use controller_ports::Spawner;
use futures::FutureExt;

use crate::world::net::HttpVersion;
use crate::world::pipes::connection::Pipe;
use crate::world::ports::FencedSpawner;

pub(super) struct Server {
    router: axum::Router,
    http: HttpVersion,
    spawner: FencedSpawner,
}

impl Server {
    pub(super) fn new(router: axum::Router, http: HttpVersion, spawner: FencedSpawner) -> Self {
        Self {
            router,
            http,
            spawner,
        }
    }

    /// Serves a connection until one end closes it.
    pub(super) fn accept(&self, pipe: Pipe) {
        let serving = crate::world::net::serve(pipe, self.router.clone(), self.http);
        drop(self.spawner.spawn("connection", serving.boxed()));
    }
}
