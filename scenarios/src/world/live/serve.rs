//! Sockets and certificates.

use std::net::Ipv4Addr;
use std::sync::Arc;

use controller_ports::Spawner;
use fake_apiserver::KeyedCertificate;
use fake_arm::Authority;
use futures::FutureExt;
use tokio::net::TcpListener;

use crate::world::live::LiveError;
use crate::world::ports::{FencedSpawner, Findings, Incarnation};
use crate::world::site::Site;

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

/// Where the servers are and whom clients must trust.
#[derive(Debug)]
pub(crate) struct Certificates {
    pub(crate) arm_url: String,
    pub(crate) kube_url: String,
    pub(crate) arm_ca: String,
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

    /// Serves both fakes until `servers` is killed.
    pub(crate) fn serve(
        self,
        site: &Site,
        servers: &Arc<Incarnation>,
    ) -> Result<Certificates, LiveError> {
        let failed = |error: &dyn std::fmt::Display| {
            LiveError::Environment(format!("certificates cannot be made: {error}"))
        };
        let authority = Authority::new().map_err(|error| failed(&error))?;
        let arm_tls = authority.issue(&[]).map_err(|error| failed(&error))?;
        let ca = site.api.ca();
        let kube_tls = ca
            .server(&["localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default.svc"])
            .map_err(|error| failed(&error))?;
        let admin = ca
            .client("nap-admin", &["system:masters"])
            .map_err(|error| failed(&error))?;
        let certificates = Certificates {
            arm_url: format!("https://localhost:{}", port(&self.arm)),
            kube_url: format!("https://127.0.0.1:{}", port(&self.kube)),
            arm_ca: authority.pem().to_owned(),
            admin,
        };
        let spawner = FencedSpawner::new(Arc::clone(servers), Findings::default(), None);
        let (arm, kube) = (site.arm.clone(), site.api.clone());
        let arm_server = async move {
            // Ends only when its listener fails; clients see refused connections then.
            drop(fake_arm::serve(self.arm, arm, arm_tls).await);
        };
        let kube_server = async move {
            let router = kube.router();
            drop(fake_apiserver::serve(self.kube, &kube, router, Some(&kube_tls)).await);
        };
        drop(spawner.spawn("arm", arm_server.boxed()));
        drop(spawner.spawn("kube", kube_server.boxed()));
        Ok(certificates)
    }
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}

async fn listen(port: u16, flag: &'static str) -> Result<TcpListener, PortError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|source| PortError { port, flag, source })
}
