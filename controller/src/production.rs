//! Ports of the real world.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use controller::config::Loaded;
use controller::{Config, Process};
use controller_operator::log::{self, LogLevel};
use controller_operator::real::{
    BlockingPool, SystemClock, arm_transport, install_crypto, kube_config, kube_transport,
    os_entropy, termination,
};
use controller_operator::{Tasks, chain};
use controller_ports::{Clock, Ports};
use futures::FutureExt;
use tokio::net::TcpListener;

/// The environment is not what is needed: no cluster, no socket, no certificate.
const ENVIRONMENT: u8 = 3;

/// Runs the controller until it is told to stop or fails.
pub(crate) fn run(loaded: Loaded) -> ExitCode {
    install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error);
            return ENVIRONMENT.into();
        }
    };
    runtime.block_on(async {
        let (config, ports, process) = match prepare(loaded).await {
            Ok(prepared) => prepared,
            Err(error) => {
                complain(&format_args!("{error:#}"));
                return ENVIRONMENT.into();
            }
        };
        // Only now is it known where the API server is.
        if let Err(error) = config.check() {
            complain(&error);
            return crate::USAGE.into();
        }
        match controller::run_with(config, ports, process).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error = %chain(&*error), "the controller ends");
                complain(&format_args!("{error:#}"));
                ExitCode::FAILURE
            }
        }
    })
}

async fn prepare(loaded: Loaded) -> anyhow::Result<(Config, Ports, Process)> {
    let Loaded {
        mut config,
        kubeconfig,
    } = loaded;
    let kube = kube_config(kubeconfig.as_deref()).await?;
    config.kube_endpoint = Some(kube.cluster_url.to_string());
    if config.azure.cluster.ca_pem.is_empty() {
        let authorities = kube.root_cert.as_deref().unwrap_or_default();
        config.azure.cluster.ca_pem = controller::azure::pem(authorities);
    }
    let clock = match config.clock_epoch {
        Some(epoch) => SystemClock::scaled_since(epoch, config.clock_scale),
        None => SystemClock::scaled(config.clock_scale),
    };
    let clock: Arc<dyn Clock> = Arc::new(clock);
    log::init(
        LogLevel::parse(&config.log_level).unwrap_or(LogLevel::Info),
        Arc::clone(&clock),
    );
    let ports = Ports {
        clock,
        entropy: os_entropy().context("cannot read the system's entropy")?,
        kube: kube_transport(&kube)?,
        arm: arm_transport(None)?,
        spawner: Arc::new(Tasks::new()),
        cpu: Arc::new(BlockingPool),
    };
    let process = Process {
        metrics: listen(config.metrics_port, "metrics-port").await?,
        health: listen(config.health_probe_port, "health-probe-port").await?,
        registry: None,
        shutdown: Some(termination().context("cannot handle signals")?.boxed()),
    };
    Ok((config, ports, process))
}

async fn listen(port: u16, flag: &str) -> anyhow::Result<Option<TcpListener>> {
    if port == 0 {
        return Ok(None);
    }
    let listener = TcpListener::bind(("0.0.0.0", port)).await;
    listener
        .map(Some)
        .with_context(|| format!("cannot listen on port {port} (--{flag})"))
}

/// Tells on standard error.
pub(crate) fn complain(what: &impl Display) {
    // Nobody may be listening; there is nothing left to tell it to.
    drop(writeln!(std::io::stderr(), "nap-controller: {what}"));
}
