//! The real world: the only place that touches clock, entropy, sockets and signals.

mod clock;
mod pool;
mod transport;

use std::io::Read;

use controller_ports::Entropy;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

pub use clock::SystemClock;
#[cfg(test)]
pub(crate) use clock::TokioClock;
pub use pool::BlockingPool;
pub use transport::{
    CONNECT_TIMEOUT, HttpVersion, TransportError, arm_transport, kube_config, kube_transport,
    transport_over,
};

/// Entropy from the operating system.
///
/// # Errors
///
/// When the system's source cannot be read.
pub fn os_entropy() -> std::io::Result<Entropy> {
    let mut key = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(Entropy::from_key(key))
}

/// Makes `ring` this process's cryptography. Call once, before anything opens a TLS connection.
pub fn install_crypto() {
    // Fails only when one is installed already; then that one is used.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Resolves when the process is asked to end: SIGTERM or SIGINT.
///
/// # Errors
///
/// When signal handlers cannot be installed.
pub fn termination() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let mut signals = FuturesUnordered::new();
        signals.push(terminate.recv());
        signals.push(interrupt.recv());
        signals.next().await;
    })
}
