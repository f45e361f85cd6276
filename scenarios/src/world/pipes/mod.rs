//! Virtual time as in [`crate::world::discrete`], but bytes travel: the controller's HTTP client
//! speaks to HTTP servers over in-memory connections.
//!
//! Pool, keep-alive, timeouts and framing are those of the real controller. Nothing ticks: cost is
//! per event, and time still jumps. Links are good until [`crate::world::net::Links`] says
//! otherwise.

mod connection;
mod server;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use controller_operator::real::{CONNECT_TIMEOUT, transport_over};
use controller_ports::{Entropy, Transport};
use http::Uri;
use tokio::time::Instant;

use crate::format::Scenario;
use crate::world::discrete::{RunError, RunOptions, jumping};
use crate::world::net::{Absolute, Accept, HttpVersion, Links, Network, process_of};
use crate::world::outcome::Outcome;
use crate::world::ports::{FencedSpawner, Findings, Incarnation, Target};
use crate::world::site::Site;
use connection::{Pipe, connect};
use server::Server;

/// Runs a scenario in this world.
///
/// # Errors
///
/// When there is no outcome: the scenario cannot be set up, or the run does not come to an end.
pub fn run(scenario: &Scenario, options: &RunOptions) -> Result<Outcome, RunError> {
    jumping(scenario, options, |site, options, entropy| {
        ("pipes", Arc::new(Pipes::new(site, options.http, entropy)))
    })
}

/// A client asks again when nobody answers its SYN: Linux's first pause.
const SYN_AGAIN: Duration = Duration::from_secs(1);

/// Servers, and the links to them.
#[derive(Clone)]
pub(crate) struct Pipes(Arc<Inner>);

struct Inner {
    links: Links,
    http: HttpVersion,
    entropy: Entropy,
    kube: Server,
    arm: Server,
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pipes").field(&self.0.links).finish()
    }
}

impl Pipes {
    /// Servers for this site's routers. The API server speaks `http`, ARM HTTP/1.1 as the
    /// controller does with Azure.
    pub(crate) fn new(site: &Site, http: HttpVersion, entropy: Entropy) -> Self {
        let routers = (site.api.router(), site.arm.router());
        Self::between(site.links.clone(), routers, http, entropy)
    }

    fn between(
        links: Links,
        (kube, arm): (axum::Router, axum::Router),
        http: HttpVersion,
        entropy: Entropy,
    ) -> Self {
        let servers = Incarnation::new("servers", 1);
        let spawner = || FencedSpawner::new(Arc::clone(&servers), Findings::default(), None);
        Self(Arc::new(Inner {
            links,
            http,
            entropy,
            kube: Server::new(kube, http, spawner()),
            arm: Server::new(arm, HttpVersion::Http1, spawner()),
        }))
    }
}

impl Network for Pipes {
    fn transport(&self, life: &Arc<Incarnation>, target: Target) -> Transport {
        let connector = Connector(Arc::new(Way {
            network: self.clone(),
            life: life.name().to_owned(),
            target,
            opened: AtomicU64::new(0),
        }));
        match target {
            Target::Kube => Absolute::transport(transport_over(connector, self.0.http)),
            Target::Arm => transport_over(connector, HttpVersion::Http1),
        }
    }

    fn died(&self, life: &Incarnation) {
        self.0.links.reset_life(life.name());
    }
}

/// Opens connections from one life of a process to one server.
#[derive(Clone)]
struct Connector(Arc<Way>);

struct Way {
    network: Pipes,
    life: String,
    target: Target,
    opened: AtomicU64,
}

impl Way {
    async fn connect(&self) -> io::Result<Pipe> {
        let Inner {
            links,
            entropy,
            kube,
            arm,
            ..
        } = &*self.network.0;
        let process = process_of(&self.life);
        let until = Instant::now() + CONNECT_TIMEOUT;
        let condition = loop {
            let condition = links.condition(process, self.target);
            match condition.accept {
                Accept::Refused => {
                    links.count(|traffic| traffic.refused += 1);
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Accept::Yes if condition.is_open() => break condition,
                Accept::Yes | Accept::Silent => {}
            }
            if Instant::now() >= until {
                links.count(|traffic| traffic.refused += 1);
                return Err(io::ErrorKind::TimedOut.into());
            }
            tokio::time::sleep_until(until.min(Instant::now() + SYN_AGAIN)).await;
        };
        let round_trip = condition.to_server.delay + condition.to_client.delay;
        if !round_trip.is_zero() {
            tokio::time::sleep(round_trip).await;
        }
        let nth = self.opened.fetch_add(1, Ordering::Relaxed);
        let (server, name) = match self.target {
            Target::Kube => (kube, "kube"),
            Target::Arm => (arm, "arm"),
        };
        let entropy = entropy.child(&format!("{}/{name}/{nth}", self.life));
        let (ours, theirs) = connect(links, entropy, (&self.life, self.target));
        server.accept(theirs);
        Ok(ours)
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Pipe;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Pipe>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let way = Arc::clone(&self.0);
        Box::pin(async move { way.connect().await })
    }
}
